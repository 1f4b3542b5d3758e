"""LightGBM's models as text: a head, one block of lines for each tree, and the parameters."""

from __future__ import annotations

from typing import Any

from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Items, Number, Pairs
from mlvc.repro.compare.windows import Window

__all__ = ["is_lightgbm", "read_lightgbm"]

_MOST_BYTES = 256 << 20


def is_lightgbm(head: bytes) -> bool:
    """Whether a text begins as such a model."""
    return head.startswith((b"tree\nversion=v", b"tree\r\nversion=v"))


def read_lightgbm(window: Window) -> Pairs:
    """Returns a model as nested values: `$.trees[3].leaf_value`, `$.parameters.learning_rate`.

    Raises:
        UnfitError: It is too large, or no text.
    """
    if window.size > _MOST_BYTES:
        raise UnfitError("the model is too large to compare")
    try:
        lines = window.read(0, window.size).decode().splitlines()
    except UnicodeDecodeError as exc:
        raise UnfitError("the model is no text") from exc
    head, trees, parameters, rest = Pairs(), Items("list"), Pairs(), Items("list")
    block = head
    for line in lines:
        name, equals, value = line.partition("=")
        if name == "Tree" and equals:
            block = Pairs()
            trees.items.append(block)
        elif line == "end of trees":
            block = Pairs()
            rest.items.append(block)
        elif line.startswith("[") and line.endswith("]"):
            name, _, value = line[1:-1].partition(": ")
            _put(parameters, name, value)
        elif equals:
            _put(
                block, name, _values(value) if name != "feature_names" else Items("list", list(value.split()))
            )
        elif line:
            rest.items.append(line)
    return Pairs(["head", "trees", "parameters", "rest"], [head, trees, parameters, rest])


def _put(pairs: Pairs, name: str, value: Any) -> None:  # noqa: ANN401  # any nested value
    pairs.keys.append(name)
    pairs.values.append(value)


def _values(text: str) -> Any:  # noqa: ANN401  # any nested value
    items = [_value(word) for word in text.split(" ")]
    return items[0] if len(items) == 1 else Items("list", items)


def _value(word: str) -> Any:  # noqa: ANN401  # a plain value
    if len(word) > 40:
        return word
    try:
        return int(word)
    except ValueError:
        pass
    try:
        float(word)
    except ValueError:
        return word
    return Number(word)
