"""The nouns of mlvc as frozen dataclasses, and their canonical encodings: pure, no I/O."""
