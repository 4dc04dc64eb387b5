"""`stigg-local`: the commands, and what becomes of everything that can go wrong in one.

Law: a user's mistake and a refused rule are one line with a way out, never a traceback.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence

import click

import stigg_local
from stigg_local.cli.access import check, clock, report, status
from stigg_local.cli.bench import bench
from stigg_local.cli.catalog import catalog
from stigg_local.cli.completion import NAME, VARIABLE, complete, completion
from stigg_local.cli.consume import consume, release, reservations, reserve, settle
from stigg_local.cli.customer import customer
from stigg_local.cli.db import db
from stigg_local.cli.doctor import doctor
from stigg_local.cli.events import events
from stigg_local.cli.explain import explain
from stigg_local.cli.hints import in_shell_words
from stigg_local.cli.manual import EXIT_CODES, exits
from stigg_local.cli.options import Commands, group_data_dir_option, json_option, no_data_dir_option, pass_output
from stigg_local.cli.output import Output, clean
from stigg_local.cli.paywall import coupons, paywall, products
from stigg_local.cli.promotion import promotion
from stigg_local.cli.subscription import subscription
from stigg_local.cli.usage import usage
from stigg_local.errors import InvalidInput, StiggError, exit_code

TRACEBACK_VARIABLE = "STIGG_LOCAL_TRACEBACK"

# What every log record has; the rest is what the library told of the matter.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message"}

INTERNAL = 1
USAGE = 2
HELP_WIDTH_MAX = 110


_EPILOG = f"""\b
Examples:
  stigg-local demo
  stigg-local catalog apply catalog.toml --data-dir var/stigg
  stigg-local check customer-acme feature-api-calls --requested 10 --data-dir var/stigg

\b
{exits(EXIT_CODES)}

\b
Environment:
  STIGG_LOCAL_DATA_DIR=<directory>  stands for --data-dir
  STIGG_LOCAL_CLOCK=<ISO instant>   runs a command with the clock standing at that instant, for tests
  STIGG_LOCAL_TRACEBACK=1           shows where an internal error came from
  NO_COLOR=1                        prints without colour
"""


@click.group(
    cls=Commands, context_settings={"show_default": True, "max_content_width": HELP_WIDTH_MAX}, epilog=_EPILOG
)
@click.version_option(stigg_local.__version__, prog_name=NAME)
@group_data_dir_option
@json_option
def commands() -> None:
    """Entitlements on this machine: what a customer may do, from a catalog file and a data directory.

    `stigg-local COMMAND --help` is the page of a command. --data-dir, --json and --plain stand before a command or
    behind it.
    """


@commands.command(short_help="The tour of the engine.")
@no_data_dir_option
@json_option
@pass_output
def demo(out: Output) -> int:
    """The tour: every line of it comes from the real engine, and every claim is checked.

    It works in a temporary directory, needs no network and takes a few seconds.

    Exit code 0: every claim held; 1: a claim failed.

    \b
    Example:
      stigg-local demo
    """
    from stigg_local.cli.demo import tour

    return 0 if tour(out) else INTERNAL


for command in (coupons, customer, paywall, products, promotion, subscription):
    commands.add_command(command)
for command in (consume, reserve, settle, release, reservations):
    commands.add_command(command)
for command in (bench, catalog, check, clock, completion, db, doctor, events, explain, report, status, usage):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Those after the program's name; default: the process's own.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _unwind_when_ended()
    # An id that is not valid text in the terminal's encoding is shown escaped instead of failing the command.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    instruction = os.environ.get(VARIABLE)
    if instruction:
        return complete(commands, instruction)
    logger, handler = logging.getLogger("stigg_local"), _Warnings()
    logger.addHandler(handler)
    try:
        out = Output(as_json=_is_asked("--json", given), plain=_is_asked("--plain", given))
        code = _run(given, out)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read has had enough. What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    finally:
        logger.removeHandler(handler)
    return code


def _unwind_when_ended() -> None:
    """Let a request to end run what cleans up: copies of a database are not left behind in temporary directories."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name)
        # Whoever started the program may have it ignore one of them.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


class _Warnings(logging.Handler):
    """What the library has to say beside the answer: one line each on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            told = {name: value for name, value in vars(record).items() if name not in _RECORD_FIELDS}
            hint = told.pop("hint", None)
            text = ", ".join([record.getMessage(), *(f"{name} `{value}`" for name, value in told.items())])
            sys.stderr.write(clean(f"warning: {text}" + (f" ({hint})" if hint else "")) + "\n")


def _is_asked(option: str, arguments: Sequence[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return option in options


def _run(arguments: list[str], out: Output) -> int:
    try:
        with commands.make_context(NAME, arguments, obj=out) as context:
            return int(commands.invoke(context) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return USAGE
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else NAME
        out.failure(
            code=InvalidInput.default_code, message=_sentence(error.format_message()), hint=f"see {where} --help"
        )
        return USAGE
    except StiggError as error:
        out.failure(
            code=error.code,
            message=error.message,
            hint=in_shell_words(error.hint),
            problems=getattr(error, "problems", ()),
            retryable=error.retryable,
        )
        return exit_code(error)
    except BrokenPipeError:
        raise
    except Exception as error:
        _internal(out, error)
        return INTERNAL


def _internal(out: Output, error: Exception) -> None:
    """One line about a failure that nobody foresaw, or the whole of it where it is asked for."""
    if os.environ.get(TRACEBACK_VARIABLE):
        import traceback

        traceback.print_exception(error)
    text = " ".join(str(error).split())
    out.failure(
        code=StiggError.default_code,
        message=f"{type(error).__name__}: {text}" if text else type(error).__name__,
        hint=f"set {TRACEBACK_VARIABLE}=1 to see where it came from",
    )


def _sentence(text: str) -> str:
    """A parser's message in the form of ours: lower case, no final period, one line."""
    text = " ".join(text.split())
    return text[:1].lower() + text[1:].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
