"""Completion, asked of the shells themselves: commands, options, words, files and ids."""

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stigg_local import Stigg
from stigg_local.testing import ManualClock

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "fixtures/catalogs/example.toml"
SHELLS = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the program, a data directory and some files."""
    where = tmp_path_factory.mktemp("home")
    program = where / "bin/stigg-local"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m stigg_local.cli.main "$@"\n')
    program.chmod(0o755)
    with Stigg(catalog=EXAMPLE, data_dir=where / "data", clock=ManualClock("2025-01-31T10:00:00Z")) as client:
        for customer in ("customer-acme", "customer-globex", "other", "customer with blanks", "customer$(x)", "-c"):
            client.provision_customer(customer, subscription_params=None)
    (where / "catalog.toml").write_text("")
    (where / "catalogs").mkdir()
    return where


Complete = Callable[..., list[str]]


@pytest.fixture(params=[shell for shell in SHELLS if shell != "zsh"])
def complete(request: pytest.FixtureRequest, home: Path) -> Complete:
    """What a shell offers at the end of a line."""

    def complete(line: str, **variables: str) -> list[str]:
        if request.param == "fish":
            script = f"stigg-local completion fish | source; complete -C {shlex.quote(line)}"
        else:
            words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
            script = (
                "source <(stigg-local completion bash) && complete -p stigg-local >/dev/null || exit 9\n"
                f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
                "_stigg_local_completion stigg-local\n"
                'printf "%s\\n" "${COMPREPLY[@]}"\n'
            )
        environment = os.environ | {"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home)} | variables
        ran = subprocess.run(
            [request.param, "-c", script], cwd=home, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (0, "") == (ran.returncode, ran.stderr)
        return sorted(line.split("\t")[0] for line in ran.stdout.splitlines() if line)

    return complete


OFFERED: list[tuple[str, list[str]]] = [
    ("stigg-local che", ["check"]),
    ("stigg-local catalog ", ["apply", "diff", "schema", "show", "validate"]),
    ("stigg-local catalog apply x --mig", ["--migrate"]),
    ("stigg-local catalog apply x --migrate ", ["all", "new"]),
    ("stigg-local completion ", ["bash", "fish", "zsh"]),
    ("stigg-local check --type me", ["metered"]),
    ("stigg-local --data-dir data check cust", ["customer-acme", "customer-globex"]),
    ("stigg-local check --data-dir data oth", ["other"]),
    ("stigg-local explain --data-dir data customer-acme feature-r", ["feature-regions", "feature-retention-days"]),
    ("stigg-local report --data-dir ~/data customer-acme feature-s",
         ["feature-seats", "feature-sso", "feature-storage"]),
    ("stigg-local check --data-dir data customer-acme curr", ["currency-ai-credits"]),
    ("stigg-local check --data-dir data nobody", []),
    ("stigg-local check --data-dir nowhere cust", []),
    ("stigg-local check cust", []),
]  # fmt: skip


# Each starts the program; the plain run asks for some of them.
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        pytest.param(line, offered, marks=() if number % 4 == 2 else pytest.mark.stress)
        for number, (line, offered) in enumerate(OFFERED)
    ],
)
def test_a_shell_is_offered_what_can_come_next(complete: Complete, line: str, offered: list[str]) -> None:
    assert offered == complete(line)


def test_ids_come_from_the_directory_of_the_environment_and_nothing_is_changed(complete: Complete, home: Path) -> None:
    before = {path.name: path.read_bytes() for path in (home / "data").iterdir() if not path.name.endswith("-shm")}
    assert ["customer-acme", "customer-globex", "other"] == complete(
        "stigg-local check ", STIGG_LOCAL_DATA_DIR=str(home / "data")
    )
    after = {path.name: path.read_bytes() for path in (home / "data").iterdir() if not path.name.endswith("-shm")}
    assert before == after


def test_a_directory_that_is_none_completes_to_nothing(complete: Complete, home: Path) -> None:
    assert [] == complete("stigg-local check ", STIGG_LOCAL_DATA_DIR=str(home / "catalog.toml"))


# At a terminal --------------------------------------------------------------------------------------------------

STARTS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(stigg-local completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit && compinit -u -d "$HOME/dump" && eval "$(stigg-local completion zsh)"',
    ),
}


class Terminal:
    """A shell at a terminal that types."""

    def __init__(self, shell: str, home: Path) -> None:
        command, line = STARTS[shell]
        environment = os.environ | {
            "PATH": f"{home}/bin:{os.environ['PATH']}",
            "HOME": str(home),
            "PS1": "> ",
            "TERM": "dumb",
            "COLUMNS": "200",
        }
        environment.pop("STIGG_LOCAL_DATA_DIR", None)
        inner, outer = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=home, env=environment, stdin=outer, stdout=outer, stderr=outer, start_new_session=True
        )
        os.close(outer)
        self.descriptor = inner
        self.type(f"{line}; echo rea''dy\n", until="ready")

    def type(self, text: str, *, until: str) -> str:
        """Type, and wait until the screen holds something."""
        os.write(self.descriptor, text.encode())
        shown, end = "", time.monotonic() + PATIENCE_S
        while until not in shown and time.monotonic() < end:
            if select.select([self.descriptor], [], [], 0.1)[0]:
                shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\x07", "", os.read(self.descriptor, 65536).decode())
        assert until in shown
        return shown

    def close(self) -> None:
        """End the shell."""
        self.process.kill()
        self.process.wait()
        os.close(self.descriptor)


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell in STARTS])
def test_the_tabulator_completes_at_a_terminal(shell: str, home: Path) -> None:
    terminal = Terminal(shell, home)
    try:
        terminal.type("stigg-local chec\t", until="check ")
        terminal.type("--data-dir data customer-a\t", until="customer-acme ")
        terminal.type("feature-reg\t", until="feature-regions ")
        terminal.type("--typ\t", until="--type ")
        terminal.type("\x15stigg-local catalog validate catalog.t\t", until="catalog.toml ")
    finally:
        terminal.close()
