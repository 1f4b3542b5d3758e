"""Commands and groups on top of typer: common options everywhere, examples in every help, lazy imports.

Typer carries its own copy of click, so nothing here or elsewhere imports `click`.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

import mlvc
from mlvc.cli.session import session_of
from mlvc.cli.table import Entry
from mlvc.errors import UsageError
from mlvc.model.names import encode_name

if TYPE_CHECKING:
    from typer._click import Command as ClickCommand
    from typer._click import Context as ClickContext
    from typer._click import HelpFormatter

__all__ = ["Command", "Group", "LazyGroup", "after_dashes", "make_command"]

_PATHS_KEY = "mlvc.after_dashes"


def _flag(name: str) -> Callable[[typer.Context, TyperOption, bool], None]:
    def remember(context: typer.Context, _: TyperOption, value: bool) -> None:
        # An option that is absent after the command's name must not undo the one before it.
        if value:
            setattr(session_of(context), name, True)

    return remember


def _enter(_: typer.Context, __: TyperOption, directory: str | None) -> None:
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as exc:
        raise UsageError(
            f"cannot work in {encode_name(os.fsencode(directory))}: {exc.strerror}",
            hint="-C takes an existing directory",
        ) from exc


def _show_version(context: typer.Context, _: TyperOption, value: bool) -> None:
    if value:
        session = session_of(context)
        session.answer(lambda: {"version": mlvc.__version__}, [f"mlvc {mlvc.__version__}"])
        raise typer.Exit


def _common_options() -> list[TyperOption]:
    return [
        TyperOption(
            param_decls=["-C", "directory_"],
            type=str,
            metavar="DIR",
            expose_value=False,
            is_eager=True,
            callback=_enter,
            help="Work as if started in DIR.",
        ),
        TyperOption(
            param_decls=["-q", "--quiet"],
            is_flag=True,
            default=False,
            expose_value=False,
            is_eager=True,
            callback=_flag("quiet"),
            help="No notes and no progress.",
        ),
        TyperOption(
            param_decls=["-v", "--verbose"],
            is_flag=True,
            default=False,
            expose_value=False,
            is_eager=True,
            callback=_flag("verbose"),
            help="Tell more, such as the traceback of a bug.",
        ),
        TyperOption(
            param_decls=["--json"],
            is_flag=True,
            default=False,
            expose_value=False,
            is_eager=True,
            callback=_flag("json"),
            help="Write the result, or the error, as one JSON object.",
        ),
    ]


def _version_option() -> TyperOption:
    return TyperOption(
        param_decls=["--version"],
        is_flag=True,
        default=False,
        expose_value=False,
        callback=_show_version,
        help="Show the version and exit.",
    )


class Command(TyperCommand):
    """A command with the common options.

    Attributes:
        failure_status: The exit status of mlvc's own failure, from the first wrong option on.
    """

    failure_status = 2

    def __init__(self, name: str | None, *, params: Sequence[Any] = (), **settings: Any) -> None:  # noqa: ANN401
        super().__init__(name, params=[*params, *_common_options()], **settings)

    def parse_args(self, ctx: ClickContext, args: list[str]) -> list[str]:
        """Tells the session which status a failure has, then parses."""
        session = session_of(ctx)
        session.failure_status = self.failure_status
        rest = super().parse_args(ctx, args)
        session.is_parsed = True
        return rest

    def collect_usage_pieces(self, ctx: ClickContext) -> list[str]:
        """Drops the braces that typer puts around an argument that must be there."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class PathsCommand(Command):
    """A command that takes paths after `--`, which must not be mistaken for revisions before it."""

    def parse_args(self, ctx: ClickContext, args: list[str]) -> list[str]:
        """Keeps what follows `--` for `after_dashes`."""
        if "--" in args:
            position = args.index("--")
            ctx.meta[_PATHS_KEY] = args[position + 1 :]
            args = args[:position]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: ClickContext) -> list[str]:
        """Adds the paths to the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- PATH...]"]


def after_dashes(context: typer.Context) -> tuple[str, ...]:
    """Returns the arguments after `--` of a command that takes paths there."""
    return tuple(context.meta.get(_PATHS_KEY, ()))


def make_command(
    name: str,
    *examples: str,
    paths_after_dashes: bool = False,
    options_first: bool = False,
    failure_status: int = Command.failure_status,
) -> Callable[[Callable[..., None]], Command]:
    """Returns a decorator that makes a command of a function whose docstring is its help.

    Args:
        name: The command's name.
        examples: Command lines for the end of the help; at least one.
        paths_after_dashes: Whether `-- PATH...` may follow; the function asks `after_dashes` for it.
        options_first: Whether the first argument ends the options, so that another command's can follow.
        failure_status: The exit status of mlvc's own failure.
    """
    epilog = "\b\nExamples:\n" + "".join(f"  {example}\n" for example in examples)

    def make(function: Callable[..., None]) -> Command:
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(
            name,
            cls=PathsCommand if paths_after_dashes else Command,
            epilog=epilog,
            context_settings={"allow_interspersed_args": not options_first},
        )(function)
        made = cast("Command", get_command(app))
        made.failure_status = failure_status
        return made

    return make


class Group(TyperGroup):
    """Commands under one name, such as `mlvc env`, with the common options before and after the name."""

    def __init__(self, name: str, summary: str, commands: Sequence[ClickCommand] = ()) -> None:
        super().__init__(
            name=name,
            help=summary,
            params=_common_options(),
            commands={str(command.name): command for command in commands},
            rich_markup_mode=None,
        )

    def resolve_command(
        self, ctx: ClickContext, args: list[str]
    ) -> tuple[str | None, ClickCommand | None, list[str]]:
        """Refuses an unknown command with the nearest known one as the hint."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            path, near = ctx.command_path, difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean `{path} {near[0]}`?" if near else f"see `{path} --help`"
            raise UsageError(f"`{path}` has no command {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """The commands of a table; a command's module is imported when the command is called."""

    def __init__(self, name: str, summary: str, table: Mapping[str, Entry]) -> None:
        super().__init__(name, summary)
        self.params.append(_version_option())
        self._table = table

    def list_commands(self, ctx: ClickContext) -> list[str]:  # noqa: ARG002  # typer's signature
        """Returns the names in the table's order."""
        return list(self._table)

    def get_command(self, ctx: ClickContext, cmd_name: str) -> ClickCommand | None:  # noqa: ARG002
        """Imports the module of a command and returns the command; None for an unknown name."""
        entry = self._table.get(cmd_name)
        if entry is None:
            return None
        found: ClickCommand = importlib.import_module(entry.module).command
        return found

    def format_commands(self, ctx: ClickContext, formatter: HelpFormatter) -> None:  # noqa: ARG002
        """Writes the list of commands from the table, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self._table.items()])
