"""How two nested values differ: every place, by its path, and what it holds on each side.

A graph may hold itself; what was compared once is not compared again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlvc.model.objects import Difference
from mlvc.repro.compare.arrays import Array, compare_arrays, compare_numbers
from mlvc.repro.compare.comparison import Findings, UnfitError, shown
from mlvc.repro.compare.nested import (
    Absent,
    Bytes,
    Items,
    Name,
    Number,
    Pairs,
    Reference,
    Thing,
    class_of,
    describe,
    is_nested,
    meaning,
)
from mlvc.repro.compare.nested_digests import Digests, NoDigestError
from mlvc.repro.compare.windows import Window, is_same

__all__ = ["compare_values"]

_MOST_DEPTH = 200
_MOST_PATH = 160
_MOST_DIGESTED = 1_000_000
"""How many elements of one list are looked at, to tell another order from other elements."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: the path in the tree, and the class and attribute that hold it."""

    path: str
    depth: int = 0
    owner: str = ""

    def below(self, step: str, owner: str = "") -> _Place:
        if self.depth >= _MOST_DEPTH:
            raise UnfitError("it is nested too deeply")
        path = self.path + step if self.path else step.removeprefix(".")
        if len(path) > _MOST_PATH:
            path = path[: _MOST_PATH // 2] + "…" + path[-_MOST_PATH // 2 :]
        return _Place(path, self.depth + 1, owner)


_Step = tuple[_Place, Any, Any]


def compare_values(
    before: Any,  # noqa: ANN401  # any nested value
    after: Any,  # noqa: ANN401  # any nested value
    findings: Findings,
    *,
    root: str = "$",
    compare_bytes: Callable[[Window, Window, str], None] | None = None,
) -> None:
    """Adds every place where two nested values differ, in the order of the recorded one.

    Args:
        before: The recorded value.
        after: The other.
        findings: Receives the differences.
        root: How the top is called.
        compare_bytes: Compares what a long string of bytes holds; without it, such a string is one value.

    Raises:
        UnfitError: They are nested too deeply, or an array cannot be measured.
    """
    _Walk(findings, compare_bytes).run(_Place(root), before, after)


class _Walk:
    """One comparison; no recursion, because the nesting is foreign."""

    def __init__(
        self, findings: Findings, compare_bytes: Callable[[Window, Window, str], None] | None
    ) -> None:
        self._findings = findings
        self._compare_bytes = compare_bytes
        self._seen: set[tuple[int, int]] = set()
        self._pending: list[_Step] = []
        self._digests = Digests()

    def run(self, place: _Place, before: Any, after: Any) -> None:  # noqa: ANN401  # any nested value
        self._pending.append((place, before, after))
        while self._pending:
            self._compare(*self._pending.pop())

    def _compare(self, place: _Place, left: Any, right: Any) -> None:  # noqa: ANN401  # any nested value
        left, right = meaning(left), meaning(right)
        if left is right:
            return
        if type(left) is not type(right):
            nature = "structure" if any(map(_shapes, (left, right))) else "value"
            self._add(place, nature, left, right)
            return
        if is_nested(left):
            pair = (id(left), id(right))
            if pair in self._seen:
                return
            self._seen.add(pair)
        match left:
            case Items():
                self._items(place, left, right)
            case Pairs():
                self._pairs(place, left, right)
            case Thing():
                self._thing(place, left, right)
            case Array():
                compare_arrays(left, right, place.path, self._findings, owner=place.owner)
            case Bytes():
                self._bytes(place, left, right)
            case Reference():
                self._go([(place, left.key, right.key)])
            case Name():
                if str(left) != str(right):
                    self._add(place, "structure", left, right)
            case float() | Number():
                self._numbers(place, [left], [right])
            case _:
                if left != right:
                    self._add(place, "value", left, right)

    def _go(self, steps: Sequence[_Step]) -> None:
        """Goes on with these, the first one first."""
        self._pending.extend(reversed(steps))

    def _add(self, place: _Place, nature: str, left: Any, right: Any) -> None:  # noqa: ANN401  # any nested value
        difference = Difference(place.path, nature, describe(left), describe(right))
        self._findings.add(difference, owner=place.owner)

    def _items(self, place: _Place, left: Items, right: Items) -> None:
        if left.kind != right.kind:
            self._add(place, "structure", left, right)
        elif left.unordered:
            self._unordered(place, left, right)
        elif _are_numbers(left.items) and _are_numbers(right.items) and len(left.items) == len(right.items):
            self._numbers(place, left.items, right.items)
        elif self._is_reordered(place, left.items, right.items):
            pass
        elif len(left.items) != len(right.items):
            self._add(place, "structure", left, right)
        else:
            self._go(
                [
                    (place.below(f"[{i}]"), one, other)
                    for i, (one, other) in enumerate(zip(left.items, right.items, strict=True))
                ]
            )

    def _numbers(self, place: _Place, left: Sequence[Any], right: Sequence[Any]) -> None:
        if [_number_text(item) for item in left] == [_number_text(item) for item in right]:
            return
        if any(type(one) is not type(other) for one, other in zip(left, right, strict=True)):
            # 1 is no 1.0 in a format that tells them apart.
            for i, (one, other) in enumerate(zip(left, right, strict=True)):
                if type(one) is not type(other):
                    self._add(place.below(f"[{i}]") if len(left) > 1 else place, "value", one, other)
                    return
        dtype = next((item.dtype for item in left if isinstance(item, Number)), "float64")
        before, after = [_float(item) for item in left], [_float(item) for item in right]
        compare_numbers(before, after, dtype, place.path, self._findings, owner=place.owner)

    def _is_reordered(self, place: _Place, left: list[Any], right: list[Any]) -> bool:
        """Adds a difference of order, and tells whether there is one."""
        if len(left) != len(right) or not 1 < len(left) <= _MOST_DIGESTED:
            return False
        try:
            before, after = (
                [self._digests.of(item) for item in left],
                [self._digests.of(item) for item in right],
            )
        except NoDigestError:
            return False
        if before == after or Counter(before) != Counter(after):
            return False
        differing = sum(one != other for one, other in zip(before, after, strict=True))
        self._findings.add(
            Difference(place.path, "order", differing=differing, total=len(left)), owner=place.owner
        )
        return True

    def _unordered(self, place: _Place, left: Items, right: Items) -> None:
        try:
            before, after = (
                [self._digests.of(item) for item in left.items],
                [self._digests.of(item) for item in right.items],
            )
        except NoDigestError:
            raise UnfitError(f"the elements of the set {place.path} cannot be told apart") from None
        gone, new = Counter(before) - Counter(after), Counter(after) - Counter(before)
        if gone or new:
            lost = [item for item, key in zip(left.items, before, strict=True) if key in gone]
            found = [item for item, key in zip(right.items, after, strict=True) if key in new]
            self._findings.add(
                Difference(
                    place.path,
                    "value",
                    _enumerated(lost),
                    _enumerated(found),
                    differing=max(gone.total(), new.total()),
                    total=max(len(before), len(after)),
                ),
                owner=place.owner,
            )
        elif before != after:
            self._findings.add(
                Difference(place.path, "order", rule=left.unordered, total=len(before)), owner=place.owner
            )

    def _pairs(self, place: _Place, left: Pairs, right: Pairs, *, owner: str = "") -> None:
        try:
            before = {
                self._digests.of(key): (key, value) for key, value in zip(left.keys, left.values, strict=True)
            }
            after = {
                self._digests.of(key): (key, value)
                for key, value in zip(right.keys, right.values, strict=True)
            }
        except NoDigestError:
            raise UnfitError(f"the keys of {place.path} cannot be told apart") from None
        if len(before) != len(left.keys) or len(after) != len(right.keys):
            # Which of the values counts is up to the reader.
            raise UnfitError(f"a key of {place.path} stands twice")
        if before.keys() == after.keys():
            if list(before) != list(after):
                self._findings.add(
                    Difference(place.path, "order", rule=left.unordered, total=len(before)), owner=place.owner
                )
            if self._is_permuted(place, before, after):
                return
        steps = []
        for digest in [*before, *(digest for digest in after if digest not in before)]:
            key, one = before.get(digest, (None, Absent))
            other_key, other = after.get(digest, (None, Absent))
            name = key if digest in before else other_key
            held = f"{owner}.{name}" if owner and isinstance(name, str) else place.owner
            steps.append((place.below(_step(name), held), one, other))
        self._go(steps)

    def _is_permuted(self, place: _Place, before: dict[bytes, Any], after: dict[bytes, Any]) -> bool:
        """Adds a difference of order where the same plain values stand under other keys, as in a vocabulary."""
        left = [before[digest][1] for digest in before]
        right = [after[digest][1] for digest in before]
        if any(is_nested(item) for item in left) or any(is_nested(item) for item in right):
            return False
        # Two members that changed places may be chance; in a vocabulary it is many.
        return len(left) > 2 and self._is_reordered(place, left, right)

    def _thing(self, place: _Place, left: Thing, right: Thing) -> None:
        owner = class_of(left)
        if owner != class_of(right):
            self._add(place, "structure", left, right)
            return
        steps: list[_Step] = [(place.below("()"), left.args, right.args)]
        if isinstance(left.function, Name) or isinstance(right.function, Name):
            if str(left.function) != str(right.function):
                self._add(place, "structure", left.function, right.function)
                return
        else:
            steps.insert(0, (place.below("(function)"), left.function, right.function))
        if len(left.states) != len(right.states):
            self._add(
                place.below(".__dict__"), "structure", Items("list", left.states), Items("list", right.states)
            )
            return
        self._go(steps)
        for one, other in zip(left.states, right.states, strict=True):
            self._state(place, one, other, owner)
        if left.items or right.items:
            self._items(place, Items("list", left.items), Items("list", right.items))
        if left.pairs.keys or right.pairs.keys:
            self._pairs(place, left.pairs, right.pairs)

    def _state(self, place: _Place, left: Any, right: Any, owner: str) -> None:  # noqa: ANN401  # any nested value
        match left, right:
            case Pairs(), Pairs():
                self._pairs(place, left, right, owner=owner)
            case Items(kind="tuple"), Items(kind="tuple") if _has_slots(left) and _has_slots(right):
                for one, other in zip(left.items, right.items, strict=True):
                    self._state(place, one, other, owner)
            case _:
                self._go([(place.below(".__state__", f"{owner}.__state__"), left, right)])

    def _bytes(self, place: _Place, left: Bytes, right: Bytes) -> None:
        if is_same(left.window, right.window):
            return
        if self._compare_bytes is not None:
            self._compare_bytes(left.window, right.window, place.path)
        else:
            self._add(place, "value", left, right)


def _shapes(value: Any) -> bool:  # noqa: ANN401  # any nested value
    """Whether a value of another type in its place, or none, is a matter of structure."""
    return value is Absent or is_nested(value)


def _has_slots(state: Items) -> bool:
    """Whether a state is a pair of the attributes in `__dict__` and those in `__slots__`."""
    return len(state.items) == 2 and isinstance(state.items[1], Pairs)


def _are_numbers(items: list[Any]) -> bool:
    """Whether a list holds numbers alone, and at least one that is no integer."""
    return any(isinstance(item, float | Number) for item in items) and all(
        isinstance(item, float | Number) or type(item) is int for item in items
    )


def _number_text(value: Any) -> str:  # noqa: ANN401  # a number
    if isinstance(value, Number):
        return value.text
    return repr(value)


def _float(value: Any) -> float:  # noqa: ANN401  # a number
    try:
        return float(value.text if isinstance(value, Number) else value)
    except (ValueError, OverflowError):
        return math.inf


def _step(key: Any) -> str:  # noqa: ANN401  # any nested value
    if isinstance(key, str):
        return f".{shown(key)}"
    return f"[{describe(key)}]"


def _enumerated(items: list[Any]) -> str:
    named = ", ".join(describe(item) for item in items[:3])
    return named + (f" and {len(items) - 3} more" if len(items) > 3 else "")
