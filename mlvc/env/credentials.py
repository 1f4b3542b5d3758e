"""Takes credentials out of texts that hold URLs, so that none is ever stored."""

from __future__ import annotations

import re

__all__ = ["strip_credentials"]

# Greedy up to the last `@` before the path: a password may hold one.
_USER_INFO = re.compile(r"(?<=://)([^/\s\"'<>?#]*)@")
# Signed links carry their secret as a query.
_QUERY = re.compile(r"(://[^\s\"'<>?#]*)\?[^\s\"'<>#]*")


def strip_credentials(text: str) -> str:
    """Returns `text` with the user, password and query of every URL removed; a mere `git@` stays."""
    stripped = _USER_INFO.sub(lambda match: "git@" if match[1] == "git" else "", text)
    return _QUERY.sub(r"\1", stripped)
