"""The works in which a file system shares the bytes of a store with the work tree: reflink and hardlink."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.measure import CommandError, Sample, run, stored_bytes, warm
from tests.benchmarks.tools import CP, MLVC, Place, Tool
from tests.benchmarks.workloads import write_incompressible
from tests.benchmarks.works import LARGE_BYTES, SEED, Bench

__all__ = ["measure_hardlink", "measure_reflink"]

# Room for the source, a store, a work tree and a plain copy of each turn.
_IMAGE_FACTOR = 8
_IMAGE_LEAST_BYTES = 1 << 30

# On a file system with reflinks cp shares the bytes too, unless told not to.
_PLAIN_CP = Tool(
    "cp",
    "store",
    (),
    {
        "add": (("{tool}", "-r", "--reflink=never", "data", "{store}"), ("sync", "-f", "{store}")),
        "restore": (("{tool}", "-r", "--reflink=never", "{store}", "data"), ("sync", "-f", "data")),
    },
)


def measure_hardlink(bench: Bench) -> None:
    """hardlink: `checkout` of one large file whose blob is also on a remote, with `checkout.link = "hardlink"`."""
    tree = bench.folder / "hardlink"
    write_incompressible(tree / "model.bin", bench.scaled(LARGE_BYTES), SEED)
    tools = [tool for tool in bench.tools if tool.name in {"mlvc", "cp", "dvc-hardlink"}]
    for _, tool in bench.turns(bench.repeat, tools):
        with bench.guarded(tool, "hardlink"):
            place = bench.place("hardlink-of", tool)
            subprocess.run(["cp", "-r", tree, place.data], check=True)
            bench.run(place, "add")
            bench.run(place, "push")
            note = _set(bench, place, 'checkout.link = "hardlink"') if tool is MLVC else ""
            _checkout(bench, "hardlink", place, note)
            bench.discard(place.root)
    bench.discard(tree)


def measure_reflink(bench: Bench) -> None:
    """reflink-add, reflink-checkout and reflink-once: one large file on an XFS image of its own.

    Where no image can be mounted, the works fail with the reason.
    """
    works = ("reflink-add", "reflink-checkout", "reflink-once")
    tools = {tool: program for tool, program in bench.tools.items() if tool.name in {"mlvc", "dvc"}}
    if CP in bench.tools:
        tools[_PLAIN_CP] = bench.tools[CP]
    try:
        with _mounted(bench) as folder:
            inside = replace(bench, folder=folder, tools=tools)
            tree = folder / "source"
            write_incompressible(tree / "model.bin", bench.scaled(LARGE_BYTES), SEED)
            for _, tool in inside.turns(bench.repeat):
                with inside.guarded(tool, *works):
                    _reflink(inside, inside.place("reflink-of", tool), tree)
    except CommandError as error:
        for tool in tools:
            for work in bench.wanted.intersection(works):
                bench.results.failures.setdefault((work, tool.name), str(error))


def _reflink(bench: Bench, place: Place, tree: Path) -> None:
    subprocess.run(["cp", "-r", "--reflink=never", tree, place.data], check=True)
    subprocess.run(["sync", "-f", place.data], check=True)
    warm(place.data)
    before = _used_bytes(bench.folder)
    _keep(bench, "reflink-add", place, bench.run(place, "add"), before)
    bench.discard(place.data)
    before = _used_bytes(bench.folder)
    sample = bench.run(place, "restore")
    _keep(bench, "reflink-checkout", place, sample, before)
    if place.tool is MLVC:
        _checkout(bench, "reflink-once", place, _set(bench, place, 'checkout.verify = "once"'))
    bench.discard(place.root)


def _keep(bench: Bench, work: str, place: Place, sample: Sample | None, before: int) -> None:
    if sample is not None:
        grown = _used_bytes(bench.folder) - before
        bench.keep(work, place, replace(sample, base_bytes=stored_bytes(place.restored)), grown)


def _checkout(bench: Bench, work: str, place: Place, note: str) -> None:
    bench.discard(place.data)
    warm(place.store)
    sample = bench.run(place, "restore")
    bench.keep(work, place, None if sample is None else replace(sample, note=note))


def _set(bench: Bench, place: Place, setting: str) -> str:
    """Sets something in the user's own configuration; returns why not, where mlvc does not know it."""
    key, _, value = setting.partition(" = ")
    section, _, name = key.partition(".")
    config = place.root / "home" / ".config" / "mlvc" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f"[{section}]\n{name} = {value}\n", encoding="utf-8")
    try:
        run(place.commands("settings") or [], place.work, place.environment(os.environ))
    except CommandError as error:
        config.unlink()
        return f"without {key}: {error}"
    return ""


def _used_bytes(folder: Path) -> int:
    subprocess.run(["sync", "-f", folder], check=True)
    facts = os.statvfs(folder)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


@contextlib.contextmanager
def _mounted(bench: Bench) -> Iterator[Path]:
    """Mounts a new XFS image that is as large as this work needs at most; most of it is a hole.

    Raises:
        CommandError: this is not root, or mkfs.xfs is missing, or the kernel mounts no XFS.
    """
    program = shutil.which("mkfs.xfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        raise CommandError("needs root and mkfs.xfs")
    image, folder = bench.folder / "xfs.img", bench.folder / "xfs"
    size_bytes = max(_IMAGE_LEAST_BYTES, bench.scaled(LARGE_BYTES) * _IMAGE_FACTOR)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    folder.mkdir()
    run(
        [[program, "-q", "-m", "reflink=1", str(image)], ["mount", "-o", "loop", str(image), str(folder)]],
        bench.folder,
        os.environ,
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
