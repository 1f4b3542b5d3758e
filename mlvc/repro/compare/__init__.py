"""Compares what was recorded with what was reproduced, one module a format; never executes what it compares."""
