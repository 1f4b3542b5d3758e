"""How long mlvc and its peers take to bring many files to an S3 server and back, side by side on one server.

python tests/benchmarks/remotes.py [--files N] [--megabytes N] [--runs N] [--dvc PATH] [--restic PATH] [--rclone PATH]

Not part of the test run: it asserts nothing. The server is SeaweedFS on this machine, so what is measured is the work
and the number of requests, not a network. The tools take turns, so that a machine that slows down slows all of them,
and every turn begins with an empty place on the server; medians of whole processes are printed. The files are random
bytes from a fixed seed. mlvc and DVC have hashed them before the clock starts (`add`) and fetch them into a store;
restic, which has no such step, hashes in `backup`, and restic and rclone write the files as they fetch them.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.support.s3 import S3Server, serve_s3  # the line above makes it importable from anywhere

BUCKET = "benchmark"
STEPS = ("push", "push again", "fetch", "fetch again")


@dataclass(frozen=True)
class Turn:
    """A place of a tool's own for one turn: a directory with the files in `source/data`, and a name on the server."""

    folder: Path
    prefix: str
    server: S3Server
    environment: Mapping[str, str]

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def target(self) -> Path:
        return self.folder / "target"

    def run(self, *command: str, cwd: Path | None = None) -> None:
        """Runs what is not measured."""
        subprocess.run(command, cwd=cwd or self.source, env=self.environment, check=True, capture_output=True)

    def git(self) -> None:
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "Benchmark")
        self.run("git", "config", "user.email", "benchmark@example.org")

    def clone(self) -> None:
        self.run("git", "clone", "--quiet", str(self.source), str(self.target))


@dataclass(frozen=True)
class Commands:
    """What is measured, after `prepare` of the source; `between` makes the place to fetch into."""

    push: list[str]
    fetch: list[str]
    between: Callable[[], None]


def mlvc(turn: Turn, program: str) -> Commands:
    command = [sys.executable, "-m", "mlvc"]
    remote = [*command, "remote", "add", "far", f"s3://{BUCKET}/{turn.prefix}"]
    turn.git()
    for arguments in (["init"], ["add", "data"], ["commit", "-m", "data"]):
        turn.run(*command, *arguments)
    turn.run(*remote)

    def between() -> None:
        turn.clone()
        turn.run(*remote, cwd=turn.target)

    return Commands([*command, "push"], [*command, "fetch", "--data"], between)


def dvc(turn: Turn, program: str) -> Commands:
    turn.git()
    for arguments in (
        ["init", "--quiet"],
        ["config", "core.analytics", "false"],
        ["config", "core.check_update", "false"],
        ["remote", "add", "--default", "far", f"s3://{BUCKET}/{turn.prefix}"],
        ["remote", "modify", "far", "endpointurl", turn.server.endpoint],
        ["add", "--quiet", "data"],
    ):
        turn.run(program, *arguments)
    turn.run("git", "add", "-A")
    turn.run("git", "commit", "--quiet", "-m", "data")
    return Commands([program, "push"], [program, "fetch"], turn.clone)


def restic(turn: Turn, program: str) -> Commands:
    repository = ["--repo", f"s3:{turn.server.endpoint}/{BUCKET}/{turn.prefix}", "--no-cache"]
    turn.run(program, "init", *repository)
    return Commands(
        [program, *repository, "backup", "data"],
        [program, *repository, "restore", "latest", "--target", "."],
        turn.target.mkdir,
    )


def rclone(turn: Turn, program: str) -> Commands:
    place = f":s3,provider=Other,env_auth,endpoint='{turn.server.endpoint}':{BUCKET}/{turn.prefix}"
    return Commands(
        [program, "copy", "data", place, "--config", os.devnull],
        [program, "copy", place, "data", "--config", os.devnull],
        turn.target.mkdir,
    )


TOOLS = {"mlvc": mlvc, "dvc": dvc, "restic": restic, "rclone": rclone}


def make_files(folder: Path, files: int, megabytes: int) -> None:
    """Writes the workload: sizes from a half to one and a half times the mean, in directories of a thousand."""
    seeded = random.Random(20130101)
    mean = megabytes * 1_000_000 // files
    for number in range(files):
        directory = folder / f"{number // 1000:04}"
        directory.mkdir(parents=True, exist_ok=True)
        size = seeded.randint(mean // 2, mean * 3 // 2)
        (directory / f"{number:06}.bin").write_bytes(seeded.randbytes(size))


# A process inherits the peak memory of the one that starts it, so that one must be small.
STOPWATCH = """
import resource, subprocess, sys, time
begin = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)
sys.exit(status)
"""


def measure(command: list[str], cwd: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """Returns the seconds and the peak megabytes of a process and of those that it started."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STOPWATCH, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def take_turn(name: str, program: str, turn: Turn, data: Path) -> dict[str, tuple[float, float]]:
    turn.source.mkdir(parents=True)
    shutil.copytree(data, turn.source / "data")
    commands = TOOLS[name](turn, program)
    measured = {step: measure(commands.push, turn.source, turn.environment) for step in STEPS[:2]}
    commands.between()
    measured |= {step: measure(commands.fetch, turn.target, turn.environment) for step in STEPS[2:]}
    shutil.rmtree(turn.folder)
    return measured


def environment_for(server: S3Server, home: Path) -> dict[str, str]:
    # Without byte code on disk every start would compile mlvc again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "RESTIC_PASSWORD": "benchmark",
    }
    for name, value in {"AWS_CA_BUNDLE": None, **server.environment}.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    return environment


def report(measured: Mapping[str, Mapping[str, list[tuple[float, float]]]]) -> None:
    def median(name: str, step: str, which: int) -> float:
        return statistics.median(pair[which] for pair in measured[name][step])

    print(f"| tool | {' | '.join(f'{step}, s' for step in STEPS)} | push, MB | fetch, MB |")
    print("|---|" + "---|" * (len(STEPS) + 2))
    for name in measured:
        cells = []
        for step in STEPS:
            seconds = median(name, step, 0)
            ratio = f" ({seconds / median('mlvc', step, 0):.1f} x)" if name != "mlvc" else ""
            cells.append(f"{seconds:.2f}{ratio}")
        memory = [f"{median(name, step, 1):.0f}" for step in ("push", "fetch")]
        print(f"| {name} | {' | '.join([*cells, *memory])} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=115)
    parser.add_argument("--runs", type=int, default=3)
    for name in TOOLS:
        if name != "mlvc":
            parser.add_argument(
                f"--{name}", metavar="PATH", help="its program; by default the one on the PATH"
            )
    arguments = parser.parse_args()
    programs = {"mlvc": sys.executable}
    for name in TOOLS:
        found = name == "mlvc" or getattr(arguments, name) or shutil.which(name)
        if found and name != "mlvc":
            programs[name] = str(Path(str(found)).absolute())
    measured: dict[str, dict[str, list[tuple[float, float]]]] = {name: defaultdict(list) for name in programs}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "server").mkdir()
        (folder / "home").mkdir()
        make_files(folder / "data", arguments.files, arguments.megabytes)
        with serve_s3(folder / "server") as server:
            server.filesystem().mkdir(BUCKET)
            environment = environment_for(server, folder / "home")
            for number in range(arguments.runs):
                for name, program in programs.items():
                    turn = Turn(folder / "turn", f"{name}-{number}", server, environment)
                    for step, pair in take_turn(name, program, turn, folder / "data").items():
                        measured[name][step].append(pair)
                        print(f"{name} {step}: {pair[0]:.2f} s, {pair[1]:.0f} MB", file=sys.stderr)
    report(measured)


if __name__ == "__main__":
    main()
