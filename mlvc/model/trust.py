"""Which settings of `mlvc.toml` the user trusts: those of a branch that somebody else wrote have no effect before.

    mlvc-trusted 1
    HEX                  one line for each content that is trusted, sorted

HEX is the BLAKE3 of the JSON of the settings in question, so that a changed value is not trusted any more.
Format page: docs/format/trusted.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from mlvc.errors import FormatError
from mlvc.model.config import NEEDS_TRUST, Config
from mlvc.model.ids import ObjectId

__all__ = ["decode_trusted", "digest_of", "encode_trusted", "settings_to_trust"]

_FIRST_LINE = "mlvc-trusted 1"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def settings_to_trust(config: Config) -> Mapping[str, str]:
    """Returns those settings of a file that need trust, and their values."""
    return {
        name: value for name, field in NEEDS_TRUST.items() if (value := getattr(config, field)) is not None
    }


def digest_of(settings: Mapping[str, str]) -> str:
    """Returns what tells whether exactly these settings are trusted."""
    from mlvc.model.canonical import encode_canonical  # noqa: PLC0415  # hardly a project asks for trust

    return ObjectId.of(encode_canonical(dict(settings))).hex


def encode_trusted(digests: Collection[str]) -> bytes:
    """Returns the text of the file."""
    return "".join(f"{line}\n" for line in (_FIRST_LINE, *sorted(digests))).encode()


def decode_trusted(data: bytes) -> frozenset[str]:
    """Returns what is trusted.

    Raises:
        FormatError: It is no such file; then nothing is.
    """
    first, *lines = data.decode("latin-1").split("\n")
    digests = frozenset(line for line in lines if _DIGEST.fullmatch(line))
    if first != _FIRST_LINE or encode_trusted(digests) != data:
        raise FormatError("it is no list of trusted settings")
    return digests
