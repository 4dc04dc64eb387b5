"""Files of the first version: brought to the current one once, whole, whoever opens them and whatever kills him."""

import gzip
import shutil
import signal
from pathlib import Path

import apsw
import pytest

from stigg_local import Stigg
from stigg_local.errors import SchemaTooNew, StoreCorrupt, StoreError
from stigg_local.store import Tx
from stigg_local.store.backup import examine, quiet
from stigg_local.store.examine_rows import Rows
from stigg_local.store.finding import Findings
from stigg_local.store.read_only import ReadOnly
from stigg_local.store.schema import ADDED_V2, CURRENT, OBJECTS_V1, USER_VERSION, schema_version
from stigg_local.testing import ManualClock
from tests.shell.stores import ROOT, opened, start

# Made by the release that wrote this version: twelve customers, who each reported their number as usage.
FIXTURE = ROOT / "fixtures" / "store" / "v1"
CUSTOMERS = [f"customer-{number}" for number in range(12)]
NOON = "2025-01-31T12:00:00Z"

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
    print(store.read(lambda tx: len(tx.due_before(0, 100))))
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A directory as the first version left it."""
    directory = tmp_path / "old"
    shutil.copytree(FIXTURE, directory)
    packed = directory / "authority.db.gz"
    (directory / "authority.db").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return directory


def version_of(directory: Path) -> int:
    connection = apsw.Connection(str(directory / "authority.db"))
    try:
        version = connection.pragma("user_version")
        assert isinstance(version, int)
        return version
    finally:
        connection.close()


def all_is_there(directory: Path) -> None:
    """Every digest is right and every number is what was reported."""
    with opened(directory) as store:

        def look(tx: Tx) -> None:
            tx.verify_events()
            for customer_id in CUSTOMERS:
                tx.verify_log(customer_id)
                assert tx.customer_record(customer_id) is not None
                assert 0 == tx.due_of(customer_id)
                assert tx.idempotency("provisionCustomer", customer_id.replace("customer", "provision"))
                assert tx.idempotency("reportUsage", customer_id.replace("customer", "report"))

        store.read(look)
        used = {customer_id: sorted({row[4] for row in rows.counters}) for customer_id, rows in store.load_all()}
        assert {f"customer-{number}": [number * 1_000_000] for number in range(12)} == used
    assert USER_VERSION == version_of(directory)


def test_a_client_goes_on_where_the_first_version_stopped(old: Path) -> None:
    with Stigg(data_dir=old, clock=ManualClock(NOON)) as client:
        for number, customer_id in enumerate(CUSTOMERS):
            assert number == client.get_metered_entitlement(customer_id, "feature-calls").current_usage
            client.report_usage(customer_id, "feature-calls", number, idempotency_key=f"report-{number}")
            assert number == client.get_metered_entitlement(customer_id, "feature-calls").current_usage


def test_a_file_of_the_first_version_keeps_everything(old: Path) -> None:
    assert 1 == version_of(old)
    all_is_there(old)


def test_every_row_of_a_migrated_file_matches_its_digest(old: Path) -> None:
    with opened(old):
        pass
    findings = Findings()
    connection = apsw.Connection(str(old / "authority.db"))
    rows = Rows(connection, findings, lambda *_: None)
    rows.run()
    assert [] == list(findings.listed())
    assert 12 == rows.counts["customer_record"]
    assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()


def test_migrating_does_not_begin_an_epoch(old: Path) -> None:
    with opened(old) as store:
        assert (1, 25) == (store.status()["epoch"], store.status()["seq"])


def test_a_migrated_file_has_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    texts = []
    for directory in (old, tmp_path / "new"):
        with opened(directory):
            pass
        connection = apsw.Connection(str(directory / "authority.db"))
        texts.append(set(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")))
        connection.close()
    assert texts[0] == texts[1]
    assert set(CURRENT.items()) <= texts[0]


def test_the_first_version_is_frozen(old: Path) -> None:
    """Its text is compared with what is in files out there."""
    connection = apsw.Connection(str(old / "authority.db"))
    stored = dict(connection.execute("SELECT name, sql FROM sqlite_schema"))
    connection.close()
    assert OBJECTS_V1 == {name: text for name, text in stored.items() if name in OBJECTS_V1}


def test_an_old_file_without_all_of_its_tables_is_damaged_not_migrated(old: Path) -> None:
    connection = apsw.Connection(str(old / "authority.db"))
    connection.execute("DROP TABLE ledger")
    with pytest.raises(StoreCorrupt, match="`ledger` differs"):
        schema_version(connection, "file")
    connection.close()


def test_an_older_program_refuses_the_new_file(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(old):
        pass
    monkeypatch.setattr("stigg_local.store.schema.USER_VERSION", 1)
    with pytest.raises(SchemaTooNew, match="schema version 2, this program knows 1"), opened(old):
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


@pytest.mark.parametrize("number", [4, len(ADDED_V2) + 3])
def test_a_killed_migration_is_finished_at_the_next_opening(old: Path, number: int) -> None:
    assert killed_at(old, number)
    assert 1 == version_of(old)
    all_is_there(old)


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_a_migration_killed_at_any_statement_is_finished_at_the_next_opening(old: Path, tmp_path: Path) -> None:
    number = 0
    while True:
        directory = tmp_path / f"killed-{number}"
        shutil.copytree(old, directory)
        was_killed = killed_at(directory, number)
        all_is_there(directory)
        if not was_killed:
            break
        number += 1
    assert number > len(ADDED_V2)


def test_processes_that_open_an_old_file_at_once_migrate_it_once(old: Path) -> None:
    processes = [start(OPENING, old, -1) for _ in range(3)]
    assert ["12"] * 3 == [process.communicate()[0].strip() for process in processes]
    connection = apsw.Connection(str(old / "authority.db"))
    names = connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
    connection.close()
    assert [("v1",), ("v2",)] == names
    all_is_there(old)


def test_a_backup_of_an_old_file_can_be_looked_at_and_queried(old: Path) -> None:
    path = str(old / "authority.db")
    copied = examine(path, quiet, hint="")
    assert () == copied.findings
    assert ("production", 25, 12) == (copied.environment, copied.seq, copied.rows["customer_record"])
    assert 1 == copied.schema_version
    with ReadOnly(path, environment="production", now_ms=0) as shown:
        rows = {name: rows for name, _, rows, _ in shown.counted()}
    assert (12, 12) == (rows["customers"], rows["measurements"])
    assert not {"events", "holds", "due_boundaries", "usage_events"} & rows.keys()
    assert 1 == version_of(old)


def test_an_old_file_in_a_directory_that_is_read_only_is_served_as_it_is(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with apsw.Connection(str(old / "authority.db")) as connection:
        # Its index of the log has to be there already, for nobody may make one.
        connection.execute("SELECT count(*) FROM customer").fetchall()
        monkeypatch.setattr("stigg_local.store.site.os.access", lambda *_: False)
        with opened(old) as store:
            assert 12 == sum(1 for _ in store.load_all())
            with pytest.raises(StoreError, match="read-only"):
                store.scrub()
    connection.close()
    assert 1 == version_of(old)
