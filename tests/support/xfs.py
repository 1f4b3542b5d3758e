"""A file system that shares bytes between files: XFS in an image of its own, mounted for as long as the tests last."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["XfsError", "mount_xfs"]

_IMAGE_BYTES = 1 << 30
"""The least that mkfs.xfs takes is 300 MB; most of it is a hole."""


class XfsError(Exception):
    """No image can be made or mounted here; the message says why."""


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise XfsError(f"{command[0]}: {done.stderr.strip() or done.returncode}")


@contextlib.contextmanager
def mount_xfs(folder: Path) -> Iterator[Path]:
    """Mounts a new image below a directory, and takes it away at the end.

    Raises:
        XfsError: That cannot be done here.
    """
    program = shutil.which("mkfs.xfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        raise XfsError("mounting XFS needs root and mkfs.xfs (package xfsprogs)")
    image, target = folder / "xfs.img", folder / "xfs"
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    target.mkdir()
    _run(program, "-q", "-m", "reflink=1", str(image))
    _run("mount", "-o", "loop", str(image), str(target))
    try:
        yield target
    finally:
        # What a test still holds open must not keep the image mounted for ever.
        subprocess.run(["umount", "--lazy", target], check=False)
        image.unlink()
