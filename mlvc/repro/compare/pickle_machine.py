"""Reads a pickle as data: every instruction is followed, and nothing that it names is imported or called.

What a call would have made becomes a `Thing`, with the name of what would have been called and its arguments. Arrays
that joblib writes between two instructions are skipped over by their length, and stay in the file.
Protocols 0 to 5: https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Callable
from typing import Any

from mlvc.repro.compare.arrays import Array
from mlvc.repro.compare.comparison import UnfitError
from mlvc.repro.compare.nested import Bytes, Items, Name, Pairs, Reference, Thing, class_of
from mlvc.repro.compare.numpy_pickles import JOBLIB_WRAPPERS, array_of_wrapper, recognise
from mlvc.repro.compare.windows import Window

__all__ = ["read_pickle"]

_MOST_INSTRUCTIONS = 5_000_000
_MOST_HELD_BYTES = 256 << 20
"""Texts and short byte strings together."""
_MOST_TEXT_BYTES = 64 << 20
_MOST_LINE_BYTES = 1 << 20
_MOST_INTEGER_BYTES = 4096
_LEAST_IN_FILE_BYTES = 1 << 10
"""Longer byte strings stay in the file."""
_MOST_STREAMS = 8
"""How deep pickles may stand in each other, as joblib writes arrays of objects."""
_BUFFER_BYTES = 256 << 10

_MARK = object()
_DICT_ORDER = "python.dict-order"
_SET_ORDER = "python.set-order"


def read_pickle(window: Window, offset: int = 0) -> tuple[Any, int]:
    """Returns what the pickle at `offset` holds, and where it ends.

    Raises:
        UnfitError: It is no pickle, or is over a limit.
    """
    reader = _Reader(window, offset)
    value = _Machine(reader, _Budget(), 0).run()
    return value, reader.position


class _Budget:
    """What all pickles of one file may use together."""

    def __init__(self) -> None:
        self.instructions = _MOST_INSTRUCTIONS
        self.held_bytes = _MOST_HELD_BYTES


class _Reader:
    """Reads forward, and keeps a piece of the file in memory."""

    def __init__(self, window: Window, offset: int) -> None:
        self.window = window
        self._start = offset
        self._data = b""
        self._at = 0

    @property
    def position(self) -> int:
        """Of the next byte."""
        return self._start + self._at

    def take(self, size: int) -> bytes:
        """Returns the next `size` bytes.

        Raises:
            UnfitError: The file ends before.
        """
        end = self._at + size
        if end <= len(self._data):
            data = self._data[self._at : end]
            self._at = end
            return data
        self._refill(max(size, _BUFFER_BYTES))
        if size > len(self._data):
            raise UnfitError("the pickle is cut off")
        self._at = size
        return self._data[:size]

    def line(self) -> bytes:
        """Returns the bytes up to the next line feed, without it."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            self._refill(_MOST_LINE_BYTES)
            end = self._data.find(b"\n")
            if end < 0:
                raise UnfitError("the pickle is cut off")
        data = self._data[self._at : end]
        self._at = end + 1
        return data

    def skip(self, size: int) -> Window:
        """Returns the next `size` bytes as a part of the file, unread."""
        part = self.window.part(self.position, size)
        self._start, self._data, self._at = self.position + size, b"", 0
        return part

    def _refill(self, size: int) -> None:
        self._start, self._at = self.position, 0
        self._data = self.window.read(self._start, size)


class _Machine:
    """One run over one stream."""

    def __init__(self, reader: _Reader, budget: _Budget, level: int) -> None:
        if level > _MOST_STREAMS:
            raise UnfitError("pickles stand in each other too deeply")
        self._reader = reader
        self._budget = budget
        self._level = level
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:  # noqa: ANN401  # any nested value
        """Follows the instructions until the end of the pickle, and returns what it holds."""
        take = self._reader.take
        while True:
            code = take(1)[0]
            if code == _STOP:
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnfitError(f"a pickle has no instruction {code:#04x}")
            self._budget.instructions -= 1
            if self._budget.instructions < 0:
                raise UnfitError("the pickle has more instructions than are followed")
            step(self)

    # The stack.

    def _pop(self) -> Any:  # noqa: ANN401  # any nested value
        if not self._stack or self._stack[-1] is _MARK:
            raise UnfitError("the pickle takes more than it put down")
        return self._stack.pop()

    def _top(self) -> Any:  # noqa: ANN401  # any nested value
        if not self._stack or self._stack[-1] is _MARK:
            raise UnfitError("the pickle takes more than it put down")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        stack = self._stack
        at = len(stack) - 1
        while at >= 0 and stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise UnfitError("the pickle lacks a mark")
        items = stack[at + 1 :]
        del stack[at:]
        return items

    def push(self, value: Any) -> None:  # noqa: ANN401  # any nested value
        self._stack.append(value)

    def mark(self) -> None:
        self._stack.append(_MARK)

    def pop(self) -> None:
        if not self._stack:
            raise UnfitError("the pickle takes more than it put down")
        self._stack.pop()

    def pop_mark(self) -> None:
        self._pop_to_mark()

    def dup(self) -> None:
        self._stack.append(self._top())

    # Plain values.

    def number(self, form: struct.Struct) -> Any:  # noqa: ANN401  # what the form says
        return form.unpack(self._reader.take(form.size))[0]

    def _held(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_TEXT_BYTES:
            raise UnfitError("the pickle holds a text that is too long")
        self._budget.held_bytes -= size
        if self._budget.held_bytes < 0:
            raise UnfitError("the pickle holds more text than is compared")
        return self._reader.take(size)

    def line_integer(self) -> None:
        line = self._reader.line()
        self.push({b"00": False, b"01": True}[line] if line in {b"00", b"01"} else _integer(line))

    def line_long(self) -> None:
        self.push(_integer(self._reader.line().removesuffix(b"L")))

    def line_float(self) -> None:
        line = self._reader.line()
        try:
            self.push(float(line))
        except ValueError:
            raise UnfitError("the pickle holds no number where it says one") from None

    def long(self, form: struct.Struct) -> None:
        size = self.number(form)
        if not 0 <= size <= _MOST_INTEGER_BYTES:
            raise UnfitError("the pickle holds an integer that is too large")
        self.push(int.from_bytes(self._reader.take(size), "little", signed=True))

    def text(self, form: struct.Struct) -> None:
        self.push(_decode(self._held(self.number(form)), "utf-8"))

    def line_text(self) -> None:
        line = self._reader.line()
        self._budget.held_bytes -= len(line)
        # Escapes of the form \\uXXXX alone, as the protocol has it.
        self.push(_decode(line, "raw-unicode-escape"))

    def old_text(self, form: struct.Struct) -> None:
        # Python 2 did not tell text from bytes; nobody needs to know here which it was.
        self.push(_decode(self._held(self.number(form)), "latin-1"))

    def quoted_text(self) -> None:
        line = self._reader.line()
        if not _QUOTED.fullmatch(line):
            raise UnfitError("the pickle holds no text where it says one")
        try:
            value = ast.literal_eval("b" + line.decode("ascii"))
        except (ValueError, SyntaxError, UnicodeDecodeError):
            raise UnfitError("the pickle holds no text where it says one") from None
        self.push(_decode(value, "latin-1"))

    def bytes_(self, form: struct.Struct) -> None:
        size = self.number(form)
        if size >= _LEAST_IN_FILE_BYTES:
            self.push(Bytes(self._reader.skip(size)))
        else:
            self.push(self._held(size))

    # Collections.

    def tuple_(self, count: int) -> None:
        items = [self._pop() for _ in range(count)][::-1]
        self.push(Items("tuple", items))

    def marked_items(self, kind: str) -> None:
        items = self._pop_to_mark()
        self.push(Items(kind, items, _SET_ORDER if kind == "frozenset" else ""))

    def marked_dict(self) -> None:
        items = self._pop_to_mark()
        self.push(Pairs(unordered=_DICT_ORDER))
        self._set_items(items)

    def append(self) -> None:
        self._append([self._pop()])

    def appends(self) -> None:
        self._append(self._pop_to_mark())

    def _append(self, items: list[Any]) -> None:
        match self._top():
            case Items(kind="list" | "set") | Thing() as target:
                target.items.extend(items)
            case _:
                raise UnfitError("the pickle appends to what is no list")

    def set_item(self) -> None:
        value = self._pop()
        self._set_items([self._pop(), value])

    def set_items(self) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise UnfitError("the pickle has a key without a value")
        top = self._top()
        target = top.pairs if isinstance(top, Thing) else top
        if not isinstance(target, Pairs):
            raise UnfitError("the pickle puts items into what is no dictionary")
        target.keys.extend(items[::2])
        target.values.extend(items[1::2])

    # The memo.

    def put(self, key: int) -> None:
        self._memo[key] = self._top()

    def put_line(self) -> None:
        self.put(_integer(self._reader.line()))

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, key: int) -> None:
        if key not in self._memo:
            raise UnfitError("the pickle refers to what it did not make")
        self.push(self._memo[key])

    def get_line(self) -> None:
        self.get(_integer(self._reader.line()))

    # What a pickle would import and call.

    def name(self) -> None:
        module, name = self._reader.line(), self._reader.line()
        self.push(Name(_decode(module, "utf-8"), _decode(name, "utf-8")))

    def name_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnfitError("the pickle names a class by what is no text")
        self.push(Name(module, name))

    def extension(self, form: struct.Struct) -> None:
        self.push(Name("copyreg", f"extension {self.number(form)}"))

    def call(self) -> None:
        args = self._pop()
        thing = Thing(self._pop(), args)
        recognise(thing)
        self.push(thing)

    def call_with_keywords(self) -> None:
        keywords, args = self._pop(), self._pop()
        self.push(Thing(self._pop(), Items("tuple", [args, keywords])))

    def old_call(self) -> None:
        items = self._pop_to_mark()
        if not items:
            raise UnfitError("the pickle makes an object of nothing")
        self.push(Thing(items[0], Items("tuple", items[1:])))

    def old_named_call(self) -> None:
        self.name()
        name = self._pop()
        self.push(Thing(name, Items("tuple", self._pop_to_mark())))

    def build(self) -> None:
        state = self._pop()
        thing = self._top()
        if not isinstance(thing, Thing):
            raise UnfitError("the pickle sets the attributes of what is no object")
        thing.states.append(state)
        recognise(thing)
        if _is_wrapper(thing):
            self._stack[-1] = self._array_inside(thing)

    def _array_inside(self, wrapper: Thing) -> Any:  # noqa: ANN401  # an array, or a nested value
        """Returns the array whose bytes joblib wrote here, and goes on after it."""
        found = array_of_wrapper(wrapper)
        if found.dtype.is_object:
            return _Machine(self._reader, self._budget, self._level + 1).run()
        if found.is_padded:
            padding = self._reader.take(1)[0]
            self._reader.skip(padding)
        return Array.of(found.dtype, found.shape, found.order, self._reader.skip(found.size_bytes))

    def reference_line(self) -> None:
        self.push(Reference(_decode(self._reader.line(), "utf-8")))

    def reference(self) -> None:
        self.push(Reference(self._pop()))

    def skip_number(self, form: struct.Struct) -> None:
        self.number(form)

    def nothing(self) -> None:
        """Read-only or not, the bytes are the same."""

    def next_buffer(self) -> None:
        raise UnfitError("the pickle refers to buffers that stand elsewhere")


def _is_wrapper(thing: Thing) -> bool:
    """Whether an object is joblib's stand-in for an array."""
    return class_of(thing) in JOBLIB_WRAPPERS


_QUOTED = re.compile(rb"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)


def _integer(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise UnfitError("the pickle holds no number where it says one") from None


def _decode(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError:
        raise UnfitError("the pickle holds no text where it says one") from None


_U1, _U2, _U4, _U8 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_I4 = struct.Struct("<i")
_F8 = struct.Struct(">d")
_STOP = ord(".")
_TRUE, _FALSE = True, False

_STEPS: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    ord("0"): _Machine.pop,
    ord("1"): _Machine.pop_mark,
    ord("2"): _Machine.dup,
    ord("F"): _Machine.line_float,
    ord("I"): _Machine.line_integer,
    ord("J"): lambda m: m.push(m.number(_I4)),
    ord("K"): lambda m: m.push(m.number(_U1)),
    ord("L"): _Machine.line_long,
    ord("M"): lambda m: m.push(m.number(_U2)),
    ord("N"): lambda m: m.push(None),
    ord("P"): _Machine.reference_line,
    ord("Q"): _Machine.reference,
    ord("R"): _Machine.call,
    ord("S"): _Machine.quoted_text,
    ord("T"): lambda m: m.old_text(_U4),
    ord("U"): lambda m: m.old_text(_U1),
    ord("V"): _Machine.line_text,
    ord("X"): lambda m: m.text(_U4),
    ord("a"): _Machine.append,
    ord("b"): _Machine.build,
    ord("c"): _Machine.name,
    ord("d"): _Machine.marked_dict,
    ord("}"): lambda m: m.push(Pairs(unordered=_DICT_ORDER)),
    ord("e"): _Machine.appends,
    ord("g"): _Machine.get_line,
    ord("h"): lambda m: m.get(m.number(_U1)),
    ord("i"): _Machine.old_named_call,
    ord("j"): lambda m: m.get(m.number(_U4)),
    ord("l"): lambda m: m.marked_items("list"),
    ord("]"): lambda m: m.push(Items("list")),
    ord("o"): _Machine.old_call,
    ord("p"): _Machine.put_line,
    ord("q"): lambda m: m.put(m.number(_U1)),
    ord("r"): lambda m: m.put(m.number(_U4)),
    ord("s"): _Machine.set_item,
    ord("t"): lambda m: m.marked_items("tuple"),
    ord(")"): lambda m: m.tuple_(0),
    ord("u"): _Machine.set_items,
    ord("G"): lambda m: m.push(m.number(_F8)),
    ord("B"): lambda m: m.bytes_(_U4),
    ord("C"): lambda m: m.bytes_(_U1),
    0x80: lambda m: m.skip_number(_U1),
    0x81: _Machine.call,
    0x82: lambda m: m.extension(_U1),
    0x83: lambda m: m.extension(_U2),
    0x84: lambda m: m.extension(_I4),
    0x85: lambda m: m.tuple_(1),
    0x86: lambda m: m.tuple_(2),
    0x87: lambda m: m.tuple_(3),
    0x88: lambda m: m.push(_TRUE),
    0x89: lambda m: m.push(_FALSE),
    0x8A: lambda m: m.long(_U1),
    0x8B: lambda m: m.long(_U4),
    0x8C: lambda m: m.text(_U1),
    0x8D: lambda m: m.text(_U8),
    0x8E: lambda m: m.bytes_(_U8),
    0x8F: lambda m: m.push(Items("set", unordered=_SET_ORDER)),
    0x90: _Machine.appends,
    0x91: lambda m: m.marked_items("frozenset"),
    0x92: _Machine.call_with_keywords,
    0x93: _Machine.name_from_stack,
    0x94: _Machine.memoize,
    0x95: lambda m: m.skip_number(_U8),
    0x96: lambda m: m.bytes_(_U8),
    0x97: _Machine.next_buffer,
    0x98: _Machine.nothing,
}
