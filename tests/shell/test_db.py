"""`db tables|query|export|browse`: readable rows in every format, and nothing is ever changed by them."""

import csv
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from stigg_local import Stigg
from stigg_local.cli.main import main
from stigg_local.store.exchange import read
from stigg_local.store.read_only import ReadOnly
from stigg_local.store.views import VIEWS
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, FULL_CATALOG, fill, live, start


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The objects on the lines of standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


def filled_in(data_dir: Path) -> Path:
    """A directory with something in every table of customers, usage and credits, closed."""
    clock = ManualClock("2025-01-31T10:00:00Z")
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock) as client:
        for _ in fill(client):
            clock.advance(seconds=1)
        client.provision_customer("customer-1", email="one@example.com", metadata={"tier": "a|b"})
        client.report_usage("customer-1", "feature-calls", 1, dimensions={"region": "eu", "share": 0.5})
    return data_dir


@pytest.fixture(scope="module")
def whole_life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with something in every table and in every view."""
    data_dir = tmp_path_factory.mktemp("life") / "stigg"
    clock = ManualClock("2025-01-31T10:00:00Z")
    with Stigg(catalog=FULL_CATALOG, data_dir=data_dir, clock=clock) as client:
        for _ in fill(client):
            clock.advance(seconds=1)
        live(client)
    return data_dir


@pytest.fixture
def lived(run: Run, whole_life: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a `db` command on it."""
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", str(whole_life))
    return run


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests that only read it."""
    return filled_in(tmp_path_factory.mktemp("db") / "stigg")


@pytest.fixture
def own(data_dir: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    """One of the test's own, which `run` takes then."""
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", str(filled_in(data_dir)))
    return data_dir


@pytest.fixture
def run(filled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a `db` command on it in this process."""
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "2025-02-01T00:00:00Z")
    monkeypatch.setenv("STIGG_LOCAL_DATA_DIR", str(filled))

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main(["db", *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return run


def content(directory: Path) -> dict[str, bytes]:
    """The bytes of every file, SQLite's index of its log apart."""
    return {name: (directory / name).read_bytes() for name in os.listdir(directory) if not name.endswith("-shm")}


# ---------------------------------------------------------------------- tables


def test_tables_lists_views_and_stored_tables_with_rows_and_bytes(run: Run) -> None:
    found = {row["name"]: row for row in json.loads(run("tables", "--json").out)["tables"]}
    assert set(VIEWS) == {name for name, row in found.items() if row["kind"] == "view"}
    assert {"name": "customers", "kind": "view", "rows": 3, "bytes": None} == found["customers"]
    # A page of its own, and one of the index on it.
    assert ("table", 3, 8192) == tuple(found["customer"].values())[1:]
    assert ("table", 1, 4096) == tuple(found["sequence"].values())[1:]
    assert found["main.ledger"]["rows"] == found["ledger"]["rows"] > 0
    assert {None} == {row["bytes"] for row in found.values() if row["kind"] == "view"}
    assert all(row["bytes"] >= 4096 for row in found.values() if row["kind"] == "table")


def test_tables_in_a_live_directory_counts_what_was_written_last(own: Path, run: Run) -> None:
    with Stigg(data_dir=own) as client:
        before = json.loads(run("tables", "--json").out)
        client.report_usage("customer-1", "feature-calls", 1)
        after = json.loads(run("tables", "--json").out)
    count = {row["name"]: row["rows"] for row in before["tables"]}["measurements"]
    assert count + 1 == {row["name"]: row["rows"] for row in after["tables"]}["measurements"]


def test_no_readable_name_is_empty_after_a_full_life(lived: Run) -> None:
    assert [] == [row["name"] for row in json.loads(lived("tables", "--json").out)["tables"] if row["rows"] == 0]


# ---------------------------------------------------------------------- views


def test_events_show_what_happened_and_when(lived: Run) -> None:
    rows = lived("query", "SELECT * FROM events WHERE customer_id = 'customer-4' ORDER BY seq, ord", "--ndjson").rows
    assert ["customer.created", "subscription.created", "trial.started", "entitlement.usage_exceeded"] == [
        row["type"] for row in rows
    ][:4]
    assert {"application"} == {row["actor"] for row in rows}
    trial = rows[2]
    assert trial["subscription_id"].startswith("subscription-trial-")
    assert trial["at"] == rows[0]["at"]


def test_reservations_show_what_they_hold(lived: Run) -> None:
    columns = "hold_id, feature_id, currency_id, amount, credits, is_current"
    rows = lived("query", f"SELECT {columns} FROM holds ORDER BY hold_id", "--ndjson").rows
    assert [
        {
            "hold_id": "hold-1",
            "feature_id": "feature-calls",
            "currency_id": None,
            "amount": 2,
            "credits": None,
            "is_current": 1,
        },
        {
            "hold_id": "hold-2",
            "feature_id": None,
            "currency_id": "currency-ai",
            "amount": 3,
            "credits": 3,
            "is_current": 1,
        },
    ] == rows


def test_usage_of_raw_events_is_usage_like_any_other(lived: Run) -> None:
    statement = "SELECT feature_id, used FROM usage WHERE customer_id = 'customer-4' ORDER BY feature_id"
    assert [("feature-calls", 9), ("feature-tokens", 150), ("feature-users", 3)] == [
        (row["feature_id"], row["used"]) for row in lived("query", statement, "--ndjson").rows
    ]
    events = lived(
        "query", "SELECT event_name, dimensions FROM usage_events ORDER BY seq, created_ms", "--ndjson"
    ).rows
    assert 5 == len(events)
    assert {"asked"} == {row["event_name"] for row in events}


def test_boundaries_in_time_are_listed(lived: Run) -> None:
    rows = lived("query", "SELECT customer_id, due_at, is_due FROM due_boundaries", "--ndjson").rows
    assert [("customer-4", "2025-02-14", 0)] == [
        (row["customer_id"], row["due_at"][:10], row["is_due"]) for row in rows
    ]


def test_usage_shows_decimal_values_and_instants(run: Run) -> None:
    rows = run(
        "query", "SELECT * FROM usage WHERE customer_id = 'customer-3' AND feature_id = 'feature-calls'", "--ndjson"
    ).rows
    assert [
        {
            "customer_id": "customer-3",
            "feature_id": "feature-calls",
            "resource_id": None,
            "used": 1.5,
            "from_at": rows[0]["from_at"],
            "from_ms": rows[0]["from_ms"],
            "to_at": None,
            "to_ms": None,
            "is_current": 1,
            "raw_value": 1_500_000,
            "seq": rows[0]["seq"],
        }
    ] == rows


def test_measurements_show_what_was_reported(run: Run) -> None:
    (row,) = run("query", "SELECT * FROM measurements WHERE dimensions IS NOT NULL", "--ndjson").rows
    assert {"region": "eu", "share": 0.5} == row["dimensions"]
    assert (1, "DELTA", "2025-01-31T10:00:17.000Z") == (row["value"], row["update_behavior"], row["created_at"])


def test_subscriptions_show_their_status_at_the_time_of_asking(run: Run) -> None:
    rows = run("query", "SELECT plan_id, status FROM subscriptions ORDER BY 1", "--ndjson").rows
    assert [("plan-app", "ACTIVE"), ("plan-site", "ACTIVE"), ("plan-site", "ACTIVE"), ("plan-small", "ACTIVE")] == [
        tuple(row.values()) for row in rows
    ]


def test_entitlements_show_every_contribution_with_its_source(run: Run) -> None:
    rows = run(
        "query",
        "SELECT customer_id, kind, package_id, resource_id, usage_limit FROM entitlements"
        " WHERE feature_id = 'feature-calls' ORDER BY 1, 3, 4",
        "--ndjson",
    ).rows
    assert [
        ("customer-1", "SUBSCRIPTION", "plan-app", None, 100),
        ("customer-2", "SUBSCRIPTION", "plan-site", "site-1", 9),
        ("customer-2", "SUBSCRIPTION", "plan-site", "site-2", 9),
        ("customer-2", "SUBSCRIPTION", "plan-small", None, 2),
        ("customer-3", "PROMOTIONAL", None, None, 11),
    ] == [tuple(row.values()) for row in rows]
    (count,) = run("query", "SELECT count(*) AS n FROM sources WHERE is_current", "--ndjson").rows
    assert {"n": 6} == count


def test_credits_and_ledger_agree(run: Run) -> None:
    question = (
        "SELECT g.customer_id, g.currency_id, sum(g.remaining) AS remaining, (SELECT sum(l.amount) FROM ledger AS l"
        " WHERE l.customer_id = g.customer_id) AS moved FROM credit_grants AS g GROUP BY 1, 2 ORDER BY 1"
    )
    rows = run("query", question, "--ndjson").rows
    assert [("customer-1", "currency-ai", 90, 90), ("customer-2", "currency-ai", 7, 7)] == [
        tuple(row.values()) for row in rows
    ]


def test_a_number_that_no_float_is_stays_exact(own: Path, run: Run) -> None:
    with Stigg(data_dir=own) as client:
        client.report_usage("customer-1", "feature-images", 9_007_199_254, idempotency_key="big")
        client.report_usage("customer-1", "feature-images", 0.123457, idempotency_key="small")
    (row,) = run("query", "SELECT used, raw_value FROM usage WHERE feature_id = 'feature-images'", "--ndjson").rows
    assert row["raw_value"] == 6_000_000 + 9_007_199_254_123_457
    assert str(row["used"]) in ("9007199260.123457",)


# ---------------------------------------------------------------------- queries


def test_a_query_takes_parameters_by_name(run: Run) -> None:
    ran = run(
        "query", "SELECT :c AS c, :n + 1 AS n, typeof(:t) AS t", "-p", "c", "it's", "-p", "n", "2", "-p", "t", '"2"'
    )
    assert (0, ["c     n  t", "it's  3  text"]) == (ran.code, ran.out.splitlines())
    big = run("query", "SELECT typeof(:a) AS a, typeof(:b) AS b", "-p", "a", str(2**63 - 1), "-p", "b", str(2**63))
    assert (0, ["a        b", "integer  real"]) == (big.code, big.out.splitlines())
    ran = run("query", "SELECT 1", "-p", "b", "1")
    assert (2, "error: BadUserInput: the statement has no parameter `:b` (leave it out)\n") == (ran.code, ran.err)
    for given in ((), ("-p", "b", "1")):
        ran = run("query", "SELECT :a", *given)
        assert (2, True) == (ran.code, "(-p NAME VALUE)" in ran.err)


FORMATS = {
    "--csv": 'a,b,c\n1,"x|y\n",\n',
    "--ndjson": '{"a": 1, "b": "x|y\\n", "c": null}\n',
    "--markdown": "| a | b | c |\n| --- | --- | --- |\n| 1 | x\\|y\\\\n |  |\n",
    "--json": '{"columns": ["a", "b", "c"], "rows": [{"a": 1, "b": "x|y\\n", "c": null}]}\n',
}


@pytest.mark.parametrize("option", FORMATS)
def test_a_query_prints_every_format(run: Run, option: str) -> None:
    statement = "SELECT 1 AS a, 'x|y' || char(10) AS b, NULL AS c"
    assert FORMATS[option] == run("query", statement, option).out
    assert FORMATS[option] == run("query", statement, "--format", option.removeprefix("--")).out


WRITING = (
    "DELETE FROM customers",
    "DELETE FROM customer",
    "UPDATE meta SET value = 1",
    "INSERT INTO measurement SELECT * FROM measurement",
    "DROP TABLE customer",
    "DROP VIEW customers",
    "CREATE TABLE x (a)",
    "CREATE TEMP TABLE x (a)",
    "CREATE VIEW x AS SELECT 1",
    "WITH x AS (SELECT 1) DELETE FROM customer",
    "EXPLAIN DELETE FROM customer",
    "ATTACH 'other.db' AS other",
    "VACUUM INTO 'other.db'",
    "VACUUM",
    "REINDEX",
    "ANALYZE",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT x",
    "PRAGMA journal_mode = delete",
    "PRAGMA query_only = 0",
    "PRAGMA writable_schema = 1",
    "PRAGMA user_version = 7",
    "PRAGMA wal_checkpoint",
    "PRAGMA optimize",
    "SELECT load_extension('x')",
    "SELECT writefile('x', 'y')",
    "SELECT 1; DELETE FROM customer",
    "",
    "  -- nothing",
    "SELEC 1",
)


def test_what_is_refused_is_named(run: Run) -> None:
    for statement, what in (("DELETE FROM customer", "DELETE"), ("SELECT load_extension('x')", "load_extension")):
        ran = run("query", statement)
        assert ran.err.startswith("error: ReadOnly: the statement would change something")
        assert f"`{what}`" in ran.err


@pytest.mark.parametrize("statement", WRITING)
def test_what_would_change_something_is_refused_and_changes_nothing(filled: Path, run: Run, statement: str) -> None:
    before = content(filled)
    ran = run("query", statement)
    assert (2, "") == (ran.code, ran.out)
    assert ran.err.startswith("error: ")
    assert ran.err.rstrip().endswith(")"), "no way out"
    assert before == content(filled)
    assert not Path("other.db").exists()


def test_reading_commands_change_nothing_in_the_directory(filled: Path, run: Run, tmp_path: Path) -> None:
    before = content(filled)
    assert 0 == run("tables").code
    assert 0 == run("query", "SELECT * FROM customers").code
    assert 0 == run("export", "ledger", "-o", tmp_path / "ledger.csv").code
    assert 0 == run("browse", "-o", tmp_path / "browse").code
    assert before == content(filled)
    connection = apsw.Connection(str(filled / "authority.db"), flags=apsw.SQLITE_OPEN_READONLY)
    assert [] == connection.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall()
    connection.close()


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {} FROM n"


def test_a_statement_that_takes_too_long_is_stopped(run: Run) -> None:
    begun = time.monotonic()
    ran = run("query", ENDLESS.format("count(*)"), "--seconds", "0.2")
    assert (3, True) == (ran.code, "QueryTooLong" in ran.err)
    assert time.monotonic() - begun < 10


def test_rows_are_bounded_and_the_bound_is_told(run: Run) -> None:
    ran = run("query", ENDLESS.format("x"))
    assert (0, 1001) == (ran.code, ran.out.count("\n"))
    assert "these are the first 1,000 rows" in ran.err
    ran = run("query", ENDLESS.format("x"), "--limit", "3", "--csv")
    assert (0, "x\n1\n2\n3\n") == (ran.code, ran.out)
    assert "there are more" in ran.err
    assert "" == run("query", "SELECT 1", "--limit", "1").err


def test_a_value_that_would_fill_the_memory_is_not_built(run: Run) -> None:
    ran = run("query", "SELECT length(randomblob(100000000))")
    assert (2, True) == (ran.code, "larger than" in ran.err)


def test_a_wrong_name_is_told_with_the_nearest(run: Run) -> None:
    assert "did you mean `customers`" in run("query", "SELECT * FROM custommers").err
    ran = run("export", "mesurements")
    assert (2, True) == (ran.code, "did you mean `measurements`" in ran.err)


def test_a_query_sees_one_state_while_others_write(own: Path) -> None:
    with (
        Stigg(data_dir=own) as client,
        ReadOnly(str(own / "authority.db"), environment="production", now_ms=0) as source,
    ):
        _, rows = source.query("SELECT a.seq FROM measurements AS a, measurements AS b")
        seen = [next(rows)]
        client.report_usage("customer-1", "feature-calls", 1)
        seen += rows
    count = round(len(seen) ** 0.5)
    assert count**2 == len(seen)


def test_a_query_works_in_a_directory_that_is_broken_in_one_row(own: Path, run: Run) -> None:
    connection = apsw.Connection(str(own / "authority.db"))
    connection.execute("UPDATE credit_grant SET body = x'c1ff'")
    connection.close()
    rows = run("query", "SELECT grant_id, amount FROM credit_grants", "--ndjson").rows
    assert [None] * 3 == [row["amount"] for row in rows]


# ---------------------------------------------------------------------- exports


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_reads_back_from_csv_and_ndjson_as_it_was(run: Run, view: str, tmp_path: Path) -> None:
    shown = run("export", view).rows
    for kind in ("csv", "ndjson"):
        path = tmp_path / f"x.{kind}"
        assert 0 == run("export", view, "--format", kind, "--output", path).code
        with path.open("rb") as file:
            lines = [line.fields for line in read(kind, file)]
        assert len(shown) == len(lines)
        if kind == "ndjson":
            assert json.loads(json.dumps(lines, default=float)) == shown
        else:
            assert [{name for name, value in row.items() if value not in (None, "")} for row in shown] == [
                set(line or ()) for line in lines
            ]
        assert 0o600 == path.stat().st_mode & 0o777


def test_an_export_that_fails_leaves_the_former_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("former")
    assert 2 == run("export", "nothing", "-o", path).code
    ran = run("export", "customers", "-o", tmp_path / "no" / "x.csv")
    assert (2, True) == (ran.code, "make it first" in ran.err)
    assert "former" == path.read_text()
    assert {"x.csv"} == set(os.listdir(tmp_path))


def test_an_export_is_csv_that_others_read(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("export", "customers", "--csv").out)))
    assert ["customer-1", "customer-2", "customer-3"] == [row["customer_id"] for row in rows]
    assert {"tier": "a|b"} == json.loads(rows[0]["metadata"])


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(args[0]), int(args[0])))
from stigg_local.cli.main import main
sys.exit(main(args[1:]))
"""


@pytest.mark.parametrize("command", [("export", "idempotency_keys"), ("browse",)])
def test_a_full_disk_is_an_error_with_a_way_out_and_leaves_nothing(
    filled: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    where = aside / "x"
    process = start(LIMITED, 2000, "db", *command, "--output", where, "--data-dir", filled, "--json")
    told = json.loads(process.communicate()[0])
    assert (1, True) == (process.returncode, told["code"] in ("StorageFull", "StoreError"))
    assert told["hint"]
    assert [] == os.listdir(aside)


# ---------------------------------------------------------------------- browse


def test_browse_makes_a_copy_of_tables_and_views_that_any_sqlite_reads(run: Run, tmp_path: Path) -> None:
    where = tmp_path / "browse"
    told = json.loads(run("browse", "-o", where, "--json").out)
    assert {"stigg.db", "metadata.json"} == set(os.listdir(where))
    assert ["datasette", "--immutable", str(where / "stigg.db")] == told["command"].split()[:3]
    code = (
        "import sqlite3, json, sys; c = sqlite3.connect(sys.argv[1]);"
        "print(json.dumps([c.execute(q).fetchall() for q in sys.argv[2:]]))"
    )
    questions = (
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
        "SELECT * FROM usage_now WHERE customer_id = 'customer-3'",
        "SELECT * FROM credits_left",
        "PRAGMA integrity_check",
    )
    process = start(f"sys.argv[1:] = args\n{code}", told["file"], *questions)
    tables, usage, credits, check = json.loads(process.communicate()[0])
    assert sorted((*VIEWS, "usage_now", "subscriptions_by_plan", "credits_left")) == [name for (name,) in tables]
    assert [["customer-3", "feature-calls", None, 1.5, None]] == usage
    assert [["customer-2", "currency-ai", 7], ["customer-1", "currency-ai", 90]] == credits
    assert [["ok"]] == check
    queries = json.loads((where / "metadata.json").read_text())["databases"]["stigg"]["queries"]
    assert {"usage_now", "subscriptions_by_plan", "credits_left"} == set(queries)
    ran = run("browse", "-o", where)
    assert (2, True) == (ran.code, "is there already" in ran.err)


def test_browse_keeps_the_values_and_their_types(run: Run, tmp_path: Path) -> None:
    run("browse", "-o", tmp_path / "browse")
    connection = apsw.Connection(str(tmp_path / "browse" / "stigg.db"))
    for view in VIEWS:
        order = "ORDER BY customer_id, feature_id, start_ms, resource_id" if view == "entitlements" else ""
        shown = run("query", f"SELECT * FROM {view} {order}", "--csv").out
        copied = connection.execute(f"SELECT * FROM {view} {order}").fetchall()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([["" if value is None else value for value in row] for row in copied])
        assert shown.partition("\n")[2] == text.getvalue()
    connection.close()
