"""Pickles, joblib's among them."""

from __future__ import annotations

from mlvc.model.objects import Difference
from mlvc.repro.compare.jobs import Job
from mlvc.repro.compare.nested import Items
from mlvc.repro.compare.nested_comparison import compare_values
from mlvc.repro.compare.pickle_machine import read_pickle
from mlvc.repro.compare.torch_checkpoints import LEGACY_MAGIC, read_legacy
from mlvc.repro.compare.windows import Window

__all__ = ["compare_pickles", "is_pickle"]

_OLD_START = b"ccopy_reg\n_reconstructor\n"
_ENDINGS = (".pkl", ".pickle")
_MOST_IN_ONE_FILE = 10_000


def is_pickle(head: bytes, tail: bytes, name: str) -> bool:
    """Whether bytes look like a pickle; protocols 0 and 1 have no mark and are known by the file's name too."""
    if head.startswith(LEGACY_MAGIC):
        return True
    if tail != b".":
        return False
    marked = head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    return marked or head.startswith(_OLD_START) or name.endswith(_ENDINGS)


def compare_pickles(left: Window, right: Window, job: Job) -> None:
    """Compares what two pickles hold.

    Raises:
        UnfitError: One is damaged or over a limit.
    """
    before, after = _read(left), _read(right)
    count = len(job.findings)

    def inside(one: Window, other: Window, where: str) -> None:
        job.compare_inside(one, other, "", where)

    compare_values(before, after, job.findings, root=job.place("$"), compare_bytes=inside)
    if len(job.findings) == count:
        is_legacy = left.read(0, len(LEGACY_MAGIC)) == LEGACY_MAGIC
        rule = "torch.storage-keys" if is_legacy else "pickle.encoding"
        job.findings.add(Difference(job.where, "container", rule=rule))


def _read(window: Window) -> object:
    """Returns what a file holds: one value, or the list of those that stand one after the other."""
    if window.read(0, len(LEGACY_MAGIC)) == LEGACY_MAGIC:
        return read_legacy(window)
    value, end = read_pickle(window)
    values = [value]
    while end < window.size and len(values) < _MOST_IN_ONE_FILE:
        value, end = read_pickle(window, end)
        values.append(value)
    return values[0] if len(values) == 1 else Items("list", values)
