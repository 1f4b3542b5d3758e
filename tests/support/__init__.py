"""Fakes and builders for the tests."""
