"""The Python environment: found, captured as wheels, compared, and rebuilt.

Page: docs/guides/environments.md
"""
