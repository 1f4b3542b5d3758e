"""Which packages of the system the loaded libraries come from: what `pip freeze` cannot name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence

from mlvc import fsio
from mlvc.engines.host import HostEngine
from mlvc.model.names import encode_name
from mlvc.ports import Execution
from mlvc.repo import Repo

__all__ = ["decode_owners", "find_owners"]

_TIMEOUT_S = 20.0
_MOST_BYTES = 1 << 20
_MOST_KNOWN = 5000


def find_owners(repo: Repo, libraries: Iterable[bytes]) -> dict[str, str]:
    """Returns the package and its version by library, for those that dpkg knows; none on another kind of system.

    What was found out is kept until the library changes, so usually nothing is asked.
    """
    path = repo.common_dir / "cache" / "owners.json"
    known = _read(path.read_bytes() if path.exists() else b"{}")
    stamps = {name: _stamp(name) for name in libraries}
    new = [name for name, stamp in stamps.items() if stamp not in known]
    program = shutil.which("dpkg-query", path=repo.environment.get("PATH", os.defpath))
    if new and program is not None:
        owners = _ask(os.fsencode(program), new)
        known = {**known, **{stamps[name]: owners.get(name, "") for name in new}}
        path.parent.mkdir(exist_ok=True)
        fsio.atomic_write(path, json.dumps(dict(list(known.items())[-_MOST_KNOWN:])).encode())
    found = {encode_name(name): known.get(stamp, "") for name, stamp in stamps.items()}
    return {name: owner for name, owner in sorted(found.items()) if owner}


def _read(data: bytes) -> dict[str, str]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _stamp(name: bytes) -> str:
    try:
        status = os.stat(name)
    except OSError:
        return encode_name(name)
    return f"{encode_name(name)}\t{status.st_size}\t{status.st_mtime_ns}"


def _ask(program: bytes, names: Sequence[bytes]) -> dict[bytes, str]:
    # Where /lib leads to /usr/lib, dpkg knows a file by the name that its package has for it.
    forms = {form: name for name in names for form in (name, name.removeprefix(b"/usr"))}
    listed = _output((program, b"-S", b"--", *forms))
    owners = decode_owners(listed, forms)
    if not owners:
        return {}
    packages = sorted(set(owners.values()))
    versions = dict(
        line.split("\t", 1)
        for line in _output(
            (program, b"-W", b"-f=${binary:Package}\\t${Version}\\n", *map(os.fsencode, packages))
        )
        .decode(errors="replace")
        .splitlines()
        if "\t" in line
    )
    return {
        name: f"{package} {versions.get(package, versions.get(package.partition(':')[0], ''))}".strip()
        for name, package in owners.items()
    }


def decode_owners(listed: bytes, forms: Mapping[bytes, bytes]) -> dict[bytes, str]:
    """Returns the package by name from lines like `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`."""
    owners = {}
    for line in listed.splitlines():
        package, mark, path = line.partition(b": ")
        # Several packages with commas between them share a directory, never a library.
        if mark and path in forms and b"," not in package:
            owners[forms[path]] = package.decode("ascii", "replace")
    return owners


def _output(argv: tuple[bytes, ...]) -> bytes:
    printed = bytearray()

    def collect(data: bytes, *, is_error: bool) -> None:
        if not is_error and len(printed) < _MOST_BYTES:
            printed.extend(data)

    variables = {"PATH": os.defpath, "LC_ALL": "C"}
    # It fails where one name has no owner, and answers for the others.
    HostEngine().run(Execution(argv, "/", variables, timeout_s=_TIMEOUT_S), collect)
    return bytes(printed)
