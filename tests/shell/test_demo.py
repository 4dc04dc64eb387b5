"""The demo end to end, as a user runs it: on a pipe, with and without rich, and what it says when a claim fails."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stigg_local.cli import demo
from stigg_local.cli.main import main
from stigg_local.cli.output import Output
from stigg_local.cli.stage import Stage

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(demo.__file__).parent / "example"

CLAIMS = [
    "it has no mistakes",
    "applying the same file again changes nothing",
    "one free, one in trial, one paid, one custom",
    "all 15 are what the catalog says, of 5 types",
    "at 100 of 100 calls one more is refused: RequestedUsageExceedsLimit",
    "4,970 credits are left, and a request for 5,000 is refused: InsufficientCredits",
    "the child was killed by SIGKILL, 3 times",
    "no acknowledged unit is missing, and at most the one in flight was added",
    "sent again, nothing counts twice: usage is exactly the number sent",
    "the same 28 answers as before, to the last field",
    "the child uses the inherited client and sees what the parent reported",
    "the parent sees what the child reported",
    "the edit is followed: the limit goes from 10 to 25",
    "a broken edit changes nothing, and status() tells of it",
    "a good edit is followed again and clears the error",
]


def run_demo(directory: Path, *options: str, without: str = "") -> "subprocess.CompletedProcess[str]":
    """The demo from another directory, with nothing to write to but a temporary one."""
    program = f"import sys; sys.modules[{without!r}] = None; " if without else "import sys; "
    program += "from stigg_local.cli.main import main; sys.exit(main(sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(directory)}
    return subprocess.run(
        [sys.executable, "-c", program, "demo", *options],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_demo_holds_every_claim_without_a_terminal_and_without_rich(tmp_path: Path) -> None:
    ended = run_demo(tmp_path, without="rich")
    assert (0, "") == (ended.returncode, ended.stderr), ended.stdout
    lines = ended.stdout.splitlines()
    assert CLAIMS == [line.removeprefix("   ok  ") for line in lines if line.startswith("   ok  ")]
    assert "All 15 claims were checked and hold." == lines[-1]
    assert "FAILED" not in ended.stdout
    for call in ("boolean decision", "metered decision", "credit decision", "usage report, on disk"):
        assert call in ended.stdout
    assert [] == list(tmp_path.iterdir())


def test_the_demo_as_json_is_one_object(tmp_path: Path) -> None:
    ended = run_demo(tmp_path, "--json")
    assert (0, "") == (ended.returncode, ended.stderr), ended.stdout
    found = json.loads(ended.stdout)
    assert (True, 15, []) == (found["ok"], found["claims"], found["failed"])
    assert CLAIMS == [claim["claim"] for step in found["steps"] for claim in step["claims"]]


def test_a_claim_that_fails_is_said_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = demo.Question("free", "boolean", demo.SSO, {}, "access", {})
    monkeypatch.setattr(demo, "QUESTIONS", (*demo.QUESTIONS, wrong))
    for part in ("kill_in_the_middle", "fork", "go_offline", "measure"):
        monkeypatch.setattr(demo, part, lambda *arguments, **options: None)
    assert 1 == main(["demo"])
    shown = capsys.readouterr().out
    assert "   FAILED  all 16 are what the catalog says, of 5 types: found ['free feature-sso']\n" in shown
    assert shown.endswith("1 of 7 claims FAILED\n")


def test_a_call_that_fails_is_a_failed_claim(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "GROWTH", "plan-nothing")
    assert 1 == main(["demo", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (False, ["every call of the tour succeeds"]) == (found["ok"], found["failed"])
    assert "PlanNotFound" in found["steps"][-1]["claims"][-1]["found"]


def test_a_machine_without_a_temporary_directory_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert 2 == main(["demo"])
    assert "error: BadUserInput: no temporary directory can be made: " in capsys.readouterr().err


def test_a_lost_or_doubled_unit_would_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """What the stage does with a claim that does not hold is all that stands between the demo and a lie."""
    stage = Stage(Output(as_json=False))
    stage.step("Title")
    stage.claim("holds", True)
    stage.claim("does not", False, (3, 4))
    assert stage.end() is False
    assert (
        "1. Title\n   ok  holds\n   FAILED  does not: found (3, 4)\n\n1 of 2 claims FAILED\n"
        == capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("shipped", "fixture"),
    [("catalog.toml", "catalogs/example.toml"), ("fallback.toml", "fallback/valid/example.toml")],
)
def test_the_shipped_examples_are_the_fixtures(shipped: str, fixture: str) -> None:
    assert (ROOT / "fixtures" / fixture).read_bytes() == (EXAMPLES / shipped).read_bytes()
