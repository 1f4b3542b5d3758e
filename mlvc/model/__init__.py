"""The nouns of mlvc as frozen dataclasses and named tuples, and their canonical encodings: pure, no I/O."""
