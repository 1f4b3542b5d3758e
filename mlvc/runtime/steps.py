"""Takes digests of where a training stands; the client loads it from beside itself at the first step that counts.

Each step is one JSON object a line, in the file that `MLVC_STEPS` names:

    {"scheme": 1, "pid", "rank", "step", "random": {generator: digest}, "batch", "loss", "model"}

A digest is 32 hexadecimal digits of BLAKE2b; `?` stands for what could not be read, and what was not given is left
out. `loss` is the number itself. Equal content has equal digests, wherever it lies: on whichever device, in whichever
memory order, and dictionaries and sets in whichever order. `scheme` changes whenever the same content would get
another digest.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["digest", "note"]

_SCHEME = 1
_DIGEST_BYTES = 16
_UNREADABLE = "?"
_MOST_DEPTH = 100
_MOST_VALUES = 1_000_000
_PLAIN = (bool, int, float, complex, str)


def note(path: str, number: int, values: Mapping[str, object]) -> None:
    """Appends one step; what was not given is None."""
    facts: dict[str, Any] = {"scheme": _SCHEME, "pid": os.getpid(), "step": number, "random": {}}
    # Whatever the program's own classes raise, or the disk: a training of hours must not fail for this.
    with contextlib.suppress(Exception):
        # Of several processes that train together, which one this is.
        facts["rank"] = int(os.environ.get("RANK", "0"))
    with contextlib.suppress(Exception):
        facts["random"] = _random_states()
    for name, value in values.items():
        if value is not None:
            facts[name] = _UNREADABLE
            with contextlib.suppress(Exception):
                facts[name] = _number(value) if name == "loss" else digest(value)
    with contextlib.suppress(OSError):
        # One write of a whole line with O_APPEND: lines of several processes do not mix.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        try:
            os.write(fd, (json.dumps(facts) + "\n").encode())
        finally:
            os.close(fd)


def digest(value: object) -> str:
    """Returns the digest of a value.

    Raises:
        ValueError: It is too deep, or has more than a million parts.
        Exception: Whatever reading it raises.
    """
    hasher = _Hasher()
    hasher.add(value, 0)
    return hasher.hash.hexdigest()


def _number(value: Any) -> str:
    return repr(float(value))


def _random_states() -> dict[str, str]:
    # The hook of this run watches them from their import on; without it, nobody knows which were ever drawn from.
    watching = getattr(sys.modules.get("sitecustomize"), "_generators", None)
    return {} if watching is None else dict(watching.states())


class _Hasher:
    """Goes through a value and takes in everything that is content."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.values = 0

    def _say(self, *words: object) -> None:
        # With its length, so that no two sequences of words read the same.
        text = " ".join(map(str, words)).encode("utf-8", "surrogatepass")
        self.hash.update(b"%d:%b" % (len(text), text))

    def add(self, value: Any, depth: int) -> None:
        """Takes a value in."""
        self.values += 1
        if depth > _MOST_DEPTH or self.values > _MOST_VALUES:
            raise ValueError("it is too deep, or has too many parts")
        kind = type(value)
        if value is None or isinstance(value, _PLAIN):
            self._say(kind.__name__, repr(value))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._say("bytes", len(value))
            self.hash.update(value)
        elif isinstance(value, Mapping):
            self._say("mapping", len(value))
            for key in sorted(value, key=repr):
                self.add(key, depth + 1)
                self.add(value[key], depth + 1)
        elif isinstance(value, (list, tuple)):
            self._say("sequence", len(value))
            for item in value:
                self.add(item, depth + 1)
        elif isinstance(value, (set, frozenset)):
            self._say("set", len(value), *sorted(map(digest, value)))
        elif hasattr(value, "data_ptr") and hasattr(value, "element_size"):
            self._add_tensor(value)
        elif hasattr(value, "tobytes") and hasattr(value, "dtype"):
            self._add_array(value, depth)
        else:
            self._add_object(value, depth)

    def _add_tensor(self, tensor: Any) -> None:
        """Takes in a tensor of torch, of any type: without NumPy, which knows no bfloat16 and may be missing."""
        tensor = tensor.detach()
        if "strided" not in str(tensor.layout):
            tensor = tensor.to_dense()
        tensor = tensor.cpu().resolve_conj().resolve_neg().contiguous()
        self._say("tensor", tensor.dtype, *tensor.shape)
        size_bytes = tensor.numel() * tensor.element_size()
        if size_bytes:
            self.hash.update((ctypes.c_char * size_bytes).from_address(tensor.data_ptr()))

    def _add_array(self, array: Any, depth: int) -> None:
        """Takes in an array or a scalar of NumPy, or of what looks like it."""
        self._say("array", array.dtype, *array.shape)
        if getattr(array.dtype, "hasobject", False):
            # Their bytes are addresses.
            self.add(array.tolist(), depth + 1)
        else:
            self.hash.update(array.tobytes())

    def _add_object(self, value: Any, depth: int) -> None:
        kind = type(value)
        self._say("object", kind.__module__, kind.__qualname__)
        for name in ("state_dict", "get_weights"):
            read = getattr(value, name, None)
            if callable(read) and not isinstance(value, type):
                self.add(read(), depth + 1)
                return
        if callable(getattr(value, "to_numpy", None)):
            self.add([list(getattr(value, "columns", ())), value.to_numpy()], depth + 1)
        elif hasattr(value, "__qualname__"):
            self._say(value.__qualname__)
        else:
            self._add_state(value, depth)

    def _add_state(self, value: Any, depth: int) -> None:
        """Takes in what an object would be pickled with, which holds no caches and no handles; else its attributes."""
        read = getattr(value, "__getstate__", None)
        state = read() if callable(read) else None
        if state is None:
            state = getattr(value, "__dict__", None)
        if state is None and isinstance(value, Iterable) and not hasattr(value, "__next__"):
            # No iterator: what is taken from that, the program would miss.
            state = list(value)
        self.add(state, depth + 1)
