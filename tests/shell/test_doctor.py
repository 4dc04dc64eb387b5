"""`doctor` on healthy directories, where it says nothing, and on directories with one planted fault each."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import apsw
import msgspec
import pytest

from stigg_local import Stigg
from stigg_local.cli.main import main
from stigg_local.core.lookalike import skeleton
from stigg_local.doctor import Report, examine
from stigg_local.errors import InvalidInput
from stigg_local.store import examine_files
from stigg_local.store.digest import COUNTER, CUSTOMER, row_digest, row_sum, slot_of, sum_bytes
from stigg_local.testing import ManualClock
from tests.builders import grant
from tests.shell.clients import CATALOG, FULL_CATALOG, NOON, ROOT, fill, live, start

TABLES = (
    "meta",
    "sequence",
    "catalog_item",
    "catalog_file",
    "catalog_root",
    "customer",
    "customer_slot",
    "customer_record",
    "usage_counter",
    "credit_grant",
    "measurement",
    "ledger",
    "idempotency",
    "subscription_owner",
)
# Of what the life of a subscription, raw events, reservations and queued reports leave.
LIFE_TABLES = (
    "hold",
    "measurement_pack",
    "usage_event",
    "meter_value",
    "usage_threshold",
    "due",
    "audit",
    "audit_root",
    "checkout",
)


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalog") / "catalog.json"
    path.write_text(json.dumps(CATALOG))
    return path


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock, catalog: Path) -> tuple[Path, Path]:
    """A filled directory that was closed, and the same with all its commits in the log, as after a kill."""
    root = tmp_path_factory.mktemp("originals")
    closed, killed = root / "closed", root / "killed"
    client = Stigg(catalog=catalog, data_dir=closed, clock=clock)
    for _ in fill(client):
        clock.advance(seconds=1)
    shutil.copytree(closed, killed, ignore=shutil.ignore_patterns("*-shm"))
    client.close()
    connection = apsw.Connection(os.fspath(closed / "authority.db"))
    # A connection that has read nothing yet checkpoints nothing.
    connection.execute("SELECT count(*) FROM customer").fetchall()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    return closed, killed


@pytest.fixture(scope="module")
def whole_life(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Path:
    """A directory with something in every table."""
    directory = tmp_path_factory.mktemp("life") / "stigg"
    with Stigg(catalog=FULL_CATALOG, data_dir=directory, clock=clock) as client:
        for _ in fill(client):
            clock.advance(seconds=1)
        live(client)
    return directory


@pytest.fixture
def lived(tmp_path: Path, whole_life: Path) -> Path:
    return Path(shutil.copytree(whole_life, tmp_path / "life"))


@pytest.fixture
def healthy(tmp_path: Path, originals: tuple[Path, Path]) -> Path:
    return Path(shutil.copytree(originals[0], tmp_path / "stigg"))


@pytest.fixture
def killed(tmp_path: Path, originals: tuple[Path, Path]) -> Path:
    return Path(shutil.copytree(originals[1], tmp_path / "stigg"))


def state(directory: Path) -> dict[str, tuple[int, int, int, str]]:
    """The directory and every file with its mode, size, time of change and bytes."""
    seen = {}
    for path in (directory, *sorted(directory.iterdir())):
        found = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        seen[path.name] = (found.st_mode, found.st_size, found.st_mtime_ns, digest)
    return seen


def doctor(directory: Path, clock: ManualClock, **arguments: Any) -> Report:
    """What doctor says; it must have changed nothing."""
    before = state(directory)
    report = examine(directory, clock=clock, **arguments)
    assert before == state(directory)
    assert json.loads(report.to_json()) == report.to_dict()
    assert all(finding.way_out and finding.where and finding.what for finding in report.findings)
    assert not set(report.findings) & set(report.notes)
    return report


def codes(report: Report) -> list[str]:
    return [finding.id for finding in report.findings]


def run_sql(directory: Path, statement: str, bindings: tuple[Any, ...] = ()) -> None:
    """Change the database as damage would, behind the engine's back."""
    connection = apsw.Connection(os.fspath(directory / "authority.db"))
    connection.execute(statement, bindings)
    assert connection.changes() or not statement.startswith(("UPDATE", "DELETE"))
    connection.close()


# Healthy. ---------------------------------------------------------------------------------------------------


def test_a_closed_directory_is_healthy(healthy: Path, clock: ManualClock, catalog: Path) -> None:
    report = doctor(healthy, clock, catalog=catalog)
    assert () == report.findings
    assert report.is_healthy
    assert () == report.notes
    assert {"open": False, "seq": 18, "state": "applied"} == {
        "open": report.facts["processes"]["open"],
        "seq": report.facts["database"]["seq"],
        "state": report.facts["catalog"]["state"],
    }


def test_a_directory_whose_commits_are_all_in_the_log_is_healthy(killed: Path, clock: ManualClock) -> None:
    assert not (killed / "authority.db-shm").exists()
    assert () == doctor(killed, clock).findings
    assert not (killed / "authority.db-shm").exists()


def test_an_open_client_of_the_same_process_keeps_its_locks(healthy: Path, clock: ManualClock) -> None:
    """Closing a descriptor of the database in this process would drop them, and a second one would see a free file."""
    with Stigg(data_dir=healthy, clock=clock) as client:
        client.report_usage("customer-1", "feature-calls", 1)
        for _ in range(2):
            report = examine(healthy, clock=clock)
            assert () == report.findings
            assert report.facts["processes"]["open"]
        wait_for(lambda: bool(examine(healthy, clock=clock).facts["processes"]["leader"]))
        client.report_usage("customer-1", "feature-calls", 1)
    assert () == doctor(healthy, clock).findings


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        sleep(0.05)
    pytest.fail("it never came")


WRITER = """
client = Stigg(data_dir=args[0])
print("ready", flush=True)
number = 0
while True:
    customer = f"customer-{1 + number % 3}"
    client.report_usage(customer, "feature-calls", 1)
    client.grant_credits("customer-1", "currency-ai", 5)
    client.report_usage("customer-1", "feature-images", 1)
    client.provision_customer(f"new-{os.getpid()}-{number}", subscription_params={"plan_id": "plan-app"})
    number += 1
    print(number, flush=True)
"""


def open_now(directory: Path, catalog: Path) -> None:
    """A filled directory on the machine's clock."""
    with Stigg(catalog=catalog, data_dir=directory) as client:
        for _ in fill(client):
            pass


def test_under_load_and_after_kill_9_it_says_nothing(tmp_path: Path, catalog: Path) -> None:
    rounds_under_load(tmp_path / "stigg", catalog, 3)


@pytest.mark.stress
def test_under_load_and_after_kill_9_it_says_nothing_many_times(tmp_path: Path, catalog: Path) -> None:
    # Nobody lives long enough to work the log off, which is huge after some more rounds.
    for number in range(5):
        rounds_under_load(tmp_path / f"stigg-{number}", catalog, 8)


def rounds_under_load(directory: Path, catalog: Path, rounds: int) -> None:
    open_now(directory, catalog)
    for _ in range(rounds):
        with start(WRITER, directory) as writer, start(WRITER, directory) as other:
            assert writer.stdout is not None
            assert "ready\n" == writer.stdout.readline()
            writer.stdout.readline()
            report = examine(directory)
            assert () == report.findings
            assert report.facts["processes"]["open"]
            for process in (writer, other):
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
        before = state(directory)
        report = examine(directory)
        assert () == report.findings
        assert not report.facts["processes"]["open"]
        assert before == state(directory)


# One planted fault each. ------------------------------------------------------------------------------------


def flip(directory: Path, table: str) -> None:
    """Turn one bit of a row of the table over, in a column that is no key."""
    connection = apsw.Connection(os.fspath(directory / "authority.db"))
    columns: list[Any] = [row[1:3] for row in connection.execute(f"PRAGMA table_info({table})") if row[5] == 0]
    column, kind = next((name, kind) for name, kind in columns if name not in ("seq", "digest"))
    key = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5] > 0]
    first: list[Any] = connection.execute(f"SELECT {', '.join(key)}, {column} FROM {table} LIMIT 1").fetchall()
    *where, value = first[0]
    if kind == "INTEGER":
        value ^= 1
    elif kind == "TEXT":
        value = value[:-1] + chr(ord(value[-1]) ^ 1) if value else "\x01"
    else:
        value = value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01"
    connection.execute(
        f"UPDATE {table} SET {column} = ? WHERE ({', '.join(key)}) = ({', '.join('?' * len(key))})", (value, *where)
    )
    assert 1 == connection.changes()
    connection.close()


@pytest.mark.parametrize("table", TABLES)
def test_a_flipped_bit_of_a_row_is_found_in_every_table(healthy: Path, clock: ManualClock, table: str) -> None:
    flip(healthy, table)
    report = doctor(healthy, clock)
    assert ["RowDamaged"] == codes(report)
    assert report.findings[0].where.startswith(f"{table}: ")
    assert not report.is_healthy


@pytest.mark.parametrize("table", TABLES)
def test_a_flipped_bit_of_a_digest_is_found_in_every_table(healthy: Path, clock: ManualClock, table: str) -> None:
    connection = apsw.Connection(os.fspath(healthy / "authority.db"))
    keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5] > 0]
    first = f"(SELECT {', '.join(keys)} FROM {table} LIMIT 1)"
    connection.execute(f"UPDATE {table} SET digest = zeroblob(8) WHERE ({', '.join(keys)}) = {first}")
    connection.close()
    assert ["RowDamaged"] == codes(doctor(healthy, clock))


@pytest.mark.parametrize("table", LIFE_TABLES)
def test_a_flipped_bit_is_found_in_every_table_of_a_life(lived: Path, clock: ManualClock, table: str) -> None:
    flip(lived, table)
    report = doctor(lived, clock)
    assert ["RowDamaged"] == codes(report)
    assert report.findings[0].where.startswith(f"{table}: ")


@pytest.mark.parametrize("table", ["hold", "measurement_pack", "usage_event", "meter_member", "audit", "audit_root"])
def test_a_row_of_a_life_that_is_gone_is_found(lived: Path, clock: ManualClock, table: str) -> None:
    run_sql(lived, f"DELETE FROM {table}")
    assert {"SumDiffers"} == set(codes(doctor(lived, clock)))


def test_an_event_log_that_lost_one_event_is_found(lived: Path, clock: ManualClock) -> None:
    run_sql(lived, "DELETE FROM audit WHERE (seq, ord) = (SELECT seq, max(ord) FROM audit GROUP BY seq LIMIT 1)")
    report = doctor(lived, clock)
    assert [("SumDiffers", "audit: production")] == [(item.id, item.where) for item in report.findings]


def test_a_life_is_healthy(lived: Path, clock: ManualClock) -> None:
    report = doctor(lived, clock)
    assert () == report.findings
    assert all(report.facts["database"]["rows"][table] for table in LIFE_TABLES)


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_earlier_version_is_healthy_before_and_after_it_is_opened(tmp_path: Path, version: int) -> None:
    old = tmp_path / "old"
    shutil.copytree(ROOT / "fixtures" / "store" / f"v{version}", old)
    packed = old / "authority.db.gz"
    (old / "authority.db").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    for name in ("authority.db", "authority.mark", "environment"):
        (old / name).chmod(0o600)
    old.chmod(0o700)
    clock = ManualClock(NOON)
    report = doctor(old, clock)
    assert ((), version) == (report.findings, report.facts["database"]["schemaVersion"])
    with Stigg(data_dir=old, clock=clock) as client:
        assert 3 == client.get_metered_entitlement("customer-3", "feature-calls").current_usage
    report = doctor(old, clock)
    assert ((), 3) == (report.findings, report.facts["database"]["schemaVersion"])


@pytest.mark.parametrize("body", ["CAST(X'ff' AS TEXT)", "replace(body, '[', '{')", "replace(body, 'A', 'S')"])
def test_a_pack_that_cannot_be_read_any_more_is_found(lived: Path, clock: ManualClock, body: str) -> None:
    run_sql(lived, f"UPDATE measurement_pack SET body = {body}")
    assert ["RowDamaged"] == codes(doctor(lived, clock))


def test_a_text_that_is_no_text_any_more_is_found(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "UPDATE customer_record SET body = CAST(X'ff' AS TEXT) WHERE customer_id = 'customer-2'")
    report = doctor(healthy, clock)
    assert [("RowDamaged", "customer_record: production, customer-2")] == [
        (finding.id, finding.where) for finding in report.findings
    ]


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("usage_counter", "SumDiffers"),
        ("credit_grant", "SumDiffers"),
        ("measurement", "SumDiffers"),
        ("ledger", "SumDiffers"),
        ("customer_record", "SumDiffers"),
        ("customer", "SumDiffers"),
        ("customer_slot", "SumDiffers"),
        ("catalog_item", "SumDiffers"),
        ("catalog_root", "SumDiffers"),
    ],
)
def test_a_row_that_is_gone_is_found(healthy: Path, clock: ManualClock, table: str, code: str) -> None:
    run_sql(healthy, f"DELETE FROM {table}")
    assert {code} == set(codes(doctor(healthy, clock)))


def test_a_customer_under_another_id_is_found(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "UPDATE customer SET customer_id = 'customer-q' WHERE customer_id = 'customer-1'")
    assert {"RowDamaged", "SumDiffers"} == set(codes(doctor(healthy, clock)))


def reseal(directory: Path, customer_id: str) -> None:
    """Make a customer's row agree with his numbers as they are, as a wrong program would."""
    connection = apsw.Connection(os.fspath(directory / "authority.db"))
    total = 0
    for (*row,) in connection.execute(
        "SELECT resource_id, feature_id, from_ms, to_ms, value, seq FROM usage_counter WHERE customer_id = ?",
        (customer_id,),
    ).fetchall():
        digest = row_digest("production", customer_id, (COUNTER, *row))
        total += row_sum("production", customer_id, (COUNTER, *row))
        connection.execute(
            "UPDATE usage_counter SET digest = ? WHERE customer_id = ? AND feature_id = ? AND from_ms = ?",
            (digest, customer_id, *row[1:3]),
        )
    rows: list[Any] = connection.execute(
        "SELECT seq, snapshot, numbers, log FROM customer WHERE slot = ? AND customer_id = ?",
        (slot_of(customer_id), customer_id),
    ).fetchall()
    sealed = (rows[0][0], rows[0][1], sum_bytes(total), rows[0][3])
    connection.execute(
        "UPDATE customer SET numbers = ?, digest = ? WHERE slot = ? AND customer_id = ?",
        (sealed[2], row_digest("production", customer_id, (CUSTOMER, *sealed)), slot_of(customer_id), customer_id),
    )
    connection.close()


def test_a_counter_that_its_packs_do_not_give_is_found(lived: Path, clock: ManualClock) -> None:
    """1.5 were reported at once, and three times 0.5 in one pack."""
    run_sql(lived, "UPDATE usage_counter SET value = value + 1 WHERE customer_id = 'customer-3'")
    reseal(lived, "customer-3")
    report = doctor(lived, clock)
    assert ["CounterDiffers"] == codes(report)
    assert "the counter says 3000001, its log gives 3000000" in report.findings[0].what


def test_a_counter_that_its_log_does_not_give_is_found(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "UPDATE usage_counter SET value = value + 1 WHERE customer_id = 'customer-3'")
    reseal(healthy, "customer-3")
    assert {"CounterDiffers"} == set(codes(doctor(healthy, clock)))


def test_a_grant_that_no_ledger_knows_is_found(healthy: Path, clock: ManualClock) -> None:
    """Of a customer who has no ledger at all."""
    with Stigg(data_dir=healthy, clock=clock) as client:
        assert client._embedded is not None
        client.provision_customer("customer-0", subscription_params=None)
        body = msgspec.msgpack.encode(grant("grant-0"))
        client._embedded.store.write(
            lambda tx: tx.put_grant("customer-0", "grant-0", body), operation="grant", key="grant-0"
        )
    assert ["GrantDiffers"] == codes(doctor(healthy, clock))


def test_wrong_permissions_are_found(healthy: Path, clock: ManualClock) -> None:
    for path, mode, severity in (
        (healthy, 0o755, "warning"),
        (healthy, 0o777, "error"),
        (healthy / "authority.db", 0o644, "warning"),
        (healthy / "authority.db", 0o660, "error"),
        (healthy / "generation", 0o604, "warning"),
        (healthy / "environment", 0o200, "warning"),
    ):
        old = path.stat().st_mode
        path.chmod(mode)
        report = examine(healthy, clock=clock)
        path.chmod(old)
        assert "WrongPermissions" in codes(report)
        finding = next(item for item in report.findings if item.id == "WrongPermissions")
        assert (severity, str(path)) == (finding.severity, finding.where)
        assert finding.way_out.startswith("chmod ")


def test_a_parent_that_others_may_write_is_found(healthy: Path, clock: ManualClock) -> None:
    healthy.parent.chmod(0o777)
    assert ["WritableParent"] == codes(doctor(healthy, clock))
    healthy.parent.chmod(0o1777)
    assert [] == codes(doctor(healthy, clock))


def test_another_owner_is_found(healthy: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root can give a file away, so the system is made to say that somebody did."""
    lstat = os.lstat

    def given(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        found = lstat(path, *arguments, **options)
        if os.fspath(path) != os.fspath(healthy / "authority.db"):
            return found
        return os.stat_result((*found[:4], found.st_uid + 12345, *found[5:]))

    monkeypatch.setattr(os, "lstat", given)
    report = examine(healthy, clock=clock)
    assert ["WrongOwner"] == codes(report)
    assert report.findings[0].way_out.startswith("chown ")


def test_a_truncated_log_is_found(killed: Path, clock: ManualClock) -> None:
    log = killed / "authority.db-wal"
    size = log.stat().st_size
    for length in (size * 2 // 3, size - 1, size - 4120, 32 + 4120 * 3, 100, 0):
        os.truncate(log, length)
        found = codes(doctor(killed, clock))
        assert "CommitsLost" in found or "DatabaseEmpty" in found, length
    log.unlink()
    assert ["DatabaseEmpty"] == codes(doctor(killed, clock))


def test_a_log_of_garbage_is_found(killed: Path, clock: ManualClock) -> None:
    log = killed / "authority.db-wal"
    log.write_bytes(b"garbage!" * 1000)
    assert "WalDamaged" in codes(doctor(killed, clock))


def test_a_huge_log_is_found(healthy: Path, clock: ManualClock) -> None:
    with Stigg(data_dir=healthy, clock=clock) as client:
        # A file with a hole: as long as a huge log, and as quickly made.
        client.report_usage("customer-1", "feature-calls", 1)
        copy = healthy.parent / "copy"
        shutil.copytree(healthy, copy, ignore=shutil.ignore_patterns("*-shm"))
    os.truncate(copy / "authority.db-wal", 300 << 20)
    report = examine(copy, clock=clock)
    assert ["WalHuge"] == codes(report)


def test_a_long_log_that_is_worked_off_is_not_huge(
    healthy: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log keeps its length: after a kill it may be long although next to nothing waits in it."""
    with Stigg(data_dir=healthy, clock=clock) as client:
        for number in range(20):
            client.provision_customer(f"long-{number}", metadata={"note": "x" * 9000})
        connection = apsw.Connection(os.fspath(healthy / "authority.db"))
        connection.execute("SELECT count(*) FROM customer").fetchall()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        connection.close()
        client.report_usage("customer-1", "feature-calls", 1)
        copy = healthy.parent / "copy"
        shutil.copytree(healthy, copy)
    monkeypatch.setattr(examine_files, "WAL_PENDING_BYTES", 100_000)
    assert (copy / "authority.db-wal").stat().st_size > 150_000
    assert [] == codes(examine(copy, clock=clock))
    with (copy / "authority.db-wal").open("ab") as log:
        log.write(bytes(4120 * 30))
    assert ["WalHuge"] == codes(examine(copy, clock=clock))


def test_a_foreign_database_is_found_and_left_alone(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "PRAGMA application_id = 4711")
    assert ["ForeignDatabase"] == codes(doctor(healthy, clock))
    (healthy / "authority.db").write_bytes(b"not a database at all " * 100)
    assert ["NotADatabase"] == codes(doctor(healthy, clock))
    (healthy / "authority.db").write_bytes(b"")
    assert ["DatabaseEmpty"] == codes(doctor(healthy, clock))
    (healthy / "authority.db").unlink()
    assert ["DatabaseMissing"] == codes(doctor(healthy, clock))


def test_a_newer_schema_is_found(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "PRAGMA user_version = 99")
    assert ["SchemaTooNew"] == codes(doctor(healthy, clock))


def test_another_schema_is_found(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "DROP INDEX customer_by_seq")
    run_sql(healthy, "CREATE TABLE mine (id TEXT)")
    run_sql(healthy, "CREATE TRIGGER evil AFTER INSERT ON ledger BEGIN DELETE FROM ledger; END")
    report = doctor(healthy, clock)
    assert ["SchemaDiffers", "UnknownObject"] == codes(report)
    assert ["error", "warning"] == [finding.severity for finding in report.findings]
    assert ["UnknownObject"] == [note.id for note in report.notes]


def test_broken_pages_are_found(healthy: Path, clock: ManualClock) -> None:
    connection = apsw.Connection(os.fspath(healthy / "authority.db"))
    rows: list[Any] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'measurement'").fetchall()
    connection.close()
    whole = (healthy / "authority.db").read_bytes()
    for at, length, expected in (
        ((rows[0][0] - 1) * 4096, 64, {"DatabaseDamaged", "TableUnreadable"}),
        (100, 3000, {"DatabaseDamaged"}),
    ):
        (healthy / "authority.db").write_bytes(whole[:at] + b"\xaa" * length + whole[at + length :])
        assert expected == set(codes(doctor(healthy, clock)))
    for damaged in (whole[:-4096], whole[: len(whole) // 2], whole + bytes(4096), whole + b"x"):
        (healthy / "authority.db").write_bytes(damaged)
        assert set(codes(doctor(healthy, clock))) & {"DatabaseDamaged", "HeaderDamaged"}


def test_a_suspicious_clock_is_found(healthy: Path, clock: ManualClock) -> None:
    now = clock.time()
    ahead, behind = ManualClock(NOON), ManualClock(NOON)
    ahead.jump("2025-06-01T00:00:00Z")
    report = doctor(healthy, ahead)
    assert ["ClockSuspect"] == codes(report)
    assert report.facts["clock"]["suspect"]
    behind.jump("2025-01-30T00:00:00Z")
    assert ["ClockBehind"] == codes(doctor(healthy, behind))
    assert now == clock.time()


def test_unreadable_fallback_and_catalog_files_are_found(
    healthy: Path, clock: ManualClock, tmp_path: Path, catalog: Path
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("schema = 1\n[entitlements\n")
    assert ["FallbackFileError"] == codes(doctor(healthy, clock, fallback_file=broken))
    assert ["FallbackFileError"] == codes(doctor(healthy, clock, fallback_file=tmp_path / "missing.toml"))
    good = tmp_path / "good.toml"
    good.write_text("schema = 1\n[features.feature-sso]\nhasAccess = true\n")
    assert [] == codes(doctor(healthy, clock, fallback_file=good))
    assert ["CatalogInvalid"] == codes(doctor(healthy, clock, catalog=broken))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(CATALOG | {"features": [*CATALOG["features"], {"id": "x", "featureType": "Boolean"}]}))
    assert ["CatalogNotApplied"] == codes(doctor(healthy, clock, catalog=other))
    Stigg(data_dir=healthy, catalog=other, clock=clock).close()
    assert ["CatalogOlder"] == codes(doctor(healthy, clock, catalog=catalog))


def test_permissions_of_a_fallback_file_are_looked_at(healthy: Path, clock: ManualClock, tmp_path: Path) -> None:
    """The superuser can read what its owner may not: the mode says so, whoever asks."""
    path = tmp_path / "good.toml"
    path.write_text("schema = 1\n[features.feature-sso]\nhasAccess = true\n")
    for mode, expected in ((0o640, []), (0o664, []), (0o666, ["WrongPermissions"])):
        path.chmod(mode)
        assert expected == codes(doctor(healthy, clock, fallback_file=path))
    path.chmod(0)
    assert codes(doctor(healthy, clock, fallback_file=path)) in (["WrongPermissions"], ["FallbackFileError"])


def test_a_full_disk_is_found(healthy: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(healthy)
    bavail, favail, flag = 4, 7, 8

    def with_field(place: int, value: int) -> Report:
        changed = os.statvfs_result((*found[:place], value, *found[place + 1 :]))
        monkeypatch.setattr(os, "statvfs", lambda _: changed)
        return examine(healthy, clock=clock)

    assert ["DiskFull"] == codes(with_field(bavail, 1))
    assert ["DiskFull"] == codes(with_field(favail, 0))
    report = with_field(flag, found.f_flag | os.ST_RDONLY)
    assert ([], ["ReadOnlyFileSystem"]) == (codes(report), [note.id for note in report.notes])


def test_a_file_system_of_its_own_has_a_lost_and_found(healthy: Path, clock: ManualClock) -> None:
    (healthy / "lost+found").mkdir()
    assert [] == codes(doctor(healthy, clock))


def change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_bytes(edit((directory / name).read_bytes()))


def in_place_of(name: str, make: Callable[[Path], None]) -> Callable[[Path], object]:
    def plant(directory: Path) -> None:
        (directory / name).unlink()
        make(directory / name)

    return plant


@pytest.mark.parametrize(
    ("code", "plant"),
    [
        ("UnknownFile", lambda directory: os.close(os.open(directory / "notes.txt", os.O_CREAT, 0o600))),
        ("QuarantinedFile", lambda directory: (directory / "authority.db.quarantined-17").touch(0o600)),
        ("GenerationDamaged", lambda directory: os.truncate(directory / "generation", 100)),
        ("MarkDamaged", change("authority.mark", lambda content: bytes([content[0] ^ 1]) + content[1:])),
        ("DamageReported", change("authority.mark", lambda content: content[:-8] + b"\1" + bytes(7))),
        ("EnvironmentDamaged", change("environment", lambda content: b"P" + content[1:])),
        ("NotAFile", in_place_of("generation", os.mkfifo)),
        ("NotAFile", in_place_of("authority.mark", os.mkdir)),
        ("NotAFile", in_place_of("authority.db", os.mkfifo)),
        ("NotAFile", in_place_of("authority.db", os.mkdir)),
    ],
)
def test_a_fault_beside_the_database_is_found(
    healthy: Path, clock: ManualClock, code: str, plant: Callable[[Path], object]
) -> None:
    plant(healthy)
    report = doctor(healthy, clock)
    assert [code] == codes(report)[:1]
    assert not report.is_healthy


def test_what_is_missing_beside_the_database_is_no_illness(healthy: Path, clock: ManualClock) -> None:
    """A database alone is what a backup is; the next opening makes the rest."""
    for name in ("generation", "authority.mark", "environment", "writer.lock", "leader.lock"):
        (healthy / name).unlink()
    assert doctor(healthy, clock).is_healthy


def test_an_older_copy_in_place_of_the_database_is_found(healthy: Path, clock: ManualClock) -> None:
    old = (healthy / "authority.db").read_bytes()
    with Stigg(data_dir=healthy, clock=clock) as client:
        client.report_usage("customer-1", "feature-calls", 1)
    (healthy / "authority.db-wal").unlink(missing_ok=True)
    (healthy / "authority.db").write_bytes(old)
    assert ["CommitsLost"] == codes(doctor(healthy, clock))


def test_look_alikes_are_noted(healthy: Path, clock: ManualClock) -> None:
    with Stigg(data_dir=healthy, clock=clock) as client:
        for name in ("acme", "Acme", "\u0430cme", "acme-2"):
            client.provision_customer(name, subscription_params=None)
    report = doctor(healthy, clock)
    assert report.is_healthy
    assert ["3 customers look alike: `Acme`, `acme`, `\\u0430cme`"] == [note.what for note in report.notes]


def test_a_skeleton_is_the_same_for_look_alikes_alone() -> None:
    assert 1 == len({skeleton(name) for name in ("a-10", "A-10", "\u0410-1O", "a\u201310", " a-10")})
    assert 4 == len({skeleton(name) for name in ("a-10", "a-11", "a10", "b-10")})


def test_thousands_of_faults_are_told_by_the_first_and_their_number(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "UPDATE idempotency SET at_ms = at_ms + 1")
    report = doctor(healthy, clock)
    assert 11 == len(report.findings)
    assert "more like it" in report.findings[-1].what


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        examine(tmp_path / "missing")
    assert ["DatabaseMissing"] == [
        finding.id for finding in examine(tmp_path).findings if finding.id != "WrongPermissions"
    ]


# The command. -----------------------------------------------------------------------------------------------


@pytest.fixture
def present(tmp_path: Path, catalog: Path) -> Path:
    directory = tmp_path / "stigg"
    open_now(directory, catalog)
    return directory


def test_the_command_ends_with_0_or_5(present: Path, catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["doctor", "--data-dir", str(present), "--catalog", str(catalog)]
    assert 0 == main(arguments)
    shown = capsys.readouterr().out
    assert "healthy\n" == shown.splitlines(keepends=True)[0]
    assert 0 == main([*arguments, "--json"])
    assert [] == json.loads(capsys.readouterr().out)["findings"]
    (present / "authority.db").chmod(0o644)
    assert 5 == main(arguments)
    shown = capsys.readouterr().out
    assert "1 warning\n" == shown.splitlines(keepends=True)[0]
    assert f"  way out  chmod 600 {present / 'authority.db'}" in shown
    assert 5 == main([*arguments, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (False, "WrongPermissions") == (found["healthy"], found["findings"][0]["id"])
    assert 2 == main(["doctor", "--data-dir", str(present / "missing")])


# The superuser reads every file, until he has given that up for good.
MORTAL = """
import ctypes, os, sys
if os.geteuid() == 0 and sys.platform == "linux":
    drop_from_bounding_set, override, read_search = 24, 1, 2
    for capability in (override, read_search):
        assert 0 == ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "stigg_local.cli.main", *sys.argv[1:]])
"""


def as_mortal(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MORTAL, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.mark.parametrize("name", ["authority.db", "authority.db-wal", "authority.mark", "environment"])
def test_a_user_who_may_not_read_a_file_is_told_so(present: Path, name: str) -> None:
    (present / name).touch()
    (present / name).chmod(0)
    before = {path.name: path.lstat().st_mtime_ns for path in present.iterdir()}
    ended = as_mortal("doctor", "--json", "--data-dir", str(present))
    assert 5 == ended.returncode, ended.stderr
    found = {(finding["id"], finding["where"]) for finding in json.loads(ended.stdout)["findings"]}
    assert {("CannotRead", str(present / name)), ("WrongPermissions", str(present / name))} == found
    assert before == {path.name: path.lstat().st_mtime_ns for path in present.iterdir()}
