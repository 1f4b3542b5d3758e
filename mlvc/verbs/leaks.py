"""Tells texts that look like credentials; never says what they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["find_credentials", "name_credential"]

# Only forms that nothing else has: a false alarm here stops a pipeline.
_FORMS = {
    # In JSON, as Google hands out its service accounts, and in quotes the line ends as the letters `\n`.
    "a private key": rb"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY-----(?:\s|\\r|\\n)+[A-Za-z0-9+/=]{16}",
    # Those of Amazon's and of Azurite's own documentation open nothing.
    "an access key of AWS": rb"\b(?:AKIA|ASIA)[A-Z2-7]{9}(?!EXAMPLE\b)[A-Z2-7]{7}\b",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})",
    "a token of GitLab": rb"\bglpat-[A-Za-z0-9_-]{20}",
    "a token of Hugging Face": rb"\bhf_[A-Za-z]{34}\b",
    "a token of Slack": rb"\bxox[abprs]-[0-9]{8,}-[A-Za-z0-9-]{8,}",
    "a token of PyPI": rb"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    "a key of an Azure storage account": rb"\bAccountKey=(?!Eby8vdM02xNOcqFl)[A-Za-z0-9+/]{86}==",
    "a key of Google": rb"\bAIza[A-Za-z0-9_-]{35}\b",
    "a key of OpenAI or Anthropic": rb"\bsk-(?:proj-|ant-)[A-Za-z0-9_-]{40,}",
}
_CREDENTIAL = re.compile(b"|".join(b"(%s)" % form for form in _FORMS.values()))
_KINDS = tuple(_FORMS)
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def find_credentials(data: bytes) -> Iterator[tuple[int, str]]:
    """Yields the line, counted from 1, and the kind of each credential in the contents of a file."""
    line, seen = 1, 0
    for match in _CREDENTIAL.finditer(data):
        line += data.count(b"\n", seen, match.start())
        seen = match.start()
        yield line, _KINDS[(match.lastindex or 1) - 1]


def name_credential(value: str) -> str | None:
    """Returns the kind of credential that an argument or a variable's value holds; None where it holds none."""
    if _URL_PASSWORD.search(value):
        return "a password in a URL"
    return next((kind for _, kind in find_credentials(value.encode("utf-8", "surrogateescape"))), None)
