"""Files of earlier versions: brought to the current one once, whole, whoever opens them and whatever kills him."""

import gzip
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from stigg_local import Stigg
from stigg_local.core.period import FOREVER_MS
from stigg_local.errors import SchemaTooNew, StoreCorrupt, StoreError
from stigg_local.store import Tx
from stigg_local.store.backup import examine, quiet
from stigg_local.store.examine_rows import Rows
from stigg_local.store.finding import Findings
from stigg_local.store.read_only import ReadOnly
from stigg_local.store.schema import ADDED_V2, ADDED_V3, CURRENT, OBJECTS, USER_VERSION, schema_version
from stigg_local.testing import ManualClock
from tests.shell.stores import ROOT, opened, start

CUSTOMERS = [f"customer-{number}" for number in range(12)]
CALLS, SEATS = "feature-calls", "feature-seats"
NOON = "2025-01-31T12:00:00Z"


class Old(NamedTuple):
    """A directory as the release of a version left it.

    Twelve customers each reported their number as usage; with version 2, each queued 3, 3 and -1 seats besides.
    """

    directory: Path
    version: int
    seq: int
    reports: int
    seats: int


OPENING = """
import signal
from stigg_local.store import facade
from stigg_local.store.schema import USER_VERSION
left = int(args[1])
inner = facade.FacadeCursor.execute
def execute(self, sql, parameters=()):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return inner(self, sql, parameters)
facade.FacadeCursor.execute = execute
with opened(args[0]) as store:
    print(store.read(lambda tx: len(tx.customer_ids())))
"""


@pytest.fixture(params=[(1, 25, 1, 0), (2, 27, 4, 5)], ids=["v1", "v2"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    version, seq, reports, seats = request.param
    directory = tmp_path / "old"
    shutil.copytree(ROOT / "fixtures" / "store" / f"v{version}", directory)
    packed = directory / "authority.db.gz"
    (directory / "authority.db").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return Old(directory, version, seq, reports, seats)


def version_of(directory: Path) -> int:
    connection = apsw.Connection(str(directory / "authority.db"))
    try:
        version = connection.pragma("user_version")
        assert isinstance(version, int)
        return version
    finally:
        connection.close()


def all_is_there(old: Old, directory: Path | None = None) -> None:
    """Every digest is right and every number is what was reported."""
    directory = directory or old.directory
    with opened(directory) as store:

        def look(tx: Tx) -> None:
            tx.verify_events()
            for number, customer_id in enumerate(CUSTOMERS):
                tx.verify_log(customer_id)
                assert tx.customer_record(customer_id) is not None
                assert (0 if old.version == 1 else None) == tx.due_of(customer_id)
                assert tx.idempotency("provisionCustomer", customer_id.replace("customer", "provision"))
                assert tx.idempotency("reportUsage", customer_id.replace("customer", "report"))
                assert [number * 1_000_000] == values(tx, customer_id, CALLS)
                assert [3_000_000, 3_000_000, -1_000_000][: old.reports - 1] == values(tx, customer_id, SEATS)

        store.read(look)
        used = {customer_id: [row[4] for row in rows.counters] for customer_id, rows in store.load_all()}
        seats = [old.seats * 1_000_000] if old.seats else []
        assert {f"customer-{number}": [number * 1_000_000, *seats] for number in range(12)} == used
    assert USER_VERSION == version_of(directory)


def values(tx: Tx, customer_id: str, feature_id: str) -> list[int]:
    return [row.value for row in tx.measurements(customer_id, "", feature_id, 0, FOREVER_MS)]


def test_a_client_goes_on_where_an_earlier_version_stopped(old: Old) -> None:
    with Stigg(data_dir=old.directory, clock=ManualClock(NOON)) as client:
        for number, customer_id in enumerate(CUSTOMERS):
            assert number == client.get_metered_entitlement(customer_id, CALLS).current_usage
            client.report_usage(customer_id, CALLS, number, idempotency_key=f"report-{number}")
            assert number == client.get_metered_entitlement(customer_id, CALLS).current_usage


def test_reports_are_packed_beside_the_rows_of_an_earlier_version(old: Old) -> None:
    with Stigg(data_dir=old.directory, clock=ManualClock(NOON)) as client:
        for value in (2, 3):
            client.report_usage("customer-4", CALLS, value, durability="queued")
        client.flush()
        assert 9 == client.get_metered_entitlement("customer-4", CALLS).current_usage
    with opened(old.directory) as store:
        store.read(lambda tx: tx.verify_log("customer-4"))
        assert [4_000_000, 2_000_000, 3_000_000] == store.read(lambda tx: values(tx, "customer-4", CALLS))


def test_a_file_of_an_earlier_version_keeps_everything(old: Old) -> None:
    assert old.version == version_of(old.directory)
    all_is_there(old)


def test_every_row_of_a_migrated_file_matches_its_digest(old: Old) -> None:
    with opened(old.directory):
        pass
    findings = Findings()
    connection = apsw.Connection(str(old.directory / "authority.db"))
    rows = Rows(connection, findings, lambda *_: None)
    rows.run()
    assert [] == list(findings.listed())
    assert 12 == rows.counts["customer_record"]
    assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()


def test_migrating_does_not_begin_an_epoch(old: Old) -> None:
    with opened(old.directory) as store:
        assert (1, old.seq) == (store.status()["epoch"], store.status()["seq"])


def test_a_migrated_file_has_the_schema_of_a_new_one(old: Old, tmp_path: Path) -> None:
    texts = []
    for directory in (old.directory, tmp_path / "new"):
        with opened(directory):
            pass
        connection = apsw.Connection(str(directory / "authority.db"))
        texts.append(set(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")))
        connection.close()
    assert texts[0] == texts[1]
    assert set(CURRENT.items()) <= texts[0]


def test_an_earlier_version_is_frozen(old: Old) -> None:
    """Its text is compared with what is in files out there."""
    connection = apsw.Connection(str(old.directory / "authority.db"))
    stored = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE '%sqlite_%'"))
    connection.close()
    assert OBJECTS[old.version] == stored


def test_an_old_file_without_all_of_its_tables_is_damaged_not_migrated(old: Old) -> None:
    connection = apsw.Connection(str(old.directory / "authority.db"))
    connection.execute("DROP TABLE ledger")
    with pytest.raises(StoreCorrupt, match="`ledger` differs"):
        schema_version(connection, "file")
    connection.close()


def test_an_older_program_refuses_the_new_file(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(old.directory):
        pass
    monkeypatch.setattr("stigg_local.store.schema.USER_VERSION", old.version)
    refusal = f"schema version 3, this program knows {old.version}"
    with pytest.raises(SchemaTooNew, match=refusal), opened(old.directory):
        pass


def killed_at(directory: Path, number: int) -> bool:
    """Whether the process that opened the file was killed at the statement, before it was done."""
    process = start(OPENING, directory, number)
    output = process.communicate()[0]
    if process.returncode == 0:
        assert "12" == output.strip()
        return False
    assert -signal.SIGKILL == process.returncode
    return True


@pytest.mark.parametrize("left", [0.2, 0.6, 0.9])
def test_a_killed_migration_is_finished_at_the_next_opening(old: Old, left: float) -> None:
    """It is killed after that part of the statements that bring the file up to date."""
    statements = len(ADDED_V3) + (len(ADDED_V2) if old.version == 1 else 0)
    assert killed_at(old.directory, 3 + round(left * statements))
    assert version_of(old.directory) < USER_VERSION
    all_is_there(old)


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_a_migration_killed_at_any_statement_is_finished_at_the_next_opening(old: Old, tmp_path: Path) -> None:
    versions: list[int] = []
    while True:
        directory = tmp_path / f"killed-{len(versions)}"
        shutil.copytree(old.directory, directory)
        was_killed = killed_at(directory, len(versions))
        versions.append(version_of(directory))
        all_is_there(old, directory)
        if not was_killed:
            break
    assert versions == sorted(versions)
    assert set(range(old.version, USER_VERSION + 1)) == set(versions)


def test_processes_that_open_an_old_file_at_once_migrate_it_once(old: Old) -> None:
    processes = [start(OPENING, old.directory, -1) for _ in range(3)]
    assert ["12"] * 3 == [process.communicate()[0].strip() for process in processes]
    connection = apsw.Connection(str(old.directory / "authority.db"))
    names = connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
    connection.close()
    assert [("v1",), ("v2",), ("v3",)] == names
    all_is_there(old)


def test_a_backup_of_an_old_file_can_be_looked_at_and_queried(old: Old) -> None:
    path = str(old.directory / "authority.db")
    copied = examine(path, quiet, hint="")
    assert () == copied.findings
    assert ("production", old.seq, 12) == (copied.environment, copied.seq, copied.rows["customer_record"])
    assert old.version == copied.schema_version
    with ReadOnly(path, environment="production", now_ms=0) as shown:
        rows = {name: rows for name, _, rows, _ in shown.counted()}
    assert (12, 12 * old.reports) == (rows["customers"], rows["measurements"])
    assert (old.version > 1) == ({"events", "holds", "due_boundaries", "usage_events"} <= rows.keys())
    assert old.version == version_of(old.directory)


def test_an_old_file_in_a_directory_that_is_read_only_is_served_as_it_is(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    with apsw.Connection(str(old.directory / "authority.db")) as connection:
        # Its index of the log has to be there already, for nobody may make one.
        connection.execute("SELECT count(*) FROM customer").fetchall()
        monkeypatch.setattr("stigg_local.store.site.os.access", lambda *_: False)
        with opened(old.directory) as store:
            assert 12 == sum(1 for _ in store.load_all())
            store.read(lambda tx: tx.verify_log("customer-3"))
            assert [3_000_000] == store.read(lambda tx: values(tx, "customer-3", CALLS))
            assert {("", CALLS)} <= store.read(lambda tx: tx.has_measurements("customer-3"))
            with pytest.raises(StoreError, match="read-only"):
                store.scrub()
    connection.close()
    assert old.version == version_of(old.directory)
