"""Lays the scripts of `mlvc/runtime` and the client into a directory, for the path of a recorded command."""

from __future__ import annotations

import sys
from pathlib import Path

from mlvc import fsio
from mlvc.model.ids import BlobId

__all__ = ["lay_runtime", "runtime_sources"]

# Not through `importlib.resources`, which loads what reads zip files, for every run.
_PACKAGE = Path(__file__).parent.parent


def runtime_sources() -> dict[str, bytes]:
    """Returns the files by their path in the runtime directory."""
    return {
        "sitecustomize.py": (_PACKAGE / "runtime" / "sitecustomize.py").read_bytes(),
        # What is no program's to import lies where no import looks.
        **{
            f"_mlvc/{name}": (_PACKAGE / "runtime" / name).read_bytes()
            for name in ("fingerprint.py", "generators.py", "libraries.py", "steps.py", "variation.py")
        },
        "client/mlvc.py": (_PACKAGE / "client.py").read_bytes(),
    }


def lay_runtime(parent: Path) -> Path:
    """Makes the runtime directory below `parent`, named by its contents, and returns it; safe in several processes.

    The command may run as another user, so everyone may read it, whatever the umask is. Beside the scripts lies their
    byte code for this version of Python, because the profiles have the command write none.
    """
    sources = runtime_sources()
    digest = BlobId.of(b"\0".join(name.encode() + b"\0" + text for name, text in sorted(sources.items())))
    directory = parent / digest.short
    for name, text in sources.items():
        path = directory / name
        if not path.exists() or path.read_bytes() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            for made in (directory, path.parent):
                made.chmod(0o755)
            fsio.atomic_write(path, text)
            path.chmod(0o644)
            _compile(path)
    return directory


def _compile(path: Path) -> None:
    import py_compile  # noqa: PLC0415  # once for each version of mlvc, not for each run

    target = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(path), str(target), doraise=True)
    target.parent.chmod(0o755)
