"""Compares outputs: one module for each format. Never executes what it compares, and never trusts a length in it."""
