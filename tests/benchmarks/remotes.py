"""How long mlvc and its peers take to bring many files to an S3 server and back, side by side on one server.

python tests/benchmarks/remotes.py [--work NAME]... [--runs N] [--dvc PATH] [--restic PATH] [--rclone PATH]

Works: `some` (10,000 files, 115 MB), `many` (100,000 files, 1.1 GB), `large` (one file of 4 GB), `part` (one file of
10 KB out of 1 GB, by its path: how many bytes move). Without any, all of them; the disk must hold the largest six
times. Each work ends with a table of its own: wall time, CPU seconds of the tool and of what it started, peak memory.

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
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.support.proxy import serve_proxy  # the line above makes it importable from anywhere
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


class Work(NamedTuple):
    """What is moved."""

    files: int
    megabytes: int


WORKS = {"some": Work(10_000, 115), "many": Work(100_000, 1_100), "large": Work(1, 4_000)}
PART = Work(100_000, 1_000)
PIECE_BYTES = 16_000_000


def make_files(folder: Path, work: Work) -> None:
    """Writes the workload: sizes from a half to one and a half times the mean, in directories of a thousand."""
    seeded = random.Random(20130101)
    mean = work.megabytes * 1_000_000 // work.files
    for number in range(work.files):
        directory = folder / f"{number // 1000:04}"
        directory.mkdir(parents=True, exist_ok=True)
        left = mean if work.files == 1 else seeded.randint(mean // 2, mean * 3 // 2)
        with (directory / f"{number:06}.bin").open("wb") as file:
            while left:
                left -= file.write(seeded.randbytes(min(left, PIECE_BYTES)))


# A process inherits the peak memory of the one that starts it, so that one must be small.
STOPWATCH = """
import resource, subprocess, sys, time
begin = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)
sys.exit(status)
"""


class Measured(NamedTuple):
    """What a process cost, and those that it started."""

    wall_s: float
    cpu_s: float
    megabytes: float


def measure(command: list[str], cwd: Path, environment: Mapping[str, str]) -> Measured:
    """Runs a command and returns what it cost."""
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
    return Measured(*map(float, done.stdout.split()))


def take_turn(name: str, program: str, turn: Turn, data: Path) -> dict[str, Measured]:
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


def report(title: str, measured: Mapping[str, Mapping[str, list[Measured]]]) -> None:
    """Prints medians; beside each wall time how many times mlvc's it is, and the CPU seconds."""

    def median(name: str, step: str, field: str) -> float:
        return float(statistics.median(getattr(each, field) for each in measured[name][step]))

    print(f"\n{title}\n")
    print(f"| tool | {' | '.join(f'{step}, s (CPU s)' for step in STEPS)} | push, MB | fetch, MB |")
    print("|---|" + "---|" * (len(STEPS) + 2))
    for name in measured:
        cells = []
        for step in STEPS:
            seconds = median(name, step, "wall_s")
            ratio = f", {seconds / median('mlvc', step, 'wall_s'):.1f} x" if name != "mlvc" else ""
            cells.append(f"{seconds:.2f} ({median(name, step, 'cpu_s'):.2f}){ratio}")
        memory = [f"{median(name, step, 'megabytes'):.0f}" for step in ("push", "fetch")]
        print(f"| {name} | {' | '.join([*cells, *memory])} |", flush=True)


def compare(title: str, work: Work, runs: int, programs: Mapping[str, str], server: S3Server) -> None:
    """Lets the tools take turns with one work."""
    measured: dict[str, dict[str, list[Measured]]] = {name: defaultdict(list) for name in programs}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "home").mkdir()
        make_files(folder / "data", work)
        environment = environment_for(server, folder / "home")
        for number in range(runs):
            for name, program in programs.items():
                prefix = f"{name}-{number}"
                turn = Turn(folder / "turn", prefix, server, environment)
                for step, cost in take_turn(name, program, turn, folder / "data").items():
                    measured[name][step].append(cost)
                    print(f"{title}: {name} {step}: {cost.wall_s:.2f} s", file=sys.stderr)
                # What was sent would fill the disk.
                server.filesystem().rm(f"{BUCKET}/{prefix}", recursive=True)
    report(title, measured)


def measure_part(server: S3Server) -> None:
    """Prints how many bytes move when a fresh clone pulls one file of many."""
    command = [sys.executable, "-m", "mlvc"]
    with tempfile.TemporaryDirectory() as made, serve_proxy(server.endpoint) as proxy:
        folder = Path(made)
        (folder / "home").mkdir()
        environment = environment_for(server, folder / "home")
        turn = Turn(folder / "turn", "part", server, environment)
        turn.source.mkdir(parents=True)
        make_files(turn.source / "data", PART)
        commands = mlvc(turn, sys.executable)
        measure(commands.push, turn.source, environment)
        commands.between()
        turn.run(
            *command,
            "remote",
            "add",
            "far",
            f"s3://{BUCKET}/part",
            "--endpoint",
            proxy.endpoint,
            cwd=turn.target,
        )
        cost = measure([*command, "pull", "data/0042/042042.bin"], turn.target, environment)
        moved = (proxy.received + proxy.sent) / 1_000_000
        print(f"\none file of 10 KB out of {PART.megabytes} MB: {moved:.2f} MB moved, {cost.wall_s:.2f} s")
        server.filesystem().rm(f"{BUCKET}/part", recursive=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", action="append", choices=[*WORKS, "part"], help="all of them by default")
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
    for chosen in arguments.work or [*WORKS, "part"]:
        # Each work has a server of its own, which would keep what was deleted for a while.
        with tempfile.TemporaryDirectory() as made, serve_s3(Path(made)) as server:
            server.filesystem().mkdir(BUCKET)
            if chosen == "part":
                measure_part(server)
                continue
            work = WORKS[chosen]
            title = f"{work.files:,} files, {work.megabytes:,} MB"
            compare(title, work, arguments.runs, programs, server)


if __name__ == "__main__":
    main()
