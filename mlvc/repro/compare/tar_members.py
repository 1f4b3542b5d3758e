"""Tar archives: compared member by member; times, owners and order do not count."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass

from mlvc.model.objects import Difference
from mlvc.repro.compare.comparison import UnfitError, shown
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.windows import Window, WindowFile, is_same

__all__ = ["compare_tar", "is_tar"]

_MOST_MEMBERS = 100_000
_MOST_HEADER_BYTES = 1 << 20
_UNREADABLE = (tarfile.TarError, EOFError, ValueError, OverflowError, OSError, LookupError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Member:
    """One member: the bytes of a file, or what else stands there in words."""

    window: Window | None
    text: str
    is_executable: bool


def is_tar(head: bytes) -> bool:
    """Whether bytes begin with the header of a member."""
    return head[257:262] == b"ustar"


def compare_tar(left: Window, right: Window, job: Job) -> None:
    """Compares two archives.

    Raises:
        UnfitError: One is damaged, names a member twice or has too many.
    """
    before, after = _members(left), _members(right)
    count = len(job.findings)
    for name in [*before, *(name for name in after if name not in before)]:
        one, other = before.get(name), after.get(name)
        where = job.place(shown(name))
        if one is None or other is None:
            told = (one.text if one else "", other.text if other else "")
            job.findings.add(Difference(where, "structure", *told))
        elif one.window is not None and other.window is not None:
            if not is_same(one.window, other.window):
                job.compare_inside(one.window, other.window, name, where)
            if one.is_executable != other.is_executable:
                words = ("executable", "not executable")
                job.findings.add(Difference(where, "value", *(words if one.is_executable else words[::-1])))
        elif one.text != other.text:
            job.findings.add(Difference(where, "value", one.text, other.text))
    if len(job.findings) == count:
        same_order = list(before) == list(after)
        rule = "tar.headers" if same_order else "tar.order"
        job.findings.add(Difference(job.where, "container" if same_order else "order", rule=rule))


def _members(window: Window) -> dict[str, _Member]:
    found: dict[str, _Member] = {}
    try:
        with tarfile.open(fileobj=WindowFile(window, _MOST_HEADER_BYTES), mode="r:") as archive:
            for info in archive:
                if info.name in found:
                    raise UnfitError("the archive names a member twice")
                if len(found) >= _MOST_MEMBERS:
                    raise UnfitError("the archive has too many members to compare")
                found[info.name] = _member(info, window)
    except _UNREADABLE as exc:
        raise UnfitError(f"the archive cannot be read: {shown(str(exc))}") from exc
    return found


def _member(info: tarfile.TarInfo, window: Window) -> _Member:
    if info.issparse():
        raise UnfitError("the archive holds a file with holes")
    if info.isreg():
        part = window.part(info.offset_data, info.size)
        return _Member(part, f"{info.size} bytes", bool(info.mode & 0o100))
    if info.issym() or info.islnk():
        return _Member(None, f"a link to {shown(info.linkname)}", is_executable=False)
    return _Member(None, "a directory" if info.isdir() else "a special file", is_executable=False)
