"""What reaches a terminal, a pipe and a file: colour, boxes and bars where they are wanted, nowhere else."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from stigg_local.cli import output
from stigg_local.cli.output import Output
from stigg_local.cli.records import price
from stigg_local.core.explain_text import Branch

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "fixtures/catalogs/example.toml"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize(
    ("amount", "shown"), [("0.00015", "0.00015"), ("1234.5", "1,234.50"), ("20", "20"), ("9.990", "9.99")]
)
def test_an_amount_has_two_digits_or_all_that_it_needs(amount: str, shown: str) -> None:
    assert shown == price(Decimal(amount))


def at_terminal(*arguments: str | Path, **variables: str) -> str:
    """What a command shows at a terminal, both of its streams."""
    inner, outer = pty.openpty()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")
    }
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "120"} | variables
    process = subprocess.Popen(
        [sys.executable, "-m", "stigg_local.cli.main", *map(str, arguments)],
        env=environment,
        stdin=outer,
        stdout=outer,
        stderr=outer,
    )
    os.close(outer)
    shown = b""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([inner], [], [], 0.1)[0]:
            try:
                shown += os.read(inner, 65536)
            except OSError:
                # The other end was closed, which Linux tells so.
                break
    assert 0 == process.wait(30)
    os.close(inner)
    return shown.decode()


def test_a_terminal_gets_colour_and_lines() -> None:
    shown = at_terminal("catalog", "show", "--catalog", EXAMPLE)
    assert COLOUR.search(shown)
    assert "─" in shown


def test_no_colour_and_plain_are_kept_at_a_terminal() -> None:
    shown = at_terminal("catalog", "show", "--catalog", EXAMPLE, NO_COLOR="1")
    assert not COLOUR.search(shown)
    assert "─" in shown
    plain = at_terminal("--plain", "catalog", "show", "--catalog", EXAMPLE)
    assert "\x1b" not in plain
    assert "─" not in plain
    assert "feature-seats" in plain


def test_json_at_a_terminal_is_json_alone() -> None:
    shown = at_terminal("catalog", "show", "--catalog", EXAMPLE, "--json")
    assert "production" == json.loads(shown)["environment"]


# Bars -----------------------------------------------------------------------------------------------------------


def take_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams, as they are now, are taken for terminals, and bars come at once."""
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(output, "BAR_AFTER_S", 0.0)


def worked(out: Output, total: int | None = 3) -> None:
    """Something that takes a while, in three steps."""
    with out.progress("working on [it]", total) as bar:
        for done in range(3):
            bar.advance()
            time.sleep(0.05)
            bar.reach(done + 1, 3)


@pytest.mark.parametrize("total", [3, None])
def test_a_bar_is_shown_on_standard_error_and_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], total: int | None
) -> None:
    take_for_terminals(monkeypatch)
    worked(Output(as_json=False), total)
    out, err = capsys.readouterr()
    assert "" == out
    assert "working on [it]" in err
    # Its last act is to clear its line.
    assert err.rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize("out", [Output(as_json=True), Output(as_json=False, plain=True)], ids=["json", "plain"])
def test_no_bar_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: Output
) -> None:
    take_for_terminals(monkeypatch)
    worked(out)
    assert ("", "") == capsys.readouterr()


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    worked(Output(as_json=False))
    assert ("", "") == capsys.readouterr()


def test_what_is_over_soon_shows_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    take_for_terminals(monkeypatch)
    monkeypatch.setattr(output, "BAR_AFTER_S", 30.0)
    worked(Output(as_json=False))
    assert "working" not in capsys.readouterr().err


def test_a_bar_is_gone_where_the_work_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_for_terminals(monkeypatch)

    def fails() -> None:
        with Output(as_json=False).progress("working") as bar:
            bar.advance()
            time.sleep(0.05)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fails()
    assert capsys.readouterr().err.rstrip().endswith("\x1b[2K")


# Trees ----------------------------------------------------------------------------------------------------------


def test_a_plain_tree_is_drawn_by_indentation(capsys: pytest.CaptureFixture[str]) -> None:
    tree = Branch("a", branches=(Branch("b", branches=(Branch("c"),)), Branch("d\x1b")))
    Output(as_json=False, plain=True).tree(tree)
    assert "a\n  b\n    c\n  d\\x1b\n" == capsys.readouterr().out
