"""`db import`: each line is a command, counted once, and what was exported goes into another directory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stigg_local import Stigg, StorageFull
from stigg_local.cli.main import main
from stigg_local.database import Problem, import_lines
from stigg_local.doctor import examine
from stigg_local.import_commands import KINDS
from stigg_local.store.exchange import Line
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, FULL_CATALOG, ROOT, ask, fill

CALLS = "feature-calls"


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Lines read, done, left aside and refused."""
        told = json.loads(self.out)
        return told["read"], told["done"], told["skipped"], told["failed"]


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a `db` command in this process, a day after the directory was filled."""
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "2025-02-01T10:00:00Z")
    monkeypatch.delenv("STIGG_LOCAL_DATA_DIR", raising=False)

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main(["db", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def filled(data_dir: Path, clock: ManualClock) -> Path:
    """A directory with something in every table, closed."""
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock) as client:
        for _ in fill(client):
            clock.advance(seconds=1)
        client.provision_customer("customer-1", email="one@example.com", metadata={"tier": "gold"})
        client.report_usage("customer-1", CALLS, 1, dimensions={"region": "eu", "share": 0.5})
    return data_dir


@pytest.fixture
def new(tmp_path: Path, clock: ManualClock) -> Path:
    """Another directory with the same catalog and no customers."""
    with Stigg(catalog=CATALOG, data_dir=tmp_path / "new", clock=clock):
        pass
    return tmp_path / "new"


def content(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in os.listdir(directory) if not name.endswith("-shm")}


def usage(directory: Path, customer: str = "customer-1") -> int | float:
    with Stigg(data_dir=directory, clock=ManualClock("2025-02-01T10:00:00Z")) as client:
        return client.get_metered_entitlement(customer, CALLS).current_usage


# ---------------------------------------------------------------------- from one directory to another

VIEWS = ("customers", "subscriptions", "promotional_entitlements", "credit_grants", "measurements")


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_what_is_exported_can_be_imported_elsewhere(
    filled: Path, new: Path, run: Run, tmp_path: Path, kind: str
) -> None:
    def bring() -> list[tuple[int, int, int, int]]:
        ran = [
            run("import", view, tmp_path / f"{view}.{kind}", "--data-dir", new, "--json")
            for view in VIEWS
            if run("export", view, "-o", tmp_path / f"{view}.{kind}", "--data-dir", filled).code == 0
        ]
        assert [0] * len(VIEWS) == [one.code for one in ran], [one.out for one in ran]
        return [one.counts for one in ran]

    first = bring()
    assert [(3, 3, 0, 0), (4, 4, 0, 0), (2, 2, 0, 0), (3, 2, 1, 0), (9, 9, 0, 0)] == first
    clock = ManualClock("2025-02-01T10:00:00Z")
    answers = []
    for directory in (filled, new):
        with Stigg(data_dir=directory, clock=clock) as client:
            answers.append(
                {
                    question: [
                        answer.get(name)
                        for name in ("hasAccess", "usageLimit", "value", "enumValues", "currentBalance", "isUnlimited")
                    ]
                    for question, answer in ask(client).items()
                    if question[1] != "state"
                }
            )
    # Usage of before the new subscriptions is kept at its own time; what entitles and what is owed is the same.
    assert {question: answer for question, answer in answers[0].items() if question[1] != "requested"} == {
        question: answer for question, answer in answers[1].items() if question[1] != "requested"
    }
    question = (
        "SELECT customer_id, feature_id, resource_id, value, created_at, dimensions FROM measurements ORDER BY 5"
    )
    told = [run("query", question, "--csv", "--data-dir", directory).out for directory in (filled, new)]
    assert told[0] == told[1]
    identities = "SELECT customer_id, name, email, metadata FROM customers"
    told = [run("query", identities, "--csv", "--data-dir", directory).out for directory in (filled, new)]
    assert told[0] == told[1]
    assert [] == list(examine(new, clock=clock).findings)
    # Once more changes nothing, whatever order the lines have by then.
    before = ask_all(new)
    bring()
    assert before == ask_all(new)


def ask_all(directory: Path) -> dict[Any, Any]:
    with Stigg(data_dir=directory, clock=ManualClock("2025-02-01T10:00:00Z")) as client:
        return ask(client)


def test_what_was_exported_from_a_directory_is_left_aside_there(filled: Path, run: Run, tmp_path: Path) -> None:
    before = ask_all(filled)
    for view in VIEWS:
        path = tmp_path / f"{view}.csv"
        run("export", view, "-o", path, "--data-dir", filled)
        ran = run("import", view, path, "--data-dir", filled, "--json")
        read, done, skipped, failed = ran.counts
        assert (0, read if view == "customers" else 0, 0) == (ran.code, done, failed)
        assert read == done + skipped
    assert before == ask_all(filled)


# ---------------------------------------------------------------------- lines


def lines(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_file_is_counted_once_however_often_it_is_imported(filled: Path, run: Run, tmp_path: Path) -> None:
    row = {"customer_id": "customer-1", "feature_id": CALLS, "value": 2}
    path = lines(tmp_path / "usage.ndjson", row, row, row)
    for _ in range(2):
        assert (3, 3, 0, 0) == run("import", "usage", path, "--data-dir", filled, "--json").counts
        assert 8 + 6 == usage(filled)
    run("import", "usage", path, "--data-dir", filled, "--key-prefix", "another")
    assert 8 + 12 == usage(filled)
    lines(path, row | {"value": 3}, row)
    ran = run("import", "usage", path, "--data-dir", filled)
    assert 2 == ran.code
    assert f"{path}:1: IdempotencyConflict: the line's key was used before, for another line" in ran.err
    assert "another --key-prefix" in ran.err
    assert 8 + 12 == usage(filled)


def test_every_bad_line_is_told_with_its_place_and_the_others_count(filled: Path, run: Run, tmp_path: Path) -> None:
    good = {"customer_id": "customer-1", "feature_id": CALLS, "value": 1}
    path = lines(
        tmp_path / "usage.ndjson",
        good,
        "{not json",
        good | {"value": "many"},
        "",
        good | {"valeu": 1},
        good | {"customer_id": "nobody"},
        good | {"feature_id": "feature-cals"},
        good | {"value": "1e-9"},
        [1],  # type: ignore[arg-type]
        good | {"customer_id": ["customer-1"]},
        good | {"created_at": "yesterday"},
        good | {"measurement_id": {"a": 1}},
        good | {"customer_id": "\ud800"},
        good | {"from_ms": 0},
        good | {"value": "2", "createdAt": "2025-01-31T11:00:00Z"},
    )
    ran = run("import", "usage", path, "--data-dir", filled)
    assert 2 == ran.code
    told = [line.removeprefix(f"{path}:").split(": ")[:2] for line in ran.err.splitlines()]
    assert [
        ["2", "BadUserInput"],
        ["3", "BadUserInput"],
        ["5", "InvalidArgumentError"],
        ["6", "CustomerNotFound"],
        ["7", "FeatureNotFound"],
        ["8", "BadUserInput"],
        ["9", "BadUserInput"],
        ["10", "InvalidArgumentError"],
        ["11", "BadUserInput"],
        ["12", "InvalidArgumentError"],
        ["13", "InvalidArgumentError"],
        ["14", "BadUserInput"],
    ] == told
    assert "14 lines: 2 imported, 0 left aside, 12 refused" in ran.out
    assert 8 + 3 == usage(filled)


def test_a_csv_line_is_counted_from_where_it_begins(filled: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text(
        '\ufeffcustomer_id,name,metadata\r\nc-1,"two\nlines",\r\nc-2,x\r\n'
        'c-3,,"{""a"": ""b""}"\r\n,nobody,\r\nc-4,"x,\n'
    )
    ran = run("import", "customers", path, "--data-dir", filled, "--json")
    assert [4, 6, 7] == [problem["line"] for problem in json.loads(ran.out)["problems"]]
    rows = run("query", "SELECT customer_id, name, metadata FROM customers WHERE customer_id LIKE 'c-%'", "--csv",
               "--data-dir", filled).out  # fmt: skip
    assert 'customer_id,name,metadata\nc-1,"two\nlines",\nc-3,,"{""a"":""b""}"\n' == rows


def test_customers_come_with_a_plan_and_credits_with_their_dates(new: Path, run: Run, tmp_path: Path) -> None:
    path = lines(tmp_path / "c.ndjson", {"customer_id": "a", "plan_id": "plan-app"}, {"customerId": "b"})
    assert (2, 2, 0, 0) == run("import", "customers", path, "--data-dir", new, "--json").counts
    path = tmp_path / "credits.csv"
    path.write_text(
        "customer_id,currency_id,amount,expire_at,cost,priority\n"
        "a,currency-ai,10.5,2025-03-01T00:00:00Z,9.99 USD,2\n"
        "a,currency-ai,1,2024-01-01T00:00:00Z,,\n"
    )
    assert (2, 1, 0, 1) == run("import", "credits", path, "--data-dir", new, "--json").counts
    path = tmp_path / "promotions.csv"
    path.write_text(
        "customer_id,feature_id,usage_limit,is_unlimited,period\n"
        "b,feature-calls,12,false,ONE_MONTH\nb,feature-seats,,TRUE,\nb,feature-audit,,,\nb,feature-retention,1,maybe,\n"
    )
    ran = run("import", "promotions", path, "--data-dir", new, "--json")
    assert (4, 3, 0, 1) == ran.counts
    assert "is_unlimited is `maybe`" in ran.out
    with Stigg(data_dir=new, clock=ManualClock("2025-02-01T10:00:00Z")) as client:
        assert 10.5 == client.get_credit_entitlement("a", "currency-ai").current_balance
        assert 100 == client.get_metered_entitlement("a", CALLS).usage_limit
        assert 12 == client.get_metered_entitlement("b", CALLS).usage_limit
        assert client.get_metered_entitlement("b", "feature-seats").is_unlimited
        assert client.get_boolean_entitlement("b", "feature-audit").has_access


def test_what_is_over_is_left_aside_and_what_runs_goes_on(tmp_path: Path, run: Run, clock: ManualClock) -> None:
    """An export holds what was void, burnt or ended, and subscriptions whose trials are long over."""
    new = tmp_path / "new"
    with Stigg(catalog=FULL_CATALOG, data_dir=new, clock=clock) as client:
        client.provision_customer("a", subscription_params=None)
    grant = {"customer_id": "a", "currency_id": "currency-ai", "amount": 10, "remaining": 10}
    path = lines(
        tmp_path / "credits.ndjson",
        grant | {"grant_id": "grant-void", "voided_ms": 1_738_317_600_000},
        grant | {"grant_id": "grant-burnt", "remaining": 0},
        grant | {"grant_id": "grant-half", "remaining": 4},
    )
    assert (3, 1, 2, 0) == run("import", "credits", path, "--data-dir", new, "--json").counts
    promotion = {"customer_id": "a", "feature_id": "feature-sso", "start_ms": 1_738_317_600_000}
    path = lines(tmp_path / "promotions.ndjson", promotion | {"end_ms": 1_738_317_600_001})
    assert (1, 0, 1, 0) == run("import", "promotions", path, "--data-dir", new, "--json").counts
    path = lines(
        tmp_path / "subscriptions.ndjson",
        {"customer_id": "a", "plan_id": "plan-trial", "billing_period": "MONTHLY", "status": "ACTIVE"},
    )
    assert (1, 1, 0, 0) == run("import", "subscriptions", path, "--data-dir", new, "--json").counts
    with Stigg(data_dir=new, clock=ManualClock("2025-02-01T10:00:00Z")) as client:
        assert 4 == client.get_credit_entitlement("a", "currency-ai").total_granted
        assert not client.get_boolean_entitlement("a", "feature-sso").has_access
        assert ["ACTIVE"] == [item.status for item in client.get_subscriptions("a")]


def test_a_column_that_is_there_twice_is_a_mistake(filled: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text("customer_id,name, name\nc-1,One,Two\n")
    ran = run("import", "customers", path, "--data-dir", filled)
    assert 2 == ran.code
    assert f"{path}:1: BadUserInput: two columns are called `name`\n" == ran.err


def test_an_archived_customer_is_left_aside(new: Path, run: Run, tmp_path: Path) -> None:
    path = lines(tmp_path / "c.ndjson", {"customer_id": "a", "archived_ms": 1_738_317_600_000}, {"customer_id": "b"})
    assert (2, 1, 1, 0) == run("import", "customers", path, "--data-dir", new, "--json").counts


def test_a_directory_that_fails_ends_the_import(
    filled: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no mistake of a line, and the same import goes on where it stopped."""

    def fail(*_: object) -> bool:
        raise StorageFull("no room left")

    told: list[Problem] = []
    monkeypatch.setitem(KINDS, "usage", fail)
    with Stigg(data_dir=filled, clock=clock) as client, pytest.raises(StorageFull):
        import_lines(client, "usage", [Line(1, {})], file="f", key_prefix="p", on_problem=told.append)
    assert [] == told


def test_a_dry_run_changes_nothing_and_says_what_would_be(filled: Path, run: Run, tmp_path: Path) -> None:
    row = {"customer_id": "customer-1", "feature_id": CALLS, "value": 2}
    path = lines(tmp_path / "usage.ndjson", row, row | {"customer_id": "nobody"})
    before = content(filled)
    ran = run("import", "usage", path, "--data-dir", filled, "--dry-run", "--json")
    assert (2, (2, 1, 0, 1)) == (ran.code, ran.counts)
    assert before == content(filled)
    assert (2, 1, 0, 1) == run("import", "usage", path, "--data-dir", filled, "--json").counts


def test_an_import_keeps_every_digest_and_log(filled: Path, run: Run, tmp_path: Path) -> None:
    rows = [{"customer_id": f"customer-{1 + number % 3}", "feature_id": CALLS, "value": 1} for number in range(300)]
    assert 0 == run("import", "usage", lines(tmp_path / "u.ndjson", *rows), "--data-dir", filled).code
    clock = ManualClock("2025-02-01T10:00:00Z")
    assert [] == list(examine(filled, clock=clock).findings)
    assert (108, 102, 101.5) == tuple(usage(filled, f"customer-{number}") for number in (1, 2, 3))


def test_set_reports_of_one_customer_keep_their_order(filled: Path, run: Run, tmp_path: Path) -> None:
    rows = [
        {"customer_id": "customer-1", "feature_id": "feature-seats", "value": number, "update_behavior": "SET"}
        for number in range(1, 60)
    ]
    run("import", "usage", lines(tmp_path / "u.ndjson", *rows), "--data-dir", filled)
    with Stigg(data_dir=filled, clock=ManualClock("2025-02-01T10:00:00Z")) as client:
        assert 59 == client.get_metered_entitlement("customer-1", "feature-seats").current_usage


def test_a_pipe_from_one_directory_into_another(filled: Path, new: Path, run: Run) -> None:
    run("import", "customers", written_by("customers", filled), "--data-dir", new)
    code = f"{sys.executable} -m stigg_local.cli.main db"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "STIGG_LOCAL_CLOCK": "2025-02-01T10:00:00Z"}
    command = (
        f"{code} export promotional_entitlements --data-dir {filled}"
        f" | {code} import promotions - --format ndjson --data-dir {new} --json"
    )
    ended = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert (2, 2, 0, 0) == Ran(0, ended.stdout, "").counts


def written_by(view: str, directory: Path) -> Path:
    path = directory.parent / f"{view}.ndjson"
    assert 0 == main(["db", "export", view, "--data-dir", str(directory), "-o", str(path)])
    return path


def test_what_cannot_be_imported_says_what_can(filled: Path, run: Run, tmp_path: Path) -> None:
    assert "credits" in run("import", "ledger", "x.csv", "--data-dir", filled).err
    ran = run("import", "usage", tmp_path / "no.csv", "--data-dir", filled)
    assert (2, True) == (ran.code, "cannot be read" in ran.err)
    (tmp_path / "x.txt").write_text("")
    assert "--format csv" in run("import", "usage", tmp_path / "x.txt", "--data-dir", filled).err
    assert 2 == run("import", "usage", tmp_path / "x.txt", "--format", "csv", "--data-dir", tmp_path / "none").code


def test_packed_reports_go_into_another_directory_once(run: Run, tmp_path: Path, clock: ManualClock) -> None:
    old, new, lines = tmp_path / "old", tmp_path / "new", tmp_path / "reports.ndjson"
    for directory in (old, new):
        with Stigg(catalog=CATALOG, data_dir=directory, clock=clock) as client:
            client.provision_customer("customer-1", subscription_params={"plan_id": "plan-app"})
            for number in range(5 if directory == old else 0):
                clock.advance(seconds=1)
                client.report_usage(
                    "customer-1", CALLS, number + 0.5, dimensions={"share": number / 4}, durability="queued"
                )
            client.flush()
    assert 0 == run("export", "measurements", "-o", lines, "--data-dir", old).code
    assert [(5, 0, 5, 0)] == [run("import", "usage", lines, "--data-dir", old, "--json").counts]
    for _ in range(2):
        read, done, skipped, failed = run("import", "usage", lines, "--data-dir", new, "--json").counts
        # A line that was done before has its key, and changes nothing.
        assert (5, 0) == (read, failed)
        assert 5 == done + skipped
    question = "SELECT value, created_at, dimensions FROM measurements ORDER BY 2"
    told = [run("query", question, "--csv", "--data-dir", directory).out for directory in (old, new)]
    assert told[0] == told[1]
    assert 6 == len(told[0].splitlines())
    assert '{""share"":0.0}' in told[0]
