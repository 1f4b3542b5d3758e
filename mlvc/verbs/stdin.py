"""What waits on standard input, which a recorded command never gets: a reproduction could not have it."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import termios

__all__ = ["describe_waiting"]


def describe_waiting(fd: int) -> str:
    """Returns what somebody redirected or piped into a descriptor, for a message; empty where that is nothing.

    Reads nothing. A file that was read from before counts as nothing: a loop of a shell reads its lines from there.
    A pipe counts only if bytes are in it already: every job of a CI has an empty one.
    """
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return (
                f"a file of {status.st_size} bytes"
                if status.st_size and not os.lseek(fd, 0, os.SEEK_CUR)
                else ""
            )
        if stat.S_ISFIFO(status.st_mode):
            (waiting,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
            return "what is piped into it" if waiting else ""
    except OSError:
        # It is closed.
        return ""
    return ""
