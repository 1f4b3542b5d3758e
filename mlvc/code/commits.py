"""What a git commit says of itself, read from git's object without a library: hooks wait for it."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from mlvc.errors import IntegrityError

__all__ = ["CommitInfo", "CommitUnreadableError", "decode_commit", "unreadable"]

# The rest of git agrees that the last `<` and the digits after `>` count, whatever a name holds.
_AUTHOR = re.compile(rb"(?:(.*) )?(<.*?>)(?:[^>]* (\d{1,15}) ([+-])(\d{2})(\d{2})$)?")


class CommitUnreadableError(IntegrityError):
    """A commit, or what leads to it, is missing from git's objects or damaged there."""

    code = "commit-unreadable"


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """One git commit.

    Attributes:
        sha: Hexadecimal digits.
        parents: The SHAs of its parents.
        author: `Name <mail>`.
        time: Author time, ISO 8601 with the author's offset.
        message: Without trailing white space.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    time: str
    message: str


def unreadable(sha: str, reason: object) -> CommitUnreadableError:
    """Returns the error of a commit that git cannot read, or one before it."""
    return CommitUnreadableError(
        f"git cannot read the commit {sha[:12]} or one before it: {reason}", hint="see `git fsck`"
    )


def decode_commit(sha: str, data: bytes) -> CommitInfo:
    """Returns what a commit's object says; texts that are in no known encoding have marks for what cannot be read.

    Raises:
        CommitUnreadableError: It is no commit's object.
    """
    head, _, message = data.partition(b"\n\n")
    parents: list[str] = []
    # The lines of a signature or of a merged tag begin with a blank.
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        if name == b"parent":
            parents.append(value.decode("ascii", "replace"))
        elif name:
            fields.setdefault(name, value)
    if not {b"tree", b"author"} <= fields.keys():
        raise unreadable(sha, "its object is no commit")
    encoding = fields.get(b"encoding", b"utf-8").decode("ascii", "replace")
    author, time = _split_author(fields[b"author"])
    return CommitInfo(
        sha, tuple(parents), _decode(author, encoding), time, _decode(message, encoding).rstrip()
    )


def _decode(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding, "replace")
    except (LookupError, ValueError):
        text = data.decode("utf-8", "replace")
    # An encoding such as UTF-7 can spell half a character, which no text of ours may hold.
    return text.encode("utf-8", "replace").decode()


def _split_author(line: bytes) -> tuple[bytes, str]:
    """Returns the name with the address, and the time; a commit that another program made may lack both."""
    found = _AUTHOR.match(line)
    if found is None:
        return line + b" <>", _time(0, 0)
    _, mail, seconds, sign, hours, minutes = found.groups(b"0")
    offset_s = int(hours) * 3600 + int(minutes) * 60
    time = _time(int(seconds), -offset_s if sign == b"-" else offset_s)
    return b" ".join([(found[1] or b"").rstrip(), mail]), time


def _time(seconds: int, offset_s: int) -> str:
    try:
        zone = datetime.timezone(datetime.timedelta(seconds=offset_s))
        return datetime.datetime.fromtimestamp(seconds, zone).isoformat()
    except (ValueError, OverflowError, OSError):
        return datetime.datetime.fromtimestamp(0, datetime.UTC).isoformat()
