"""The pages of help: each is whole, and every example on one works, on every kind of output."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from stigg_local import Stigg
from stigg_local.cli.main import commands, main
from stigg_local.testing import ManualClock, ScriptedPayments

ROOT = Path(__file__).parents[2]
CATALOGS = ROOT / "fixtures/catalogs"
FALLBACK = ROOT / "fixtures/fallback/valid"
INSTANT = "2025-01-31T10:00:00Z"
# Escapes that colour, and signs that draw boxes and bars.
DRAWN = re.compile("\x1b|[\u2500-\u257f]")


class Page(NamedTuple):
    """A command's words at the command line, and the command."""

    words: tuple[str, ...]
    command: click.Command


def pages(command: click.Command = commands, words: tuple[str, ...] = ()) -> Iterator[Page]:
    """Every command, with all below it."""
    yield Page(words, command)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from pages(inner, (*words, name))


PAGES = list(pages())
LEAVES = [page for page in PAGES if not isinstance(page.command, click.Group)]


def name_of(value: object) -> str:
    """How a case is called."""
    return " ".join(value.words) if isinstance(value, Page) else str(value)


def help_of(page: Page, capsys: pytest.CaptureFixture[str]) -> str:
    """A page of help as a terminal shows it."""
    capsys.readouterr()
    assert 0 == main([*page.words, "--help"])
    return capsys.readouterr().out


def examples_of(page: Page) -> list[str]:
    """The command lines below `Examples`."""
    found = re.search(r"Examples?:\n((?:  \S.*\n?)+)", page.command.epilog or "")
    return [] if found is None else [line.strip() for line in found[1].splitlines()]


def is_slow(line: str) -> bool:
    """Whether a command line takes seconds."""
    return shlex.split(line)[1] in ("bench", "demo")


LINES = list(dict.fromkeys(line for page in PAGES for line in examples_of(page)))
# Pipes are for the shell; the others run in this process.
EXAMPLES = [
    pytest.param(line, id=line, marks=pytest.mark.stress if is_slow(line) else ()) for line in LINES if "|" not in line
]
QUICK = [line for line in LINES if "|" not in line and not is_slow(line)]
# One line of each command in the plain run; all of them with the slow tests.
SOME = [
    pytest.param(line, id=line, marks=() if line in {examples_of(page)[0] for page in LEAVES} else pytest.mark.stress)
    for line in QUICK
]


def needed_before(line: str) -> list[str]:
    """The commands that make what a line reads: a backup's name has the time of its making."""
    words = shlex.split(line)
    made = [word for word in words if re.search(r"\.backup$|^backups/.*[^/]$", word)]
    needed = [f"stigg-local db backup {shlex.quote(word)}" for word in made if "backup" not in words[1:3]]
    if "--compare" in words:
        needed.append("stigg-local bench --operation metered --iterations 1000 --output bench.json")
    return needed


# Pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_is_whole(page: Page, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = help_of(page, capsys)
    assert shown.startswith(f"Usage: {' '.join(('stigg-local', *page.words))} ")
    order = re.findall(r"^ *(Usage|Options|Commands|Examples?|Exit codes):", shown, re.MULTILINE)
    commands_too = ["Commands"] if isinstance(page.command, click.Group) else []
    assert ["Usage", "Options", *commands_too, "Example", "Exit codes"] == [
        part.removesuffix("s") if part == "Examples" else part for part in order
    ]
    for option in ("--json", "--plain", "--help"):
        assert option in shown
    for code in ("0", "1", "2", "130"):
        assert re.search(rf"^ +{code} +\S", shown, re.MULTILINE)
    prefix = " ".join(("stigg-local", *page.words))
    assert examples_of(page)
    assert [] == [line for line in examples_of(page) if prefix not in line]
    assert not DRAWN.search(shown)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_has_words_and_its_value_a_name(page: Page) -> None:
    for parameter in page.command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name
            is_flag = parameter.is_flag or parameter.flag_value is not None
            assert is_flag or parameter.metavar or not isinstance(parameter.type, click.types.StringParamType)


def test_a_default_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(Page(("catalog", "apply"), commands), capsys)
    assert "[default: new]" in shown


# Examples -------------------------------------------------------------------------------------------------------


def _sell(catalog: Path, stored: Path) -> None:
    """Subscriptions of every kind that an example speaks of: behind the catalog, waiting, of a resource, unpaid."""
    dearer = tomllib.loads(catalog.read_text("utf-8"))
    for plan in dearer["plans"]:
        if plan["id"] == "plan-revvenu-growth":
            plan["prices"][0]["amount"] = "109"
    payments = ScriptedPayments(["ACTION_REQUIRED"])
    with Stigg(catalog=dearer, data_dir=stored, clock=ManualClock(INSTANT)) as client:
        for name in ("customer-acme", "customer-globex", "customer-initech"):
            client.provision_customer(name, subscription_params=None)
        bought = client.provision_subscription(
            "customer-acme",
            "plan-revvenu-growth",
            billing_period="MONTHLY",
            billable_features=[{"feature_id": "feature-seats", "quantity": 5}],
            skip_trial=True,
        ).subscription
        client.provision_subscription("customer-acme", "plan-site-pro", billing_period="MONTHLY", resource_id="site-1")
        client.grant_promotional_entitlements("customer-acme", [{"feature_id": "feature-sso"}])
        client.catalog.apply(catalog)
        assert bought is not None
        client.update_subscription(
            bought.id, addons=[{"addon_id": "addon-10k-calls"}], schedule_strategy="END_OF_BILLING_PERIOD"
        )
    with Stigg(data_dir=stored, clock=ManualClock(INSTANT), payment_provider=payments) as client:
        client.provision_subscription(
            "customer-initech",
            "plan-revvenu-growth",
            billing_period="MONTHLY",
            billable_features=[{"feature_id": "feature-seats", "quantity": 1}],
            skip_trial=True,
        )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every file that an example speaks of."""
    where = tmp_path_factory.mktemp("prepared")
    for suffix in ("toml", "yaml", "json"):
        shutil.copy(CATALOGS / f"example.{suffix}", where / f"catalog.{suffix}")
        shutil.copy(FALLBACK / f"example.{suffix}", where / f"fallback.{suffix}")
    stored = where / "var/stigg"
    suffixes = iter(("1a2b3c", "7a8b9c", "4d5e6f"))
    with pytest.MonkeyPatch.context() as patched:
        # The pages of help speak of these subscriptions by their ids.
        patched.setattr("stigg_local.authority.subscriptions.new_short_id", lambda: next(suffixes))
        _sell(where / "catalog.toml", stored)
    with Stigg(data_dir=stored, clock=ManualClock(INSTANT)) as client:
        client.report_usage("customer-acme", "feature-seats", 2)
        client.report_usage("customer-acme", "feature-api-calls", 5)
        client.reserve("customer-acme", "feature-api-calls", amount=40, idempotency_key="job-17")
    for name in ("backups", "var/restored"):
        (where / name).mkdir()
    for name in ("a", "b"):
        shutil.copytree(stored, where / name)
    (where / "customers.ndjson").write_text('{"customer_id": "customer-new", "name": "New"}\n')
    (where / "2025-01.csv").write_text("customer_id,feature_id,value\ncustomer-acme,feature-api-calls,3\n")
    event = {
        "customerId": "customer-acme",
        "eventName": "user_login",
        "idempotencyKey": "k",
        "dimensions": {"user_id": "u"},
    }
    (where / "events.ndjson").write_text(json.dumps(event) + "\n")
    (where / "budget.toml").write_text('[metered]\np50 = "1s"\n[open]\np50 = "60s"\n')
    return where


@pytest.fixture
def inside(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to be in, with the environment that the examples leave out."""
    where = tmp_path / "inside"
    shutil.copytree(prepared, where)
    monkeypatch.chdir(where)
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", "var/stigg")
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", INSTANT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return where


Ran = tuple[int, str, str]


@pytest.fixture
def typed(inside: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a line as a shell would, with more words at its end."""

    def typed(line: str, *more: str) -> Ran:
        words = shlex.split(line)
        target = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if target else words
        assert "stigg-local" == words[0]
        for command in needed_before(line):
            main(shlex.split(command)[1:])
        capsys.readouterr()
        code = main([*words[1:], *more])
        out, err = capsys.readouterr()
        if target:
            Path(target).write_text(out, "utf-8")
        return code, out, err

    return typed


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_works(typed: Callable[..., Ran], inside: Path, line: str) -> None:
    code, out, err = typed(line)
    assert 0 == code, (out, err)
    # What takes long may say how far it is.
    assert "" == err or is_slow(line)
    assert out or ">" in line


@pytest.mark.parametrize("line", SOME)
def test_an_example_is_plain_on_a_terminal_where_that_is_asked_for(
    typed: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    code, out, err = typed(line, "--plain")
    assert 0 == code
    assert not DRAWN.search(out + err)


@pytest.mark.parametrize("line", [line for line in SOME if not {"--ndjson", "--csv"} & set(str(line.id).split())])
def test_an_example_answers_in_json(typed: Callable[..., Ran], line: str) -> None:
    code, out, err = typed(line, *(() if "--json" in line else ("--json",)))
    assert (0, "") == (code, err)
    assert isinstance(json.loads(out), dict | list)
    assert out.isascii()


@pytest.mark.stress
def test_the_examples_work_in_a_shell(prepared: Path, inside: Path, tmp_path: Path) -> None:
    """As they are typed, with the redirections and the quotes of a shell."""
    program = tmp_path / "bin/stigg-local"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m stigg_local.cli.main "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    failed = []
    for number, line in enumerate(line for line in LINES if not is_slow(line)):
        where = tmp_path / str(number)
        shutil.copytree(prepared, where)
        script = " >/dev/null && ".join([*needed_before(line), line])
        ran = subprocess.run(["bash", "-c", script], cwd=where, env=environment, capture_output=True)
        if ran.returncode or ran.stderr:
            failed.append((line, ran.returncode, ran.stderr))
    assert [] == failed


# Before and behind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", LEAVES, ids=name_of)
def test_common_options_are_taken_before_and_behind_the_command(
    page: Page, typed: Callable[..., Ran], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.words in (("bench",), ("demo",)):
        assert {"--data-dir", "--plain", "--json"} <= {name for item in page.command.params for name in item.opts}
        return
    monkeypatch.delenv("STIGG_LOCAL_DATA_DIR")
    line = next((line for line in examples_of(page) if "--data-dir" not in line and not set(line) & set("|>")), None)
    line = line or re.sub(r" --data-dir \S+", "", examples_of(page)[0].split(" > ")[0])
    words = [word for word in shlex.split(line)[1:] if word != "--json"]
    wanted = ["--data-dir", "var/restored" if "restore" in words else "var/stigg", "--json", "--plain"]
    count = len(page.words)
    shown = []
    for number, given in enumerate(
        (
            [*wanted, *words],
            [*words[:count], *wanted[:2], *words[count:], *wanted[2:]],
            [*wanted[2:], *words, *wanted[:2]],
        )
    ):
        shutil.copytree(prepared, tmp_path / str(number))
        monkeypatch.chdir(tmp_path / str(number))
        if needed_before(line):
            assert 0 == main(["--data-dir", "var/stigg", *shlex.split(needed_before(line)[0])[1:]])
        ran = typed(shlex.join(["stigg-local", *given]))
        assert (0, "") == (ran[0], ran[2]), (given, ran)
        shown.append(type(json.loads(ran[1].splitlines()[0] if "--ndjson" in words else ran[1])))
    assert 1 == len(set(shown))
