"""What mlvc does, one module for each verb.

Each takes a Repo and plain values, returns a dataclass and prints nothing.
"""
