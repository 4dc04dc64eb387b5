"""`completion`: what makes a shell complete the commands, their options and the values that `values` knows."""

from typing import TYPE_CHECKING

import click

from stigg_local.cli.options import json_option, no_data_dir_option, pass_output
from stigg_local.cli.output import Output

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

# While a shell completes, it runs the program with this set.
VARIABLE = "_STIGG_LOCAL_COMPLETE"
NAME = "stigg-local"

_INSTRUCTIONS = {
    "bash": ('eval "$(stigg-local completion bash)"', "~/.bashrc"),
    "zsh": ('eval "$(stigg-local completion zsh)"', "~/.zshrc, below compinit"),
    "fish": ("stigg-local completion fish | source", "~/.config/fish/config.fish"),
}


@click.command(short_help="Print what makes a shell complete commands.")
@click.argument("shell", type=click.Choice(tuple(_INSTRUCTIONS)))
@no_data_dir_option
@json_option
@click.pass_context
@pass_output
def completion(out: Output, context: click.Context, *, shell: str) -> int:
    """Print the script that makes SHELL complete commands, options, words, files and ids.

    Ids of customers, features and credit currencies come from the directory of --data-dir or STIGG_LOCAL_DATA_DIR,
    which is only read. It needs bash 4.4, zsh or fish 3, and `stigg-local` on the PATH.

    \b
    To have it in every shell, add a line to a file:
      bash  ~/.bashrc                   eval "$(stigg-local completion bash)"
      zsh   ~/.zshrc, below compinit    eval "$(stigg-local completion zsh)"
      fish  ~/.config/fish/config.fish  stigg-local completion fish | source

    \b
    Examples:
      stigg-local completion bash
      stigg-local completion zsh > _stigg-local
      stigg-local completion fish > stigg-local.fish
    """
    made = _class_of(shell)(context.find_root().command, {}, NAME, VARIABLE)
    # `source()` would also run the shell to see its version.
    script = made.source_template % made.source_vars()
    line, file = _INSTRUCTIONS[shell]
    if out.as_json:
        out.json({"shell": shell, "script": script, "line": line, "file": file})
        return 0
    out.line(f"# To have it in every shell, put this line in {file}:  {line}")
    for text in script.strip("\n").split("\n"):
        out.line(text)
    return 0


def complete(commands: click.Group, instruction: str) -> int:
    """Answer a shell that completes: print what may come next.

    Args:
        commands: The program.
        instruction: What the shell's script put in the environment variable, for example `bash_complete`.
    """
    from click.shell_completion import shell_complete

    return shell_complete(commands, {}, NAME, VARIABLE, instruction)


def _class_of(shell: str) -> "type[ShellComplete]":
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows the shells that are offered"
    return found
