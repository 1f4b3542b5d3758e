"""`mlvc trust`: lets the settings of `mlvc.toml` take effect that decide what is executed and where bytes go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mlvc import fsio
from mlvc.errors import UsageError
from mlvc.model.config import decode_config
from mlvc.model.trust import digest_of, encode_trusted, settings_to_trust
from mlvc.repo import SETTINGS_NAME, Repo

__all__ = ["PasswordTrackedError", "TrustResult", "forget_trust", "trust"]


class PasswordTrackedError(UsageError):
    """A setting of `mlvc.toml` holds a password."""

    code = "password-tracked"


@dataclass(frozen=True, slots=True)
class TrustResult:
    """What is trusted now.

    Attributes:
        settings: The settings and their values; none where `mlvc.toml` has none that need it.
        is_new: Whether they were not trusted before.
    """

    settings: Mapping[str, str]
    is_new: bool


def trust(repo: Repo) -> TrustResult:
    """Trusts the settings that `mlvc.toml` holds now, in this repository and its worktrees, until one changes.

    Raises:
        FormatError: `mlvc.toml` cannot be read.
        PasswordTrackedError: It holds a password.
        FileUnreadableError: What is trusted cannot be written down.
    """
    with fsio.translate_os_errors("read mlvc.toml"):
        data = (repo.root / os.fsdecode(SETTINGS_NAME)).read_bytes()
    settings = settings_to_trust(decode_config(data))
    for name, value in settings.items():
        if _has_password(value):
            raise PasswordTrackedError(
                f"mlvc.toml has a password in {name}, where git keeps it for ever",
                hint="write the address without it, the password into ~/.pgpass or the whole into your own settings, "
                "and have the password changed",
            )
    known = repo.read_trusted()
    digest = digest_of(settings)
    is_new = bool(settings) and digest not in known
    if is_new:
        with fsio.translate_os_errors(f"write {repo.trusted_path}"):
            fsio.atomic_write(repo.trusted_path, encode_trusted({*known, digest}), mode=0o600)
    return TrustResult(settings, is_new)


def _has_password(address: str) -> bool:
    _, is_address, rest = address.partition("://")
    # Up to the last `@`: a password may hold one, and a `/` or `?` as well.
    user = rest.rpartition("@")[0]
    return bool(is_address) and (":" in user or "pass" in rest.partition("?")[2].lower())


def forget_trust(repo: Repo) -> int:
    """Trusts nothing any more; returns how many contents of `mlvc.toml` were trusted."""
    known = repo.read_trusted()
    with fsio.translate_os_errors(f"delete {repo.trusted_path}"):
        repo.trusted_path.unlink(missing_ok=True)
    return len(known)
