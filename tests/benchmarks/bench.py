"""mlvc beside its peers on the same work and the same machine.

python tests/benchmarks/bench.py [WORK...] [--scale 0.01] [--repeat 3] [--directory DIR] [--peers cp,git,dvc]

Prints a Markdown table on stdout, and what it is doing on stderr. Not part of the test run: it asserts nothing.
At full size all works take hours, and 40 GB of disk, 20 more for each repetition after the first; it is given back
at the end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# A script finds only what stands beside it.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.benchmarks.sharing import measure_hardlink, measure_reflink  # noqa: E402
from tests.benchmarks.table import WORKS, print_table  # noqa: E402
from tests.benchmarks.tools import TOOLS, find_tools  # noqa: E402
from tests.benchmarks.works import Bench, measure_files, measure_large, measure_million, measure_versions  # noqa: E402

# What one call measures together, because one work leaves what the next needs. Those of many files come last: it
# takes long to give their space back, and nobody after them needs it.
_GROUPS: dict[tuple[str, ...], Callable[[Bench], None]] = {
    ("add-large",): measure_large,
    ("csv",): lambda bench: measure_versions(bench, "csv"),
    ("checkpoint",): lambda bench: measure_versions(bench, "checkpoint"),
    ("reflink-add", "reflink-checkout", "reflink-once"): measure_reflink,
    ("hardlink",): measure_hardlink,
    ("add-files", "status", "add-again", "checkout-files", "checkout-changed"): measure_files,
    ("million-add", "million-status", "million-commit"): measure_million,
}
# Names for several works.
_TOGETHER = {
    "million": ("million-add", "million-status", "million-commit"),
    "reflink": ("reflink-add", "reflink-checkout", "reflink-once"),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "works",
        nargs="*",
        type=_works,
        metavar="WORK",
        help=f"default: all. {', '.join([*WORKS, *_TOGETHER])}",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the full size; default 1")
    parser.add_argument("--repeat", type=int, default=3, help="how often each work is done; default 3")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where to work; default: %(default)s",
    )
    parser.add_argument(
        "--peers", type=_peers, default=",".join(tool.name for tool in TOOLS), help="default: %(default)s"
    )
    parser.add_argument(
        "--peer-path",
        action="append",
        type=_program,
        default=[],
        metavar="NAME=PATH",
        help="a program that is not on the PATH, or another mlvc than that of this interpreter",
    )
    return parser.parse_args()


def _works(name: str) -> tuple[str, ...]:
    if name not in WORKS and name not in _TOGETHER:
        raise argparse.ArgumentTypeError(f"no such work: {name}")
    return _TOGETHER.get(name, (name,))


def _wanted(chosen: list[tuple[str, ...]]) -> frozenset[str]:
    works = set(itertools.chain.from_iterable(chosen)) or set(WORKS)
    if works.intersection(("add-again", "checkout-changed")):
        works.add("status")  # Their aim is told in terms of it.
    return frozenset(works)


def _peers(text: str) -> list[str]:
    names, known = text.split(","), [tool.name for tool in TOOLS]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no such tool: {name}; known are {', '.join(known)}")
    return ["mlvc", *names]


def _program(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or name not in {tool.name for tool in TOOLS} or not os.access(path, os.X_OK):
        raise argparse.ArgumentTypeError(f"not a tool, =, and a program: {text}")
    return name, path


def _surroundings(bench: Bench, names: list[str]) -> Iterator[str]:
    """Yields what a reader needs to judge the figures."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        memory_gb = int(meminfo.readline().split()[1]) / 1e6
    system = subprocess.run(
        ["stat", "--file-system", "--format=%T", bench.folder], check=True, capture_output=True, text=True
    ).stdout.strip()
    yield f"{os.cpu_count()} cores, {memory_gb:.0f} GB of memory, {system}, Linux {platform.release()}, "
    yield f"scale {bench.scale:g}, {bench.repeat} repetitions, warm cache.\n"
    yield "Load when it began: " + " ".join(f"{load:.1f}" for load in os.getloadavg()) + ".\n\n"
    for tool, program in bench.tools.items():
        # It is the one that knows no such option.
        question = "version" if tool.name == "restic" else "--version"
        told = subprocess.run([*program, question], check=False, capture_output=True, text=True).stdout
        yield f"- {tool.name}: {told.strip().splitlines()[0] if told.strip() else 'version unknown'}\n"
    for name in set(names) - {tool.name for tool in bench.tools}:
        yield f"- {name}: not installed\n"


def main() -> None:
    arguments = _arguments()
    wanted = _wanted(arguments.works)
    tools = find_tools(arguments.peers, dict(arguments.peer_path))
    arguments.directory.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="mlvc-bench-", dir=arguments.directory))
    try:
        bench = Bench(folder, tools, arguments.scale, arguments.repeat, wanted=wanted)
        surroundings = "".join(_surroundings(bench, arguments.peers))
        for works, measure in _GROUPS.items():
            if wanted.intersection(works):
                measure(bench)
        print(surroundings)
        print_table(bench.results, wanted)
        # Deleting takes long, and nobody need wait for it to see the table.
        sys.stdout.flush()
    finally:
        subprocess.run(["nice", "-n", "19", "rm", "-rf", folder], check=True)


if __name__ == "__main__":
    main()
