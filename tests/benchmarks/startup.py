"""How long `mlvc --help` and `mlvc status` take, beside an interpreter that does nothing.

python tests/benchmarks/startup.py [RUNS]

Not part of the test run: it asserts nothing. The commands are run in turn, so that a machine that slows down slows
all of them; medians of whole processes are printed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MLVC = [sys.executable, "-m", "mlvc"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mlvc --help": [*MLVC, "--help"],
    "mlvc status": [*MLVC, "status"],
}


def prepare(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "a.csv").write_text("1,2\n")
    for command in (
        [*MLVC, "init", "--git"],
        ["git", "config", "user.name", "Benchmark"],
        ["git", "config", "user.email", "benchmark@example.org"],
        [*MLVC, "add", "data"],
        [*MLVC, "commit", "-m", "data"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    # Without byte code on disk every start would compile mlvc again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for turn in range(runs + 1):
            for name, command in COMMANDS.items():
                begin = time.perf_counter()
                subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
                if turn:  # The first one warms up.
                    seconds[name].append(time.perf_counter() - begin)
    bare = statistics.median(seconds["python -c pass"])
    allowed = 4 * bare + 0.1
    print("| command | median, ms | of 4 x `python -c pass` + 100 ms |\n|---|---|---|")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"| `{name}` | {median * 1000:.0f} | {median / allowed:.0%} |")


if __name__ == "__main__":
    main()
