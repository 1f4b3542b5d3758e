"""Writes docs/reference/commands.md from the commands themselves; a test keeps the file current.

python -m tests.support.reference > docs/reference/commands.md
"""

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from typer.core import TyperArgument, TyperGroup

from mlvc.cli.framework import LazyGroup
from mlvc.cli.main import SUMMARY
from mlvc.cli.session import Session
from mlvc.cli.table import COMMANDS

HEAD = """\
# Commands

Written by `python -m tests.support.reference` from the commands themselves; do not edit.
Exit statuses and error codes: [errors.md](errors.md).
What `--json` answers: [json.md](json.md).

Every command has these options, before or after its name:

"""
COMMON = {"-C", "--quiet", "--verbose", "--json", "--help"}


def walk(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Yields a command and all below it, each with its context."""
    yield command, context
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            child: Any = command.get_command(context, name)
            yield from walk(child, child.context_class(child, info_name=name, parent=context))


def all_commands() -> list[tuple[Any, Any]]:
    """Returns `mlvc` and every command below it; typer's own types of command and context do not fit each other."""
    group = LazyGroup("mlvc", SUMMARY, COMMANDS)
    return list(walk(group, group.context_class(group, info_name="mlvc", obj=Session())))


def rows(params: list[Any], context: Any) -> Iterator[str]:
    for param in params:
        if isinstance(param, TyperArgument):
            names, text = param.make_metavar(context), param.help or ""
        else:
            names, text = param.get_help_record(context)
        yield row(names, text)


def row(names: str, text: str) -> str:
    return f"| `{names.replace('|', chr(92) + '|')}` | {text.replace('|', chr(92) + '|')} |"


def section(command: Any, context: Any) -> Iterator[str]:
    path = context.command_path.split(" [")[0]
    yield f"\n## `{path}`\n"
    yield inspect.cleandoc(command.help or "")
    if isinstance(command, TyperGroup):
        return
    yield f"\nUsage: `{path} {' '.join(command.collect_usage_pieces(context))}`\n"
    own = [p for p in command.params if not COMMON & set(p.opts)]
    if own:
        yield "| argument or option | meaning |"
        yield "|---|---|"
        yield from rows(own, context)
        yield ""
    yield "```console"
    for line in command.epilog.splitlines()[2:]:
        yield f"$ {line.strip()}"
    yield "```"


def render() -> str:
    """Returns the whole page."""
    (group, top), *commands = all_commands()
    lines = ["| option | meaning |", "|---|---|"]
    lines += rows(group.get_params(top), top)
    for command, context in commands:
        lines += section(command, context)
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
