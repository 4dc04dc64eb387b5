"""What every command's page of help has beside its own words: examples, exit codes, and what its values complete to.

Laws: the page of a command is made from its own docstring; what all commands share is said here alone.
"""

import inspect
import re
import textwrap

import click

from stigg_local.cli.values import Known, known

EXIT_CODES = {
    0: "ok",
    1: "internal error",
    2: "bad input or usage",
    3: "refused by a rule",
    4: "busy or unavailable: try again later",
    5: "findings (doctor), a broken budget (bench)",
    130: "interrupted",
}
LINE_LENGTH = 100
# What only some commands end with; those say so themselves.
SPECIAL = frozenset({5})

_EXAMPLES = re.compile(r"\s*Examples?:\n")
_EXITS = re.compile(r"Exit codes? (?=\d)")
_EXIT = re.compile(r"(\d+):\s+(.+?)(?:[.;]\s+(?=\d+:)|\.?$)", re.DOTALL)


def finish(command: click.Command) -> None:
    """Put a command's page into its order: what it does, options, examples, exit codes."""
    if command.epilog is not None:
        return
    kept: list[str] = []
    examples: list[str] = []
    codes = {code: text for code, text in EXIT_CODES.items() if code not in SPECIAL}
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        words = paragraph.removeprefix("\b\n")
        if _EXAMPLES.match(words):
            examples.append(words)
        elif _EXITS.match(words):
            codes |= {int(code): " ".join(text.split()) for code, text in _EXIT.findall(_EXITS.sub("", words))}
        else:
            kept.append(paragraph)
    command.help = "\n\n".join(kept)
    command.epilog = "\n\n".join(f"\b\n{part}" for part in [*examples, exits(codes)])
    for parameter in command.params:
        values = known(parameter)
        if parameter.type is click.STRING and values is not None:
            parameter.type = Known(values)


def exits(codes: dict[int, str]) -> str:
    """The exit codes as a block of lines."""
    lines = ["Exit codes:"]
    for code, text in sorted(codes.items()):
        lines += textwrap.wrap(text, LINE_LENGTH, initial_indent=f"  {code:<3}  ", subsequent_indent=" " * 7)
    return "\n".join(lines)
