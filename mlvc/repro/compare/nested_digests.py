"""Digests of nested values: what tells one from another in short."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Any

from mlvc.repro.compare.arrays import Array
from mlvc.repro.compare.nested import Bytes, Items, Name, Number, Pairs, Thing, is_nested, meaning

__all__ = ["Digests", "NoDigestError"]

_MOST_DIGEST_DEPTH = 50


class NoDigestError(Exception):
    """A value that is too deep or too odd to be told from others in short, or that holds itself."""


class Digests:
    """Tells values from each other in short. Each nested value is looked into once, however often it stands."""

    def __init__(self) -> None:
        self._known: dict[int, bytes | None] = {}

    def of(self, value: Any, depth: int = 0) -> bytes:  # noqa: ANN401  # any nested value
        """Returns what tells a value from others, whatever the order of what has none.

        Raises:
            NoDigestError: There is no such thing.
        """
        value = meaning(value)
        if not is_nested(value):
            return _plain_token(value)
        if id(value) in self._known:
            known = self._known[id(value)]
            if known is None:
                raise NoDigestError
            return known
        if depth > _MOST_DIGEST_DEPTH:
            raise NoDigestError
        self._known[id(value)] = None
        state = hashlib.blake2b(digest_size=16)
        for token in self._tokens(value, depth + 1):
            state.update(struct.pack("<Q", len(token)))
            state.update(token)
        self._known[id(value)] = state.digest()
        return state.digest()

    def _tokens(self, value: Any, depth: int) -> Iterator[bytes]:  # noqa: ANN401  # any nested value
        match value:
            case Bytes():
                yield b"B"
                yield from value.window.pieces()
            case Array():
                yield f"a{value.dtype.code}{value.shape}{value.order}".encode()
                yield from value.window.pieces()
            case Items():
                yield f"l{value.kind}".encode()
                inner = [self.of(item, depth) for item in value.items]
                yield from sorted(inner) if value.unordered else inner
            case Pairs():
                yield b"d"
                pairs = zip(value.keys, value.values, strict=True)
                yield from sorted(self.of(key, depth) + self.of(item, depth) for key, item in pairs)
            case Thing():
                yield b"t%d %d" % (len(value.states), len(value.items))
                for item in (value.function, value.args, *value.states, *value.items, value.pairs):
                    yield self.of(item, depth)
            case _:
                yield b"r"
                yield self.of(value.key, depth)


def _plain_token(value: Any) -> bytes:  # noqa: ANN401, PLR0911  # a plain value; one return for each kind
    match value:
        case None | bool():
            return repr(value).encode()
        case int():
            return b"i%x" % value
        case float():
            return b"f" + struct.pack("<d", value)
        case str():
            return b"s" + value.encode("utf-8", "surrogatepass")
        case bytes():
            return b"b" + value
        case Number():
            return b"n" + value.text.encode()
        case Name():
            return f"c{value}".encode("utf-8", "surrogatepass")
        case _:
            raise NoDigestError
