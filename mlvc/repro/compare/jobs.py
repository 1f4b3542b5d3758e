"""One comparison of two pieces of bytes, which may stand in an archive in an archive."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from mlvc.repro.compare.comparison import Findings, UnfitError
from mlvc.repro.compare.windows import Unpacked, Window

__all__ = ["Job"]

_MOST_LEVELS = 8


@dataclass(frozen=True, slots=True)
class Job:
    """What a format's module is given besides the bytes.

    Attributes:
        name: The file's or member's name; its ending tells some formats.
        where: How a place in it begins; empty for the file itself.
        findings: Receives the differences.
        unpacked: Keeps what is unpacked.
        compare: Compares two other pieces of bytes, of whatever format.
        level: How many archives they stand in.
    """

    name: str
    where: str
    findings: Findings
    unpacked: Unpacked
    compare: Callable[[Window, Window, Job], None]
    level: int = 0

    def place(self, inner: str) -> str:
        """Returns how a place in this file is called."""
        return f"{self.where}: {inner}" if self.where and inner else self.where or inner

    def compare_inside(self, left: Window, right: Window, name: str, where: str) -> None:
        """Compares two parts; one that cannot be compared is noted, and does not keep others from it."""
        if self.level >= _MOST_LEVELS:
            self.findings.add_unfit(where, "archives stand in each other too deeply")
            return
        try:
            self.compare(left, right, dataclasses.replace(self, name=name, where=where, level=self.level + 1))
        except UnfitError as exc:
            self.findings.add_unfit(where, str(exc))
