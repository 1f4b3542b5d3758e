"""The one text form of file names outside the binary tree: lock, JSON, SQL and messages.

UTF-8 stays as it is; `%`, control bytes (0x00 to 0x1f and 0x7f) and bytes that are not UTF-8 become `%XX`.
The form is a bijection: every byte string has exactly one text, and every text that `encode_name` returns decodes back.
"""

from __future__ import annotations

import re

from mlvc.errors import FormatError

__all__ = ["decode_name", "encode_name"]

_ESCAPED = re.compile(r"[%\x00-\x1f\x7f\udc80-\udcff]")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")


def _escape(match: re.Match[str]) -> str:
    # A surrogate escape stands for one byte 0x80 to 0xff that is not part of valid UTF-8.
    return f"%{ord(match.group()) & 0xFF:02X}"


def encode_name(name: bytes) -> str:
    """Returns the text form of a name or of a path (`/` stays as it is)."""
    return _ESCAPED.sub(_escape, name.decode("utf-8", "surrogateescape"))


def decode_name(text: str) -> bytes:
    """Returns the bytes of a name in text form.

    Raises:
        FormatError: `text` is not what `encode_name` returns for any bytes.
    """
    try:
        name = _ESCAPE.sub(lambda match: chr(0xDC00 + int(match.group(1), 16)), text)
        # Escapes below 0x80 were turned into lone surrogates too; undo those by hand, then let the codec do the rest.
        raw = b"".join(
            bytes([ord(char) & 0xFF]) if 0xDC00 <= ord(char) <= 0xDCFF else char.encode("utf-8")
            for char in name
        )
    except UnicodeEncodeError:
        raise FormatError(f"{text[:80]!r} is not a file name in text form") from None
    if encode_name(raw) != text:
        raise FormatError(f"{text[:80]!r} is not a file name in text form")
    return raw
