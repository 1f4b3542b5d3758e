"""Facts about the machine that a command ran on, as far as they can change its numbers."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlvc.model.objects import Run

__all__ = ["gpu_facts", "host_class", "host_facts"]

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_OS_RELEASE = Path("/etc/os-release")
_NVIDIA = Path("/proc/driver/nvidia/version")

# The x86-64 psABI's micro-architecture levels, by the flags that each adds.
_LEVELS = (
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)

# What libraries choose their kernels by. Memory, cores and the kernel's version are no part of it: threads are pinned.
_CLASS = ("machine", "system", "cpu_vendor", "cpu_family", "cpu_level", "gpu_driver", "gpu")
# Without an image these come from the machine too.
_SYSTEM = ("os", "libc")


def host_class(facts: Mapping[str, str], *, with_system: bool) -> Mapping[str, str]:
    """Returns those of `host_facts` that a verdict holds for: two machines that agree in them are of one class.

    Args:
        facts: Of a machine.
        with_system: Whether the command ran on the machine's own system directories, and on no image.
    """
    names = (*_CLASS, *_SYSTEM) if with_system else _CLASS
    return {name: facts.get(name, "") for name in names}


def gpu_facts(run: Run, names: Sequence[str]) -> Mapping[str, str]:
    """Returns what is to be added to `host_facts` for a run that used a GPU; nothing for any other.

    Args:
        run: What is executed.
        names: The models of this machine's GPUs.
    """
    return {"gpu": ", ".join(names)} if run.gpus and names else {}


def _fields(path: Path, separator: str) -> dict[str, str]:
    """Returns the first value of each `key<separator>value` line of a file; empty where there is no such file."""
    found: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        key, mark, value = line.partition(separator)
        if mark:
            found.setdefault(key.strip(), value.strip().strip('"'))
    return found


def _level(flags: set[str]) -> str:
    level = "x86-64-v1"
    for name, needed in _LEVELS:
        if not needed <= flags:
            break
        level = name
    return level


def host_facts() -> dict[str, str]:
    """Returns the facts by name; a fact that this system does not tell is left out. Costs a few milliseconds."""
    cpu = _fields(_CPUINFO, ":")
    flags = set(cpu.get("flags", "").split())
    libc_name, libc_version = platform.libc_ver()
    facts = {
        "machine": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "os": _fields(_OS_RELEASE, "=").get("PRETTY_NAME", ""),
        "libc": f"{libc_name} {libc_version}".strip(),
        "cpu_model": cpu.get("model name", ""),
        "cpu_vendor": cpu.get("vendor_id", ""),
        "cpu_family": cpu.get("cpu family", ""),
        "cpu_level": _level(flags) if flags else "",
        "cpu_flags": " ".join(sorted(flags)),
        "cores": str(os.cpu_count() or ""),
        "usable_cores": str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "",
        "memory": _fields(_MEMINFO, ":").get("MemTotal", ""),
        "gpu_driver": _fields(_NVIDIA, ":").get("NVRM version", ""),
    }
    return {name: value for name, value in facts.items() if value}
