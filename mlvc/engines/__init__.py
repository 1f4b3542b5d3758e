"""Runs one command in isolation: bubblewrap, a container engine, or, when asked for, not isolated at all.

An engine knows mounts, variables and limits. It knows nothing of runs, environments or the store.
"""
