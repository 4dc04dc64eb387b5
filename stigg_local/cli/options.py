"""What several commands share: their options, the directory they open, the client on it and the clock they run on."""

import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from stigg_local.cli.manual import finish
from stigg_local.cli.output import Output
from stigg_local.cli.values import DATA_DIR_BEFORE, DATA_DIR_VARIABLE, files
from stigg_local.client import Stigg
from stigg_local.clock import Clock
from stigg_local.core.nearest import nearest
from stigg_local.errors import InvalidInput
from stigg_local.store.environment import stored_environment

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

CLOCK_VARIABLE = "STIGG_LOCAL_CLOCK"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_NUMBER_LENGTH_MAX = 100

pass_output = click.make_pass_decorator(Output)


class Commands(click.Group):
    """A group that names the nearest command for one that it does not have, and sees to the help of those it has."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command in."""
        finish(cmd)
        super().add_command(cmd, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            near = nearest(name, self.commands)
            known = ", ".join(self.commands)
            raise InvalidInput(
                f"there is no command `{name[:60]}`", hint=f"did you mean `{near}`" if near else f"commands: {known}"
            )
        return super().resolve_command(ctx, args)


def json_option(command: F) -> F:
    """`--json` and `--plain`: `main` reads them before anything is parsed, so that wrong usage is answered so too."""
    plain = click.option(
        "--plain", is_flag=True, expose_value=False, help="Print without colour, boxes and progress bars."
    )
    as_json = click.option(
        "--json", "as_json", is_flag=True, expose_value=False, help="Print one JSON object, for errors too."
    )
    return as_json(plain(command))


def data_dir_option(command: F) -> F:
    """`--data-dir`: after the command, else before it, else the environment variable."""
    return click.option(
        "--data-dir",
        envvar=DATA_DIR_VARIABLE,
        show_envvar=True,
        metavar="DIR",
        callback=_nearest_data_dir,
        help="Where the state lives.",
    )(command)


def group_data_dir_option(group: F) -> F:
    """`--data-dir` before the command, for a group: kept for the command, which knows whether it has a use for it."""
    return click.option(
        "--data-dir",
        metavar="DIR",
        expose_value=False,
        is_eager=True,
        callback=_keep_data_dir,
        help="Where the state lives, for every command that asks; one after the command goes first.",
    )(group)


def file_names(context: click.Context, _: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Let the shell complete the name of a file, where the value is not called FILE."""
    return files(context, incomplete)


def no_data_dir_option(command: F) -> F:
    """`--data-dir` for a command that has no use for it: taken and left aside, so that a script may always add it."""
    return click.option("--data-dir", metavar="DIR", expose_value=False, hidden=True)(command)


def _keep_data_dir(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta[DATA_DIR_BEFORE] = value


def _nearest_data_dir(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    is_own = parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    before: str | None = ctx.meta.get(DATA_DIR_BEFORE)
    return value if is_own or before is None else before


def command_clock() -> Clock | None:
    """A clock that stands at the instant of the environment variable; None for the machine's."""
    instant = os.environ.get(CLOCK_VARIABLE)
    if not instant:
        return None
    from stigg_local.testing.clock import ManualClock

    try:
        return ManualClock(instant)
    except InvalidInput as error:
        raise InvalidInput(
            f"{CLOCK_VARIABLE} is `{instant[:60]}`, not an instant", hint="for example 2025-01-31T10:00:00Z"
        ) from error


def named_directory(data_dir: str | None) -> Path:
    """The directory that was named.

    Raises:
        InvalidInput: None was, or it is something else than a directory.
    """
    if not data_dir:
        raise InvalidInput("no data directory is named", hint="pass --data-dir DIR or set STIGG_LOCAL_DATA_DIR")
    path = Path(data_dir)
    try:
        if path.exists() and not path.is_dir():
            raise InvalidInput(f"`{path}` is not a directory", hint="name the directory, not a file in it")
    except OSError as error:
        raise InvalidInput(f"`{path}` cannot be looked at: {error.strerror}") from error
    return path


def holds_catalog(path: Path) -> bool:
    """Whether a directory has been used before; looking makes nothing."""
    return path.is_dir() and stored_environment(str(path)) is not None


def stored_directory(data_dir: str | None) -> Path:
    """A directory that a catalog was applied to; nothing is made where there is none.

    Raises:
        InvalidInput: It is missing or holds nothing.
    """
    path = named_directory(data_dir)
    if not path.is_dir():
        raise InvalidInput(f"`{path}` does not exist", hint=f"stigg-local catalog apply FILE --data-dir {path}")
    if not holds_catalog(path):
        raise InvalidInput(f"`{path}` holds no catalog", hint=f"stigg-local catalog apply FILE --data-dir {path}")
    return path


def open_stored(data_dir: str | None) -> Stigg:
    """A client on a directory that holds a catalog.

    Raises:
        InvalidInput: As `stored_directory`.
    """
    return Stigg(data_dir=stored_directory(data_dir), clock=command_clock())


def reader(data_dir: str | None, fallback_file: str | None, out: Output | None = None) -> Stigg:
    """A client for reading: of a stored catalog, or of fallback values alone where no directory is named.

    Args:
        data_dir: The directory.
        fallback_file: A fallback file, or none.
        out: Shows a bar while the directory is opened.

    Raises:
        InvalidInput: As `stored_directory`.
    """
    if not data_dir and fallback_file is not None:
        return Stigg(offline=True, fallback_file=fallback_file, clock=command_clock())
    path = stored_directory(data_dir)
    with nullcontext() if out is None else out.progress("opening"):
        return Stigg(data_dir=path, fallback_file=fallback_file, clock=command_clock())


def writer(data_dir: str | None, catalog: str | None, out: Output) -> Stigg:
    """A client for writing: of a stored catalog, or of a directory that a catalog file is applied to first."""
    path = stored_directory(data_dir) if catalog is None else named_directory(data_dir)
    with out.progress("opening"):
        return Stigg(catalog=None if catalog is None else Path(catalog), data_dir=path, clock=command_clock())


def number(text: str, name: str) -> int | Decimal:
    """A number as it is written, exactly.

    Raises:
        InvalidInput: Something else.
    """
    if len(text) > _NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(text):
        raise InvalidInput(f"{name} is `{text[:60]}`, not a number", hint="for example 5 or 0.25")
    value = Decimal(text)
    return int(value) if not value or (value.adjusted() < 30 and value == value.to_integral_value()) else value
