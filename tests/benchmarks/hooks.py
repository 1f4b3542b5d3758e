"""What the git hooks add to `git commit`, in a repository with much data and in one with little.

python tests/benchmarks/hooks.py [--runs 15] [--files 10000]

Not part of the test run: it asserts nothing. A commit of one line of code is made without hooks, with each hook alone
and with all, in turn, so that a machine that slows down slows all of them; medians are printed, and what the hooks add.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MLVC = [sys.executable, "-m", "mlvc"]
KINDS = ("none", "pre-commit", "post-commit", "all")


def prepare(folder: Path, files: int) -> None:
    """Makes a repository with so many tracked data files, and a directory of hooks for each kind of commit."""
    (folder / "data").mkdir()
    for number in range(files):
        (folder / "data" / f"{number}.csv").write_text(f"{number},2\n")
    for command in (
        [*MLVC, "init", "--git"],
        ["git", "config", "user.name", "Benchmark"],
        ["git", "config", "user.email", "benchmark@example.org"],
        [*MLVC, "add", "data"],
        [*MLVC, "commit", "-m", "data"],
        [*MLVC, "hooks", "install"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    for kind in KINDS:
        hooks = folder / ".git" / f"hooks-{kind}"
        hooks.mkdir()
        for hook in (folder / ".git" / "hooks").iterdir():
            if kind in {hook.name, "all"} and not hook.name.endswith(".sample"):
                (hooks / hook.name).write_bytes(hook.read_bytes())
                (hooks / hook.name).chmod(0o755)


def used_s() -> float:
    """Returns the processor time of all children so far, which a busy machine stretches less than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, runs: int) -> dict[str, tuple[float, float]]:
    """Returns the median time of a commit by kind, in seconds by the clock and of the processor."""
    # Without byte code on disk every hook would compile mlvc again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for turn in range(runs + 1):
        for kind in KINDS:
            (folder / "code.py").write_text(f"# {turn} {kind}\n")
            subprocess.run(["git", "add", "code.py"], cwd=folder, check=True)
            settings = ["-c", f"core.hooksPath={folder}/.git/hooks-{kind}", "-c", "gc.auto=0"]
            begin, used = time.perf_counter(), used_s()
            subprocess.run(
                ["git", *settings, "commit", "--quiet", "-m", "code"],
                cwd=folder,
                env=environment,
                check=True,
                capture_output=True,
            )
            if turn:  # The first one warms up.
                seconds[kind].append((time.perf_counter() - begin, used_s() - used))
    return {
        kind: (statistics.median(each for each, _ in taken), statistics.median(each for _, each in taken))
        for kind, taken in seconds.items()
    }


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=15, help="commits of each kind; default 15")
    parser.add_argument("--files", type=int, default=10_000, help="in the larger repository; default 10,000")
    arguments = parser.parse_args()
    print("| data files | hooks | `git commit`, ms | what they add | processor, ms | what they add |")
    print("|---|---|---|---|---|---|")
    for count in (1, arguments.files):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, count)
            taken = measure(folder, arguments.runs)
        for kind, medians in taken.items():
            cells = [
                f"{median * 1000:.0f} | {(median - bare) * 1000:.0f}"
                for median, bare in zip(medians, taken["none"], strict=True)
            ]
            print(f"| {count:,} | {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
