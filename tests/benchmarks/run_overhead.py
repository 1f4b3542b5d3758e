"""What `mlvc run` and `mlvc repro` add to a training of one second, paired and in turns.

python tests/benchmarks/run_overhead.py PYTHON [TURNS]

PYTHON is an interpreter with scikit-learn and joblib. Not part of the test run: it asserts nothing. In each turn every
command runs once, so that a machine that slows down slows all of them, and each is compared with the bare command of
its own turn; what is printed are the medians of wall and processor time, and of what the pairs differ by. The first
turn, which captures and rebuilds the environment, computes the fingerprint and writes the byte code, does not count.
"""

import json
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
    # As many rounds as fill a second here; the first start writes the byte code of the libraries.
    seconds = statistics.median([measure([python, "train.py"], folder)[0] for _ in range(4)][1:])
    rounds = max(3, round(3 * 1.0 / seconds))
    (folder / "train.py").write_text(TRAIN.format(rounds=rounds))


def engines(folder: Path, run_id: str) -> list[str]:
    """Returns the engines that reproduce something here."""
    found = []
    for engine in ("none", "bubblewrap", "docker"):
        command = [*MLVC, "repro", run_id, "--engine", engine]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            found.append(engine)
        else:
            print(
                f"repro --engine {engine} is left out: {(done.stdout + done.stderr).strip()[:500]}",
                file=sys.stderr,
            )
    return found


def main() -> None:
    python = os.path.abspath(sys.argv[1])
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    # Without byte code on disk every start would compile mlvc again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    train = [python, "train.py"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, python)
        run = [*MLVC, "run", "-o", "model.joblib", "--", *train]
        commands = {"bare": train, "mlvc run": run}
        recorded = subprocess.run(
            [*MLVC, "run", "--json", *run[len(MLVC) + 1 :]], cwd=folder, check=True, capture_output=True
        )
        run_id = json.loads(recorded.stdout)["id"]
        for engine in engines(folder, run_id):
            commands[f"mlvc repro --engine {engine}"] = [*MLVC, "repro", run_id, "--engine", engine]
        commands["python -c pass"] = [python, "-c", "pass"]
        commands["mlvc run -- python -c pass"] = [*MLVC, "run", "--", python, "-c", "pass"]
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(turns + 1):
            for name, command in commands.items():
                sample = measure(command, folder)
                if turn:
                    taken[name].append(sample)
    print("| command | wall, s | over bare | processor, s | over bare |")
    print("|---|---|---|---|---|")
    for name, samples in taken.items():
        bare = taken["python -c pass" if name.endswith("pass") else "bare"]
        over = [(wall - other[0], cpu - other[1]) for (wall, cpu), other in zip(samples, bare, strict=True)]
        wall, cpu = (statistics.median(values) for values in zip(*samples, strict=True))
        more_wall, more_cpu = (statistics.median(values) for values in zip(*over, strict=True))
        print(f"| {name} | {wall:.2f} | {more_wall:+.2f} | {cpu:.2f} | {more_cpu:+.2f} |")


if __name__ == "__main__":
    main()
