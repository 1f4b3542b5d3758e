"""What mlvc does, one module for each verb: each takes a Repo and plain values, returns a dataclass and prints nothing."""
