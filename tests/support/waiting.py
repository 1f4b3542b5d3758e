"""Waiting until a server of the tests answers."""

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

__all__ = ["why_silent"]

_TOLD = 2_000


def why_silent(server: subprocess.Popen[bytes], url: str, log: Path, *, timeout_s: float) -> str | None:
    """Waits until a server answers, whatever it says; returns why it does not, with the end of its log, or None."""
    deadline = time.monotonic() + timeout_s
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    reason = f"did not answer in {timeout_s} s"
    while time.monotonic() < deadline:
        if server.poll() is not None:
            reason = f"ended with {server.returncode}"
            break
        try:
            opener.open(url, timeout=2).close()
        except urllib.error.HTTPError:
            return None
        except OSError:
            time.sleep(0.1)
        else:
            return None
    return f"{reason}: {log.read_text(errors='replace')[-_TOLD:]}"
