"""Recorded runs: what is put into a record, and how one is executed again, compared and explained."""
