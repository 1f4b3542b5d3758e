"""What comparing two files found out; the vocabulary of the modules beside this one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from mlvc.model.names import encode_name
from mlvc.model.objects import VERDICTS, Difference
from mlvc.repro.compare.policy import Policy

__all__ = ["PIECE_BYTES", "Comparison", "Findings", "UnfitError", "iter_pieces", "sentence", "shown", "worst"]

PIECE_BYTES = 1 << 20
_SHOWN = 60
_MOST_KEPT = 50
"""How many differences of one file a verdict keeps: they are stored, and nobody reads more."""
_MOST_NAMED = 3
_GRADES = ("different", "close", "equivalent")
_HARMLESS = {"container"}


class UnfitError(Exception):
    """Content that is not compared: damaged, hostile, over a limit, or of a library that is not installed.

    It never leaves this package: the files are then `uncomparable`, with this message.
    """


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing found.

    Attributes:
        verdict: One of `VERDICTS`.
        detail: What differs, for a person.
        differences: The places that differ, the gravest first, as many as are worth keeping.
    """

    verdict: str
    detail: str = ""
    differences: tuple[Difference, ...] = ()


class Findings:
    """Collects the differences of one file, and grades them by a policy.

    Memory does not grow with their number: of each grade, the first ones are kept, and one for every rule. Of one
    grade they stand in the order of the file, where what follows from another comes after it.
    """

    def __init__(self, policy: Policy | None = None, path: str = "") -> None:
        self.policy = policy or Policy()
        self.path = path
        self._kept: dict[str, list[Difference]] = {grade: [] for grade in _GRADES}
        self._counts = dict.fromkeys(_GRADES, 0)
        self._by_rule: dict[str, Difference] = {}
        self._unfit: list[str] = []

    def __len__(self) -> int:
        return sum(self._counts.values()) + len(self._unfit)

    def add(self, difference: Difference, *, owner: str = "") -> None:
        """Takes note of a difference.

        Args:
            difference: With its rule, where the format knows that one applies; else a rule is looked for.
            owner: The class and attribute that hold the place, where the format has classes.
        """
        if not difference.rule:
            rule = self.policy.find_rule(self.path, difference.where, owner)
            difference = dataclasses.replace(difference, rule=rule) if rule else difference
        grade = self._grade(difference)
        self._counts[grade] += 1
        if len(self._kept[grade]) < _MOST_KEPT:
            self._kept[grade].append(difference)
        if difference.rule:
            self._by_rule.setdefault(difference.rule, difference)

    def add_unfit(self, where: str, reason: str) -> None:
        """Takes note that a part of the file cannot be compared, and why."""
        if len(self._unfit) < _MOST_KEPT:
            self._unfit.append(f"{where}: {reason}" if where else reason)

    def _grade(self, difference: Difference) -> str:
        if difference.rule or difference.nature in _HARMLESS:
            return "equivalent"
        if difference.nature == "numeric":
            bound = self.policy.tolerance(difference.dtype)
            # A norm that is no number fails the comparison.
            return "close" if float(difference.norm) <= bound else "different"
        return "different"

    def result(self) -> Comparison:
        """Returns what was found; `equivalent` where nothing was, because the bytes differ."""
        grade = next((grade for grade in _GRADES if self._counts[grade]), "equivalent")
        kept = [item for grade in _GRADES for item in self._kept[grade]][:_MOST_KEPT]
        kept += [item for item in self._by_rule.values() if item not in kept]
        graver = [item for item in kept if self._grade(item) == grade]
        if self._unfit:
            named = "; ".join(self._unfit[:_MOST_NAMED])
            return Comparison(
                "uncomparable", f"the bytes differ, and {shown(named, _SHOWN * 4)}", tuple(kept)
            )
        return Comparison(grade, _detail(graver, self._counts[grade]), tuple(kept))


def _detail(differences: list[Difference], count: int) -> str:
    named = "; ".join(map(sentence, differences[:_MOST_NAMED]))
    return named + (f"; and {count - _MOST_NAMED} more" if count > _MOST_NAMED else "")


def sentence(item: Difference) -> str:
    """Returns a difference in words."""
    place = f"{item.where}: " if item.where else ""
    counted = f"{item.differing} of {item.total} differ" if item.total > 1 else ""
    values = f"{item.recorded or 'nothing'} → {item.reproduced or 'nothing'}"
    if item.nature == "numeric":
        measured = f"relative error {item.norm}" + (f", {item.ulps} ulp" if item.ulps else "")
        told = [values if item.recorded else "", counted, item.dtype, measured]
        what = ", ".join(filter(None, told))
    elif item.nature == "order":
        what = "the same in another order"
    elif item.nature == "container" and not (item.recorded or item.reproduced):
        what = "the same content, written differently"
    elif item.recorded or item.reproduced:
        what = values + (f" ({counted})" if counted else "")
    else:
        what = ", ".join(filter(None, [item.dtype, counted])) or "differs"
    return f"{place}{what}" + (f" [{item.rule}]" if item.rule else "")


def worst(verdicts: Iterable[str]) -> str:
    """Returns the worst of some verdicts; `identical` where there are none."""
    return max(verdicts, key=VERDICTS.index, default=VERDICTS[0])


def iter_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yields the rest of a file in pieces of bounded size."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def shown(text: str, most: int = _SHOWN) -> str:
    """Returns a piece of foreign text for one line of a message: shortened, without control characters."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return encode_name(cut.encode("utf-8", "surrogatepass"))
