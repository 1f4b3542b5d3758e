"""Nested values: what pickles, JSON and their like hold, without any of their classes.

Plain values stand for themselves: None, booleans, integers, floats, texts and short byte strings.
A graph may hold itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlvc.repro.compare.arrays import Array
from mlvc.repro.compare.comparison import shown
from mlvc.repro.compare.windows import Window

__all__ = [
    "Absent",
    "Bytes",
    "Items",
    "Name",
    "Number",
    "Pairs",
    "Reference",
    "Thing",
    "class_of",
    "describe",
    "is_nested",
    "iter_nested",
    "meaning",
]


@dataclass(slots=True, eq=False)
class Items:
    """A list, tuple or set; `unordered` names the rule by which its order does not count."""

    kind: str
    items: list[Any] = field(default_factory=list)
    unordered: str = ""


@dataclass(slots=True, eq=False)
class Pairs:
    """A dictionary or object; `unordered` names the rule by which its order does not count."""

    keys: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    unordered: str = ""


@dataclass(slots=True, eq=False)
class Name:
    """A class or function, by its name alone."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Number:
    """A number with a fraction or an exponent, as its text has it."""

    text: str
    dtype: str = "float64"


@dataclass(slots=True, eq=False)
class Bytes:
    """A long string of bytes, which stays in its file."""

    window: Window


@dataclass(slots=True, eq=False)
class Reference:
    """What stands outside of the stream, by its key, and its content where that was found."""

    key: Any
    content: Any = None


@dataclass(slots=True, eq=False)
class Thing:
    """What a call would have made, which is never made.

    Attributes:
        function: The class or function, a `Name` unless the stream is odd.
        args: Its arguments.
        states: What would have been set afterwards.
        items: What would have been appended.
        pairs: What would have been put under keys.
        content: What it is known to mean, such as an array.
    """

    function: Any
    args: Any = None
    states: list[Any] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    pairs: Pairs = field(default_factory=Pairs)
    content: Any = None


def iter_nested(value: Any) -> Iterator[Any]:  # noqa: ANN401  # any nested value
    """Yields everything in a nested value that holds something, each once."""
    pending, seen = [value], set[int]()
    while pending:
        item = pending.pop()
        if id(item) in seen or not isinstance(item, Items | Pairs | Thing | Reference):
            continue
        seen.add(id(item))
        yield item
        match item:
            case Items():
                pending.extend(item.items)
            case Pairs():
                pending.extend([*item.keys, *item.values])
            case Thing():
                pending.extend([item.function, item.args, *item.states, *item.items, item.pairs])
            case Reference():
                pending.append(item.key)


class Absent:
    """Stands for a member that one side lacks."""


def meaning(value: Any) -> Any:  # noqa: ANN401  # any nested value
    """Returns what a value is known to mean, which is itself where nothing else is known."""
    return value.content if isinstance(value, Thing | Reference) and value.content is not None else value


def is_nested(value: Any) -> bool:  # noqa: ANN401  # any nested value
    """Tells whether a value is more than a plain one."""
    return isinstance(value, Items | Pairs | Thing | Array | Bytes | Reference)


def class_of(thing: Thing) -> str:
    """Returns the name of the class that a call would have made an object of."""
    name = str(thing.function) if isinstance(thing.function, Name) else ""
    if name in {"copy_reg._reconstructor", "copyreg._reconstructor", "copyreg.__newobj__"} and isinstance(
        thing.args, Items
    ):
        first = thing.args.items[:1]
        return str(first[0]) if first and isinstance(first[0], Name) else name
    return name


def describe(value: Any) -> str:  # noqa: ANN401, PLR0911  # any nested value; one return for each kind
    """Returns a value for a person, in a few words."""
    value = meaning(value)
    match value:
        case _ if value is Absent:
            return ""
        case str():
            return f'"{shown(value)}"'
        case bytes():
            return shown(repr(value[:60]))
        case int() if value.bit_length() > 256:
            return f"an integer of {value.bit_length()} bits"
        case None | bool() | int() | float():
            return repr(value)
        case Number():
            return shown(value.text)
        case Items():
            return f"a {value.kind} of {len(value.items)}"
        case Pairs():
            return f"{len(value.keys)} keys"
        case Name():
            return shown(str(value))
        case Thing():
            return shown(class_of(value) or "an object")
        case Array():
            return value.describe()
        case Bytes():
            return f"{value.window.size} bytes"
        case _:
            return "a reference"
