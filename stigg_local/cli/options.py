"""What several commands share: their options, the directory they open and the clock they run on."""

import os
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import click

from stigg_local.cli.output import Output
from stigg_local.client import Stigg
from stigg_local.clock import Clock
from stigg_local.core.nearest import nearest
from stigg_local.errors import InvalidInput
from stigg_local.store.environment import stored_environment

F = TypeVar("F", bound=Callable[..., Any])

CLOCK_VARIABLE = "STIGG_LOCAL_CLOCK"
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_NUMBER_LENGTH_MAX = 100

pass_output = click.make_pass_decorator(Output)


class Commands(click.Group):
    """A group that names the nearest command for one that it does not have."""

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
    """`--json`: `main` reads it before anything is parsed, so that wrong usage is answered in JSON too."""
    return click.option(
        "--json", "as_json", is_flag=True, expose_value=False, help="Print one JSON object, for errors too."
    )(command)


def data_dir_option(command: F) -> F:
    """`--data-dir`, or its environment variable."""
    return click.option(
        "--data-dir",
        envvar="STIGG_LOCAL_DATA_DIR",
        show_envvar=True,
        metavar="DIR",
        help="Where the state lives.",
    )(command)


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


def number(text: str, name: str) -> int | Decimal:
    """A number as it is written, exactly.

    Raises:
        InvalidInput: Something else.
    """
    if len(text) > _NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(text):
        raise InvalidInput(f"{name} is `{text[:60]}`, not a number", hint="for example 5 or 0.25")
    value = Decimal(text)
    return int(value) if not value or (value.adjusted() < 30 and value == value.to_integral_value()) else value
