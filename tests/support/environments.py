"""Installs made-up distributions by hand, and makes virtual environments, for the tests of the env room."""

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from uv import find_uv_bin

__all__ = ["find_system_python", "install", "make_venv"]

PURE = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def install(
    site: Path,
    name: str,
    version: str,
    files: Mapping[str, str | bytes],
    *,
    metadata: Mapping[str, str] | None = None,
    executable: tuple[str, ...] = (),
) -> Path:
    """Installs a distribution as pip would, without pip; returns its dist-info directory.

    Args:
        site: The site-packages directory.
        name: Its name, as file names have it.
        version: Its version.
        files: Contents by path relative to `site`; `../../../bin/x` is a script.
        metadata: More files of the dist-info directory.
        executable: Which of `files` are.
    """
    info = f"{name}-{version}.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText.\n",
        f"{info}/WHEEL": PURE,
        f"{info}/INSTALLER": "pip\n",
        **{f"{info}/{key}": text for key, text in (metadata or {}).items()},
    }
    rows = []
    for path, content in everything.items():
        data = content.encode() if isinstance(content, str) else content
        target = Path(os.path.normpath(site / path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if path in executable else 0o644)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        rows.append(f'"{path}",sha256={digest},{len(data)}\n')
    rows.append(f"{info}/RECORD,,\n")
    (site / info / "RECORD").write_text("".join(rows))
    return site / info


def make_venv(directory: Path, python: Path) -> Path:
    """Makes a virtual environment without packages and returns its site-packages directory."""
    command = [find_uv_bin(), "--no-config", "--offline", "venv", "--quiet", "--no-project"]
    subprocess.run([*command, "--python", python, directory], check=True, env={"PATH": os.defpath})
    (site,) = directory.glob("lib/python3*/site-packages")
    return site


def find_system_python() -> Path:
    """Returns a Python below /usr, whose files need not be captured; else the one that runs the tests."""
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        path = Path("/usr/bin") / name
        if path.exists() and subprocess.run([path, "-c", "import venv"], check=False).returncode == 0:
            return path.resolve()
    return Path(os.path.realpath(sys.executable))
