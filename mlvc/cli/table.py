"""Every command with the module that holds it and its summary: `mlvc --help` is written from here alone.

Knows no command's code: a module is imported when its command is called, so `mlvc status` pays for `status` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["COMMANDS", "Entry"]


class Entry(NamedTuple):
    """Where a command is.

    Attributes:
        module: Holds the command as its attribute `command`.
        summary: The first line of the command's help, word for word (a test compares them).
    """

    module: str
    summary: str


_PACKAGE = "mlvc.cli.commands"

COMMANDS: Mapping[str, Entry] = {
    "init": Entry(f"{_PACKAGE}.init", "Starts tracking data in a git repository."),
    "clone": Entry(f"{_PACKAGE}.clone", "Clones a git repository, with the records of its data."),
    "add": Entry(f"{_PACKAGE}.add", "Stores files or directories, and tracks them."),
    "rm": Entry(f"{_PACKAGE}.rm", "Stops tracking paths, and removes their files."),
    "status": Entry(f"{_PACKAGE}.status", "Shows what changed: data, lock and environment."),
    "commit": Entry(f"{_PACKAGE}.commit", "Commits the lock and the staged code, as one step."),
    "checkout": Entry(f"{_PACKAGE}.checkout", "Makes the files match the lock, or a revision."),
    "log": Entry(f"{_PACKAGE}.log", "Shows the history of commits, with their code."),
    "show": Entry(f"{_PACKAGE}.show", "Shows one commit, run, environment or verdict."),
    "diff": Entry(f"{_PACKAGE}.diff", "Names the data files that differ."),
    "ls": Entry(f"{_PACKAGE}.ls", "Lists tracked files of any revision."),
    "cat": Entry(f"{_PACKAGE}.cat", "Writes a tracked file of any revision to stdout."),
    "env": Entry(f"{_PACKAGE}.env", "Captures, shows, compares and rebuilds the environment."),
    "run": Entry(f"{_PACKAGE}.run", "Runs a command and records everything it depended on."),
    "runs": Entry(f"{_PACKAGE}.runs", "Lists the recorded runs."),
    "repro": Entry(f"{_PACKAGE}.repro", "Runs a record again in isolation, and compares the outputs."),
    "lineage": Entry(f"{_PACKAGE}.lineage", "Shows what something was made from, and what was made from it."),
    "impact": Entry(f"{_PACKAGE}.impact", "Names everything that a file, dataset or package reached."),
    "compare": Entry(f"{_PACKAGE}.compare", "Shows what differs between runs."),
    "blame": Entry(f"{_PACKAGE}.blame", "Tells which commit and run each tracked path comes from."),
    "tag": Entry(f"{_PACKAGE}.tag", "Names a version of a model or dataset, or moves an alias."),
    "models": Entry(f"{_PACKAGE}.models", "Lists named models and datasets."),
    "remote": Entry(f"{_PACKAGE}.remote", "Adds, lists and removes remotes."),
    "push": Entry(f"{_PACKAGE}.push", "Sends what the remote lacks."),
    "fetch": Entry(f"{_PACKAGE}.fetch", "Brings the records of a remote, and no data yet."),
    "pull": Entry(f"{_PACKAGE}.pull", "Brings the data that the lock needs, and writes the files."),
    "verify": Entry(f"{_PACKAGE}.verify", "Tells whether everything that a revision needs exists."),
    "ci": Entry(
        f"{_PACKAGE}.ci",
        "Checks a revision as a pipeline does: lock, remote, records, environment, then its runs.",
    ),
    "doctor": Entry(f"{_PACKAGE}.doctor", "Names what would make the next run hard to repeat."),
    "hooks": Entry(f"{_PACKAGE}.hooks", "Guards git: data, lock and commits stay together."),
    "fsck": Entry(f"{_PACKAGE}.fsck", "Reads everything that is stored, and names what is damaged."),
    "undo": Entry(f"{_PACKAGE}.undo", "Takes back the last add, rm or checkout; again, the one before it."),
    "gc": Entry(f"{_PACKAGE}.gc", "Deletes what nothing has needed for the keep period."),
    "trust": Entry(f"{_PACKAGE}.trust", "Lets settings of mlvc.toml take effect that came with a branch."),
    "index": Entry(f"{_PACKAGE}.index", "Rebuilds or describes the metadata index."),
}
