"""What `mlvc run` adds to a training of one second: start-up and record, watching, and strace where it is asked for.

python tests/benchmarks/overhead.py PYTHON [RUNS]

PYTHON is an interpreter with scikit-learn and joblib. Not part of the test run: it asserts nothing. The commands are
run in turn, so that a machine that slows down slows all of them; medians of wall and processor time are printed. The
first run of each, which captures the environment and computes the fingerprint, does not count.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
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


def measure(command: list[str], folder: Path) -> tuple[float, float]:
    """Returns wall and processor seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepare(folder: Path, python: str) -> None:
    (folder / "train.py").write_text(TRAIN.format(rounds=3))
    for command in (
        [*MLVC, "init", "--git"],
        ["git", "config", "user.name", "Benchmark"],
        ["git", "config", "user.email", "benchmark@example.org"],
        ["git", "add", "train.py"],
        ["git", "commit", "--quiet", "-m", "code"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    # As many rounds as fill a second here.
    seconds = statistics.median(measure([python, "train.py"], folder)[0] for _ in range(3))
    rounds = max(3, round(3 * 1.0 / seconds))
    (folder / "train.py").write_text(TRAIN.format(rounds=rounds))


def main() -> None:
    python = sys.argv[1]
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    # Without byte code on disk every start would compile mlvc again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    train = [python, "train.py"]
    commands = {
        "bare": train,
        "mlvc run": [*MLVC, "run", "-o", "model.joblib", "--", *train],
        "mlvc run -- sh -c (strace)": [*MLVC, "run", "-o", "model.joblib", "--", "sh", "-c", " ".join(train)],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, python)
        for command in commands.values():
            measure(command, folder)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                taken[name].append(measure(command, folder))
    medians = {
        name: [statistics.median(times) for times in zip(*pairs, strict=True)]
        for name, pairs in taken.items()
    }
    bare_wall, bare_cpu = medians["bare"]
    print("| command | wall, s | over bare | processor, s | over bare |")
    print("|---|---|---|---|---|")
    for name, (wall, cpu) in medians.items():
        print(f"| {name} | {wall:.2f} | {wall - bare_wall:+.2f} | {cpu:.2f} | {cpu - bare_cpu:+.2f} |")


if __name__ == "__main__":
    main()
