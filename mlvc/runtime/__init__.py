"""Scripts that run inside the interpreter of a recorded command: standard library only, nothing of ours imported.

`run` and `repro` lay their sources into a directory that they put first on `PYTHONPATH`; this package only ships them.
"""
