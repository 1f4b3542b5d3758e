"""What `mlvc run` and `mlvc repro` add to a training of one second, paired and in turns; and what watchers add.

python tests/benchmarks/run_overhead.py PYTHON [--turns N] [--image IMAGE]

PYTHON is an interpreter with scikit-learn and joblib, IMAGE one for the engine `docker`, of which that is left out
otherwise. Not part of the test run: it asserts nothing. In each turn every command runs once, so that a machine that
slows down slows all of them, and each is compared with the bare command of its own turn; what is printed are the
medians of wall and processor time, and of what the pairs differ by. `inside` is what the command itself took longer
in there than bare: it is watched, and in a container it is in one. The first turn, which captures and rebuilds the
environment, computes the fingerprint and writes the byte code, does not count.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MLVC = [sys.executable, "-m", "mlvc", "--quiet"]
TRAIN = """
import numpy as np
import joblib
from sklearn.linear_model import LogisticRegression

generator = np.random.RandomState(0)
rows = generator.randn(20_000, 40)
labels = rows[:, 0] + generator.randn(20_000) > 0
for _ in range({rounds}):
    model = LogisticRegression(max_iter=20).fit(rows, labels)
joblib.dump(model, "model.joblib")
"""
# As a person writes it: tools of the system for the data, then the training.
PIPELINE = """
seq 1 200000 | awk '{ print $1 "," $1 % 7 }' | sort -t, -k2,2n | gzip -1 > rows.csv.gz
gzip -dc rows.csv.gz | cut -d, -f2 | sort | uniq -c > counts.txt
"""
UNITS = 12
UNIT = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
int unit_{number}(int n) {{ double s = 0; for (int i = 0; i < n; i++) s += sin(i) * {number}; return (int) s; }}
"""


@dataclass(frozen=True)
class Sample:
    wall: float
    cpu: float
    inside: float | None = None


@dataclass(frozen=True)
class Command:
    argv: list[str]
    folder: Path
    bare: str
    inside: Callable[[str], float] | None = None


def measure(command: Command) -> Sample:
    """Returns wall and processor seconds of a command and its children, and what it says that its own command took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command.argv, cwd=command.folder, check=True, capture_output=True, text=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(wall, cpu, None if command.inside is None else command.inside(done.stdout))


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


IGNORED = "*.o\nrows.csv.gz\ncounts.txt\nmodel.joblib\n"


def make_project(folder: Path, files: dict[str, str], settings: str = "") -> Path:
    folder.mkdir()
    subprocess.run([*MLVC, "init", "--git"], cwd=folder, check=True, capture_output=True)
    git(folder, "config", "user.name", "Benchmark")
    git(folder, "config", "user.email", "benchmark@example.org")
    for name, text in {**files, ".gitignore": IGNORED}.items():
        (folder / name).write_text(text)
    with (folder / "mlvc.toml").open("a") as file:
        file.write(settings)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "code")
    return folder


def run_took(folder: Path) -> Callable[[str], float]:
    def took(_printed: str) -> float:
        # Not timed: the index catches up here.
        command = [*MLVC, "runs", "--json", "-n", "1"]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return float(json.loads(done.stdout)["runs"][0]["duration_ms"] / 1000)

    return took


def repro_took(printed: str) -> float:
    return float(json.loads(printed)["runs"][0]["duration_ms"] / 1000)


def trainings(parent: Path, python: str, image: str | None) -> dict[str, Command]:
    """Returns the training of one second: bare, recorded, and reproduced by every engine that can."""
    settings = "" if image is None else f'\n[image]\nbase = "{image}"\n'
    folder = make_project(parent / "training", {"train.py": TRAIN.format(rounds=3)}, settings)
    bare = Command([python, "train.py"], folder, "")
    # As many rounds as fill a second here, without the imports; the first start writes their byte code.
    seconds = statistics.median([measure(bare).wall for _ in range(4)][1:])
    empty = Command([python, "-c", TRAIN.format(rounds=3).partition("generator")[0]], folder, "")
    imports = statistics.median([measure(empty).wall for _ in range(3)])
    rounds = max(1, round(3 * (1 - imports) / max(seconds - imports, 0.01)))
    (folder / "train.py").write_text(TRAIN.format(rounds=rounds))
    git(folder, "commit", "--quiet", "-am", "one second")

    commands = {"bare": bare}
    record = [*MLVC, "run", "-o", "model.joblib", "--", *bare.argv]
    commands["`mlvc run`"] = Command(record, folder, "bare", run_took(folder))
    recorded = subprocess.run(
        [*record[: len(MLVC) + 1], "--json", *record[len(MLVC) + 1 :]],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    run_id = json.loads(recorded.stdout)["id"]
    for engine in ("none", "bubblewrap", *(["docker"] if image else [])):
        argv = [*MLVC, "repro", run_id, "--engine", engine, "--json"]
        done = subprocess.run(argv, cwd=folder, check=False, capture_output=True, text=True)
        if done.returncode:
            told = (done.stdout + done.stderr).strip()[:500]
            print(f"repro --engine {engine} is left out: {told}", file=sys.stderr)
        else:
            commands[f"`mlvc repro --engine {engine}`"] = Command(argv, folder, "bare", repro_took)
    commands["`python -c pass`"] = Command([python, "-c", "pass"], folder, "")
    commands["`mlvc run -- python -c pass`"] = Command(
        [*MLVC, "run", "--", python, "-c", "pass"], folder, "`python -c pass`", run_took(folder)
    )
    return commands


def traced(parent: Path, python: str) -> dict[str, Command]:
    """Returns commands that are no Python: bare, and recorded with each who may watch them."""
    works = {
        "a pipeline and a training": (
            ["sh", "work.sh"],
            {"work.sh": PIPELINE + f"exec {python} train.py\n", "train.py": TRAIN.format(rounds=6)},
        )
    }
    if shutil.which("cc"):
        names = " ".join(f"unit_{number}.c" for number in range(UNITS))
        files = {f"unit_{number}.c": UNIT.format(number=number) for number in range(UNITS)}
        lines = f"for name in {names}; do cc -O2 -c $name; done\n"
        works[f"compiling {UNITS} files"] = (
            ["sh", "work.sh"],
            {"work.sh": lines, **files},
        )
    commands: dict[str, Command] = {}
    for name, (argv, files) in works.items():
        for tracer in ("audit-hook", "seccomp", "strace"):
            folder = make_project(
                parent / f"{name} {tracer}".replace(" ", "-"), files, f'\n[run]\ntracer = "{tracer}"\n'
            )
            commands.setdefault(f"{name}, bare", Command(argv, folder, ""))
            told = f"{name}, {tracer}"
            commands[told] = Command([*MLVC, "run", "--", *argv], folder, f"{name}, bare", run_took(folder))
    return commands


def report(commands: dict[str, Command], taken: dict[str, list[Sample]]) -> None:
    print("| command | wall, s | over bare | of which inside | processor, s | over bare |")
    print("|---|---|---|---|---|---|")
    for name, samples in taken.items():
        wall = statistics.median(sample.wall for sample in samples)
        cpu = statistics.median(sample.cpu for sample in samples)
        pairs = list(zip(samples, taken.get(commands[name].bare, samples), strict=True))
        more_wall = statistics.median(one.wall - bare.wall for one, bare in pairs)
        more_cpu = statistics.median(one.cpu - bare.cpu for one, bare in pairs)
        inside = [one.inside - bare.wall for one, bare in pairs if one.inside is not None]
        told = f"{statistics.median(inside):+.2f}" if inside else ""
        if not commands[name].bare:
            print(f"| {name} | {wall:.2f} | | | {cpu:.2f} | |")
        else:
            print(f"| {name} | {wall:.2f} | {more_wall:+.2f} | {told} | {cpu:.2f} | {more_cpu:+.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("python")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--image")
    options = parser.parse_args()
    # Without byte code on disk every start would compile mlvc again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Of a shell script, the environment that is active would be captured.
    os.environ.pop("VIRTUAL_ENV", None)
    python = os.path.abspath(options.python)
    with tempfile.TemporaryDirectory() as temporary:
        commands = {**trainings(Path(temporary), python, options.image), **traced(Path(temporary), python)}
        taken: dict[str, list[Sample]] = {name: [] for name in commands}
        # Control-C ends it with what there is.
        with contextlib.suppress(KeyboardInterrupt):
            for turn in range(options.turns + 1):
                samples = {name: measure(command) for name, command in commands.items()}
                for name, sample in samples.items() if turn else ():
                    taken[name].append(sample)
    report(commands, taken)


if __name__ == "__main__":
    main()
