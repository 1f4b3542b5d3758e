"""YAML texts as nested values: their nodes, of which no object is ever constructed."""

from __future__ import annotations

from typing import Any

import yaml

from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Items, Number, Pairs
from mlvc.repro.compare.windows import Window

__all__ = ["is_yaml", "read_yaml"]

_MOST_BYTES = 8 << 20
_MOST_DEPTH = 100
_KEY_ORDER = "json.key-order"
_FLOAT, _INTEGER = "tag:yaml.org,2002:float", "tag:yaml.org,2002:int"


def is_yaml(name: str) -> bool:
    """Whether a file's name says so; nothing in it does."""
    return name.endswith((".yaml", ".yml"))


def read_yaml(window: Window) -> Any:  # noqa: ANN401  # any nested value
    """Returns what a text holds: one document, or the list of several.

    What an alias stands for is not repeated, so that a short text holds little.

    Raises:
        UnfitError: It is no YAML, or is too large or nested too deeply.
    """
    if window.size > _MOST_BYTES:
        raise UnfitError("the YAML is too large to compare")
    try:
        text = window.read(0, window.size).decode()
        documents = [_Nodes().value(node, 0) for node in yaml.compose_all(text, yaml.SafeLoader)]
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise UnfitError("it is no YAML that can be read") from exc
    return documents[0] if len(documents) == 1 else Items("list", documents)


class _Nodes:
    """Turns the nodes of one document into values, each once."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def value(self, node: yaml.Node | None, depth: int) -> Any:  # noqa: ANN401  # any nested value
        if depth > _MOST_DEPTH:
            raise UnfitError("it is nested too deeply")
        if id(node) in self._known:
            return self._known[id(node)]
        match node:
            case yaml.ScalarNode(tag=tag, value=text):
                return _scalar(tag, text)
            case yaml.SequenceNode():
                items = self._known[id(node)] = Items("list")
                items.items = [self.value(item, depth + 1) for item in node.value]
                return items
            case yaml.MappingNode():
                pairs = self._known[id(node)] = Pairs(unordered=_KEY_ORDER)
                for key, value in node.value:
                    pairs.keys.append(self.value(key, depth + 1))
                    pairs.values.append(self.value(value, depth + 1))
                return pairs
            case _:
                return None


def _scalar(tag: str, text: str) -> Any:  # noqa: ANN401  # a plain value
    if tag == _INTEGER and text.lstrip("+-").isdigit() and len(text) < 300:
        return int(text)
    if tag == _FLOAT:
        return Number(text.replace(".inf", "inf").replace(".nan", "nan"))
    if tag == "tag:yaml.org,2002:str":
        return text
    return Items(tag.rpartition(":")[2], [text])
