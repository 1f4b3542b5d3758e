"""The tools that the benchmarks compare: for each a table of the commands of each step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CP", "MLVC", "TOOLS", "Place", "Tool", "find_tools"]

Commands = Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Tool:
    """How one tool does each step.

    In every word of a command, `{tool}` is the program, `{store}` a folder beside the work tree, and `{version}`
    the name of a version. A command that begins with `{tool}` begins with all words that start the program.
    The work tree is the current directory, and the data is in `data` below it.
    """

    name: str
    store: str
    """The folder, seen from the place, whose files are the bytes stored."""
    prepare: Commands = ()
    steps: Mapping[str, Commands] = field(default_factory=dict)
    program: str = ""
    shares_files: bool = False
    """Whether adding makes the files of the work tree its own, so that nobody else may use them."""
    restored: str = "work/data"


@dataclass(frozen=True)
class Place:
    """A folder in which one tool has its work tree, its store and its home."""

    root: Path
    tool: Tool
    program: tuple[str, ...]

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def store(self) -> Path:
        return self.root / self.tool.store

    @property
    def restored(self) -> Path:
        return self.root / self.tool.restored

    def commands(self, step: str, version: str = "") -> list[list[str]] | None:
        """Returns the commands of a step, or None if this tool has no such step."""
        wanted = self.tool.prepare if step == "prepare" else self.tool.steps.get(step)
        return None if wanted is None else [self._fill(command, version) for command in wanted]

    def _fill(self, command: Sequence[str], version: str) -> list[str]:
        words: list[str] = []
        for word in command:
            if word == "{tool}":
                words += self.program
            else:
                words.append(word.replace("{store}", str(self.root / "store")).replace("{version}", version))
        return words

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Returns the environment of this tool's commands: its own home, and its program first on the PATH."""
        home = self.root / "home"
        changes = {
            "HOME": str(home),
            "PATH": f"{Path(self.program[0]).parent}:{base['PATH']}",
            "BORG_BASE_DIR": str(home),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
            "RESTIC_PASSWORD": "benchmark",
        }
        # Without byte code on disk every start of a Python program would compile it again.
        dropped = ("GIT_", "MLVC_", "XDG_", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
        return {name: value for name, value in base.items() if not name.startswith(dropped)} | changes


_GIT_PREPARE = (
    ("git", "init", "--quiet", "--initial-branch=main"),
    ("git", "config", "user.name", "Benchmark"),
    ("git", "config", "user.email", "benchmark@example.org"),
    # What git does in the background would be another tool's cost.
    ("git", "config", "gc.auto", "0"),
    ("git", "config", "maintenance.auto", "false"),
)
_GIT_COMMIT = (("git", "commit", "--quiet", "-m", "{version}"), ("git", "tag", "{version}"))
_GIT_STEPS: dict[str, Commands] = {
    "add": (("git", "add", "data"),),
    "again": (("git", "add", "data"),),
    "status": (("git", "status"),),
    "commit": _GIT_COMMIT,
    "restore": (("git", "checkout", "--quiet", "--", "data"),),
    "switch": (("git", "checkout", "--quiet", "{version}"),),
}
_DVC_PREPARE = (*_GIT_PREPARE, ("{tool}", "init", "--quiet"))
_DVC_STEPS: dict[str, Commands] = {
    "add": (("{tool}", "add", "--quiet", "data"),),
    "again": (("{tool}", "add", "--quiet", "data"),),
    "status": (("{tool}", "status"),),
    "commit": (("git", "add", "."), *_GIT_COMMIT),
    "restore": (("{tool}", "checkout", "--quiet", "--force", "data.dvc"),),
    "switch": (("git", "checkout", "--quiet", "{version}"), ("{tool}", "checkout", "--quiet", "--force")),
}

MLVC = Tool(
    "mlvc",
    "work/.git/mlvc",
    (*_GIT_PREPARE, ("{tool}", "-q", "init")),
    {
        "add": (("{tool}", "-q", "add", "data"),),
        "again": (("{tool}", "-q", "add", "data"),),
        "status": (("{tool}", "status"),),
        "commit": (("{tool}", "-q", "commit", "-m", "{version}"), ("git", "tag", "{version}")),
        "restore": (("{tool}", "-q", "checkout"),),
        "switch": (("{tool}", "-q", "checkout", "{version}"),),
        "push": (
            ("{tool}", "-q", "remote", "add", "copy", "file://{store}"),
            ("{tool}", "-q", "push", "--remote", "copy"),
        ),
        # It reads every setting, and does nothing.
        "settings": (("{tool}", "-q", "remote", "list"),),
    },
)

CP = Tool(
    "cp",
    "store",
    (),
    {
        # mlvc returns once every byte is durable; so does this.
        "add": (("{tool}", "-r", "data", "{store}"), ("sync", "-f", "{store}")),
        "restore": (("{tool}", "-r", "{store}", "data"),),
    },
)

TOOLS = (
    MLVC,
    CP,
    Tool("git", "work/.git", _GIT_PREPARE, _GIT_STEPS),
    Tool(
        "git-lfs",
        "work/.git",
        (*_GIT_PREPARE, ("git", "lfs", "install", "--local"), ("git", "lfs", "track", "data/**")),
        _GIT_STEPS | {"commit": (("git", "add", ".gitattributes"), *_GIT_COMMIT)},
    ),
    Tool("dvc", "work/.dvc/cache", _DVC_PREPARE, _DVC_STEPS),
    Tool(
        "dvc-hardlink",
        "work/.dvc/cache",
        (*_DVC_PREPARE, ("{tool}", "config", "cache.type", "hardlink")),
        _DVC_STEPS,
        program="dvc",
        shares_files=True,
    ),
    Tool(
        "restic",
        "store",
        (("{tool}", "init", "-q", "-r", "{store}"),),
        {
            "add": (("{tool}", "backup", "-q", "-r", "{store}", "data"),),
            "again": (("{tool}", "backup", "-q", "-r", "{store}", "data"),),
            "status": (("{tool}", "backup", "-q", "--dry-run", "-r", "{store}", "data"),),
            "restore": (("{tool}", "restore", "-q", "-r", "{store}", "--target", "../restored", "latest"),),
        },
        restored="restored",
    ),
    Tool(
        "borg",
        "store",
        (("{tool}", "init", "--encryption=none", "{store}"),),
        {
            "add": (("{tool}", "create", "{store}::{version}", "data"),),
            "again": (("{tool}", "create", "{store}::{version}", "data"),),
            "restore": (("{tool}", "extract", "{store}::{version}"),),
        },
    ),
    Tool(
        "oxen",
        "work/.oxen",
        (("{tool}", "init"), ("{tool}", "config", "--name", "Benchmark", "--email", "benchmark@example.org")),
        {
            "add": (("{tool}", "add", "data"),),
            "again": (("{tool}", "add", "data"),),
            "status": (("{tool}", "status"),),
            "commit": (("{tool}", "commit", "-m", "{version}"), ("{tool}", "branch", "{version}")),
            "restore": (("{tool}", "restore", "data"),),
            "switch": (("{tool}", "checkout", "{version}"),),
        },
    ),
)


def find_tools(names: Sequence[str], paths: Mapping[str, str]) -> dict[Tool, tuple[str, ...]]:
    """Returns the tools that are here, each with the words that start it: those of `paths`, else the PATH's."""
    found: dict[Tool, tuple[str, ...]] = {}
    for tool in TOOLS:
        if tool.name not in names:
            continue
        program = tool.program or tool.name
        path = paths.get(tool.name) or paths.get(program) or shutil.which(program)
        if tool is MLVC and tool.name not in paths:
            found[tool] = (sys.executable, "-m", "mlvc")
        elif path:
            found[tool] = (str(Path(path).absolute()),)
    return found
