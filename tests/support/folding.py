"""A file system in which `A` and `a` are one name, in an image of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["NoFoldingError", "mount_folding"]

_WAYS = (
    (["mkfs.ext4", "-q", "-O", "casefold"], ["mount", "-o", "loop"], ["chattr", "+F"]),
    # It has symlinks, as FAT has not, and needs FUSE alone of the kernel.
    (["mkntfs", "-q", "-F", "-Q"], ["lowntfs-3g", "-o", "ignore_case,permissions"], ["true"]),
)


class NoFoldingError(Exception):
    """None can be mounted here."""


@contextlib.contextmanager
def mount_folding(folder: Path) -> Iterator[Path]:
    """Yields an empty directory of one, below `folder`.

    Raises:
        NoFoldingError: No such file system can be made and mounted.
    """
    if os.geteuid() != 0:
        raise NoFoldingError("only root may mount it")
    image, place = folder / "folding.image", folder / "folding"
    place.mkdir()
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    reasons = []
    for make, mount, prepare in _WAYS:
        missing = [command[0] for command in (make, mount) if shutil.which(command[0], path=path) is None]
        if missing:
            reasons.append(f"no {missing[0]}")
            continue
        image.write_bytes(b"")
        os.truncate(image, 32 << 20)
        for command in ([*make, str(image)], [*mount, str(image), str(place)]):
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, env=os.environ | {"PATH": path}
            )
            if done.returncode:
                reasons.append(done.stderr.strip())
                break
        else:
            try:
                (place / "work").mkdir()
                subprocess.run([*prepare, place / "work"], check=True)
                yield place / "work"
            finally:
                # What a test still holds open must not keep the image mounted for ever.
                subprocess.run(["umount", "--lazy", place], check=True)
            return
    raise NoFoldingError("; ".join(reasons))
