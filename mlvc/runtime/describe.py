"""Tells what a Python is, as one line of JSON behind a mark on standard output; run by `mlvc/env/probe.py`.

Whatever `.pth` files or `sitecustomize` print before it does not matter. It reads and changes nothing else.
"""

import importlib.util
import json
import os
import platform
import site
import sys
import sysconfig

MARK = "mlvc-describe:"


def site_directories() -> "list[str]":
    """Returns where packages may be installed, in the order of `sys.path`; some may not exist (yet)."""
    found = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    found += getattr(site, "getsitepackages", list)()
    if getattr(site, "ENABLE_USER_SITE", False):
        found.append(site.getusersitepackages())
    return list(dict.fromkeys(os.path.abspath(path) for path in found))


def describe() -> "dict[str, object]":
    """Returns the facts that identify an interpreter and say where its packages are."""
    implementation = sys.implementation.name
    return {
        "executable": sys.executable,
        "real_executable": os.path.realpath(sys.executable),
        "version": platform.python_version(),
        "implementation": implementation,
        "build": sys.version,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "soabi": sysconfig.get_config_var("SOABI") or "",
        "sites": site_directories(),
        "stdlib": sysconfig.get_path("stdlib"),
        "has_pip": importlib.util.find_spec("pip") is not None,
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()).strip(),
            "tag": sysconfig.get_platform(),
        },
    }


sys.stdout.write("\n" + MARK + json.dumps(describe()) + "\n")
