"""`doctor` against random damage, which it finds, and against long random use, of which it says nothing."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import apsw
import click
import pytest

from stigg_local import Stigg, StiggError
from stigg_local.cli.main import commands as program
from stigg_local.cli.main import main
from stigg_local.core.period import FOREVER_MS
from stigg_local.doctor import Report, examine
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, NOON, fill, start
from tests.shell.pages import used_bytes
from tests.shell.test_doctor import codes, doctor, run_sql, state

CUSTOMERS = 40


def fold_log(directory: Path) -> None:
    """Bring all commits into the database file."""
    connection = apsw.Connection(os.fspath(directory / "authority.db"))
    # A connection that has read nothing yet checkpoints nothing.
    connection.execute("SELECT count(*) FROM customer").fetchall()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> tuple[Path, Path]:
    """Every table on several pages, one row on overflow pages: closed, and with its commits in the log."""
    place = tmp_path_factory.mktemp("faults")
    closed, killed = place / "closed", place / "killed"
    with pytest.MonkeyPatch.context() as patched:
        # The log is to hold all commits, and to end with one that has a number: of the time alone nobody is told.
        for name in ("TIME_BEHIND_MS", "WATCHED_WAL_BYTES", "CHECKPOINT_WAL_BYTES"):
            patched.setattr(f"stigg_local.store.upkeep.{name}", FOREVER_MS)
        client = Stigg(catalog=CATALOG, data_dir=closed, clock=clock)
        for _ in fill(client):
            clock.advance(seconds=1)
        for number in range(CUSTOMERS):
            name = f"customer-{100 + number}"
            client.provision_customer(name, name="n" * number, subscription_params={"plan_id": "plan-app"})
            client.report_usage(name, "feature-calls", number + 1)
            client.report_usage(name, "feature-images", 1)
            clock.advance(seconds=1)
        client.provision_customer("customer-long", metadata={f"key-{number}": "v" * 300 for number in range(20)})
        shutil.copytree(closed, killed, ignore=shutil.ignore_patterns("*-shm"))
        client.close()
    fold_log(closed)
    return closed, killed


@pytest.fixture
def healthy(tmp_path: Path, originals: tuple[Path, Path]) -> Path:
    return Path(shutil.copytree(originals[0], tmp_path / "stigg"))


@pytest.fixture
def killed(tmp_path: Path, originals: tuple[Path, Path]) -> Path:
    return Path(shutil.copytree(originals[1], tmp_path / "stigg"))


# Flipped bits. ----------------------------------------------------------------------------------------------


_RECORD = "_sqlite_migrations"


def recorded(path: Path) -> list[Any]:
    """What the table of migrations says: how a cell spells the NULL in the place of its row's number means nothing."""
    connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(f"SELECT * FROM {_RECORD}").fetchall()
    except (apsw.Error, UnicodeDecodeError):
        return []
    finally:
        connection.close()


def flip_in_turn(directory: Path, clock: ManualClock, count: int, seed: int) -> list[tuple[str, int, int]]:
    """Flip bits of bytes that count, of each table and index in turn; returns those that were not found."""
    path = directory / "authority.db"
    whole, used, before = path.read_bytes(), used_bytes(path), recorded(path)
    chance = random.Random(seed)
    names = sorted(used)
    missed = []
    for number in range(count):
        name = names[number % len(names)]
        at, bit = chance.choice(used[name]), chance.randrange(8)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        if not doctor(directory, clock).findings and not (name == _RECORD and recorded(path) == before):
            missed.append((name, at, bit))
    path.write_bytes(whole)
    return missed


def test_a_flipped_bit_is_found_wherever_it_counts(healthy: Path, clock: ManualClock) -> None:
    assert () == doctor(healthy, clock).findings
    assert [] == flip_in_turn(healthy, clock, 18, seed=1)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_is_found_wherever_it_counts_many_times(healthy: Path, clock: ManualClock, seed: int) -> None:
    assert [] == flip_in_turn(healthy, clock, 500, seed=100 + seed)


@pytest.mark.parametrize(
    "change",
    [
        "migration_set = 'stigg_lobal'",
        "name = 'v0'",
        "applied_at = replace(applied_at, '-', '=')",
        "applied_at = CAST(applied_at AS BLOB)",
        "id = 4",
    ],
)
def test_what_records_the_migrations_is_looked_at(healthy: Path, clock: ManualClock, change: str) -> None:
    run_sql(healthy, f"UPDATE _sqlite_migrations SET {change} WHERE id = 2")
    assert ["MigrationsDiffer"] == codes(doctor(healthy, clock))


def in_use(log: bytes) -> int:
    """Where the frames of this log end; behind them are those of an earlier one, which nobody needs any more."""
    end, salts = 32, log[16:24]
    while log[end + 8 : end + 16] == salts:
        end += 24 + 4096
    return end


def flip_in_log(directory: Path, clock: ManualClock, count: int, seed: int) -> None:
    log = directory / "authority.db-wal"
    whole = log.read_bytes()
    chance = random.Random(seed)
    for _ in range(count):
        at = chance.randrange(in_use(whole))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        log.write_bytes(damaged)
        found = set(codes(doctor(directory, clock)))
        assert found & {"CommitsLost", "WalDamaged", "DatabaseEmpty"}, at
        # A cut ends the log there, wherever it is.
        log.write_bytes(whole[:at])
        assert set(codes(doctor(directory, clock))) & {"CommitsLost", "DatabaseEmpty"}, at
    log.write_bytes(whole)


def test_damage_to_a_log_that_loses_commits_is_found(killed: Path, clock: ManualClock) -> None:
    assert () == doctor(killed, clock).findings
    flip_in_log(killed, clock, 2, seed=1)


@pytest.mark.stress
def test_damage_to_a_log_that_loses_commits_is_found_many_times(killed: Path, clock: ManualClock) -> None:
    flip_in_log(killed, clock, 300, seed=2)


@pytest.mark.parametrize("tail", [b"", bytes(24), b"x" * (24 + 4064), b"x" * (24 + 4096)])
def test_what_a_killed_writer_left_at_the_end_of_a_log_is_no_damage(
    killed: Path, clock: ManualClock, tail: bytes
) -> None:
    log = killed / "authority.db-wal"
    end = 32 + (log.stat().st_size - 32) // 4120 * 4120
    tail = tail[: (-end) % 512 or None] if len(tail) == 24 + 4064 else tail
    log.write_bytes(log.read_bytes()[:end] + tail)
    assert () == doctor(killed, clock).findings


def test_a_slot_that_shows_what_never_was_is_found(healthy: Path, clock: ManualClock) -> None:
    content = (healthy / "generation").read_bytes()
    (healthy / "generation").write_bytes(content[:-8] + (1 << 40).to_bytes(8, "little"))
    assert ["GenerationDamaged"] == codes(doctor(healthy, clock))


def test_a_slot_that_shows_the_next_transaction_tells_of_a_lost_one(healthy: Path, clock: ManualClock) -> None:
    """Slots are stored before the mark: a writer that was killed in between has committed."""
    following = doctor(healthy, clock).facts["database"]["seq"] + 1
    content = (healthy / "generation").read_bytes()
    (healthy / "generation").write_bytes(content[:-8] + following.to_bytes(8, "little"))
    assert ["CommitsLost"] == codes(doctor(healthy, clock))


def test_a_subscription_that_its_index_does_not_know_is_found(healthy: Path, clock: ManualClock) -> None:
    run_sql(healthy, "DELETE FROM subscription_owner WHERE customer_id = 'customer-101'")
    assert ["OwnerDiffers"] == codes(doctor(healthy, clock))


# Ways out. --------------------------------------------------------------------------------------------------


def commands(report: Report) -> list[list[str]]:
    """Words of the commands that the findings name."""
    found = []
    for finding in report.findings:
        for text in re.findall(r"stigg-local [^;]*|rm [^;]*|chmod [^;]*", finding.way_out):
            found.append(shlex.split(text.split(": ")[-1]))
    return found


def run_ways_out(report: Report, catalog: Path) -> None:
    """Do what the findings say, restoring apart."""
    values = {"FEATURE": "feature-calls", "FILE": str(catalog)}
    for named in commands(report):
        words = [values.get(word, word).rstrip(",") for word in named]
        if words[0] == "rm":
            os.unlink(words[1])
        elif words[0] == "chmod":
            os.chmod(words[2], int(words[1], 8))
        elif words[1] != "db":
            end = words.index("--data-dir") + 2
            assert main([*words[1:end], "--plain"]) in (0, 3)


def overwrite(path: Path, at: int, content: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(content)


PLANTS: dict[str, Callable[[Path], object]] = {
    "created_ms": lambda directory: run_sql(directory, "UPDATE meta SET value = 'x' WHERE key = 'created_ms'"),
    "boot": lambda directory: run_sql(directory, "UPDATE meta SET value = 'x' WHERE key = 'boot'"),
    "epoch": lambda directory: run_sql(directory, "UPDATE meta SET value = '7' WHERE key = 'epoch'"),
    "no file_id": lambda directory: run_sql(directory, "DELETE FROM meta WHERE key = 'file_id'"),
    "sequence": lambda directory: run_sql(directory, "UPDATE sequence SET seq = seq + 1"),
    "customer": lambda directory: run_sql(
        directory, "UPDATE customer SET snapshot = x'00' WHERE customer_id = 'customer-1'"
    ),
    "counter": lambda directory: run_sql(
        directory, "UPDATE usage_counter SET value = value + 1 WHERE customer_id = 'customer-1'"
    ),
    "no counter": lambda directory: run_sql(directory, "DELETE FROM usage_counter WHERE customer_id = 'customer-1'"),
    "grant": lambda directory: run_sql(
        directory, "UPDATE credit_grant SET body = x'00' WHERE customer_id = 'customer-1'"
    ),
    "mark": lambda directory: (directory / "authority.mark").write_bytes(b"x" * 72),
    "generation": lambda directory: os.truncate(directory / "generation", 100),
    "environment": lambda directory: (directory / "environment").write_bytes(b"x"),
    "commits": lambda directory: overwrite(directory / "authority.mark", 56, (1000).to_bytes(8, "little")),
    "suspect": lambda directory: overwrite(directory / "authority.mark", 64, b"\1"),
    "mode": lambda directory: (directory / "authority.db").chmod(0o666),
    "directory": lambda directory: directory.chmod(0o755),
}


@pytest.fixture
def present(tmp_path: Path) -> tuple[Path, Path]:
    """A filled directory on the machine's clock, and its catalog."""
    catalog, directory = tmp_path / "catalog.json", tmp_path / "stigg"
    catalog.write_text(json.dumps(CATALOG))
    with Stigg(catalog=catalog, data_dir=directory) as client:
        for _ in fill(client):
            pass
    return directory, catalog


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_way_out_leads_out(present: tuple[Path, Path], plant: Callable[[Path], object]) -> None:
    directory, catalog = present
    plant(directory)
    report = examine(directory)
    assert report.findings
    run_ways_out(report, catalog)
    with Stigg(data_dir=directory):
        pass
    assert () == examine(directory).findings


@pytest.mark.stress
def test_a_huge_log_is_worked_off_by_the_command_that_is_named(present: tuple[Path, Path], tmp_path: Path) -> None:
    directory, _ = present
    log = directory / "authority.db-wal"
    with Stigg(data_dir=directory) as client:
        client.report_usage("customer-1", "feature-calls", 1)
        shutil.copy(log, tmp_path / "log")
    shutil.copy(tmp_path / "log", log)
    os.truncate(log, 100 << 20)
    report = examine(directory)
    assert ["WalHuge"] == codes(report)
    words = shlex.split(report.findings[0].way_out.partition(": ")[2])
    subprocess.run([sys.executable, *words[1:]], check=True, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert () == examine(directory).findings


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE catalog_item SET body = body || ' '",
        "UPDATE customer_record SET body = body || ' '",
        "UPDATE customer_slot SET count = count + 1",
        "PRAGMA user_version = 99",
        "DROP INDEX customer_by_seq",
        "UPDATE sequence SET high_water_ms = 1",
    ],
)
def test_every_command_that_is_named_exists(healthy: Path, clock: ManualClock, statement: str) -> None:
    run_sql(healthy, statement)
    (healthy / "authority.mark").write_bytes(b"x")
    (healthy / "environment").write_bytes(b"x")
    report = doctor(healthy, ManualClock("2026-01-01T00:00:00Z"))
    named = [words[1:] for words in commands(report) if words[0] == "stigg-local"]
    assert named
    for words in named:
        command: click.Command = program
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


# Healthy. ---------------------------------------------------------------------------------------------------


def live_at_random(directory: Path, seed: int, steps: int) -> None:
    """Months of use: reports, late ones too, changes of plan, promotions, credits, catalogs, pauses, reopenings."""
    chance = random.Random(seed)
    clock = ManualClock("2025-01-31T10:00:00Z")
    catalog = json.loads(json.dumps(CATALOG))
    plans = ("plan-app", "plan-small", "plan-endless")
    names = [f"customer-{number}" for number in range(20)]
    client = Stigg(catalog=catalog, data_dir=directory, clock=clock)
    for name in names:
        client.provision_customer(name, subscription_params={"plan_id": chance.choice(plans)})

    def then(days: float) -> datetime:
        return datetime.fromtimestamp(clock.time(), UTC) + timedelta(days=days)

    def publish(_: str) -> None:
        catalog["plans"][1]["entitlements"][0]["usageLimit"] = chance.randrange(100)
        client.catalog.apply(catalog, migrate=chance.choice(("new", "all")))

    features = ("feature-calls", "feature-images", "feature-seats")
    resources = ("site-1", "site-2")
    moves: list[Callable[[str], object]] = [
        lambda name: client.report_usage(name, chance.choice(features), chance.choice((1, 2.5, -1, 7))),
        lambda name: client.report_usage(name, chance.choice(features), 3, update_behavior="SET"),
        lambda name: client.report_usage(name, "feature-calls", 1, created_at=then(-chance.choice((0.1, 5, 20, 40)))),
        lambda name: client.provision_subscription(name, chance.choice(plans)),
        lambda name: client.provision_subscription(name, "plan-site", resource_id=chance.choice(resources)),
        lambda name: client.report_usage(name, "feature-calls", 2, resource_id=chance.choice(resources)),
        lambda name: client.grant_promotional_entitlements(
            name,
            [{"feature_id": "feature-calls", "usage_limit": 9, "period": chance.choice(("ONE_WEEK", "ONE_MONTH"))}],
        ),
        lambda name: client.grant_credits(name, "currency-ai", chance.randrange(1, 200), expire_at=then(30)),
        lambda _: client.tick(),
        publish,
        lambda _: clock.advance(days=chance.choice((0.1, 1, 9))),
    ]
    weights = (30, 6, 10, 10, 4, 5, 8, 10, 2, 1, 4)
    for _ in range(steps):
        try:
            chance.choices(moves, weights)[0](chance.choice(names))
        except StiggError:
            continue
    assert () == examine(directory, clock=clock).findings
    client.close()
    assert () == doctor(directory, clock).findings


def test_months_of_use_leave_nothing_to_say(tmp_path: Path) -> None:
    live_at_random(tmp_path / "stigg", seed=1, steps=250)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(10))
def test_months_of_use_leave_nothing_to_say_many_times(tmp_path: Path, seed: int) -> None:
    live_at_random(tmp_path / "stigg", seed=seed, steps=2000)


@pytest.mark.stress
def test_ten_thousand_customers_are_healthy(tmp_path: Path) -> None:
    directory = tmp_path / "stigg"
    with Stigg(catalog=CATALOG, data_dir=directory) as client:
        for number in range(10_000):
            name = f"customer-{number:05}"
            client.provision_customer(name, subscription_params={"plan_id": "plan-app"})
            if number % 10 == 0:
                client.report_usage(name, "feature-calls", 1)
        assert () == examine(directory).findings
    before = state(directory)
    assert () == examine(directory).findings
    assert before == state(directory)


def test_a_restored_backup_is_healthy(present: tuple[Path, Path], tmp_path: Path) -> None:
    directory, _ = present
    backup, restored = tmp_path / "a.backup", tmp_path / "restored"
    assert 0 == main(["db", "backup", str(backup), "--data-dir", str(directory), "--plain"])
    assert () == examine(directory).findings
    assert 0 == main(["db", "restore", str(backup), "--data-dir", str(restored), "--plain"])
    assert () == examine(restored).findings
    assert 0 == main(["db", "restore", str(backup), "--data-dir", str(restored), "--replace", "--plain"])
    assert () == examine(restored).findings


# In use by another process. ---------------------------------------------------------------------------------

IDLE = """
client = Stigg(data_dir=args[0])
client.report_usage("customer-1", "feature-calls", 1)
print("ready", flush=True)
sys.stdin.read()
"""


def leads(directory: Path) -> Report:
    for _ in range(100):
        report = examine(directory)
        if report.facts["processes"]["leader"]:
            return report
        sleep(0.05)
    return pytest.fail("nobody leads")


def test_what_another_process_has_open_stays_as_it_is(present: tuple[Path, Path]) -> None:
    directory, _ = present
    with start(IDLE, directory) as other:
        assert other.stdout is not None
        assert "ready\n" == other.stdout.readline()
        report = leads(directory)
        before = state(directory)
        for _ in range(3):
            report = examine(directory)
            assert () == report.findings
        assert before == state(directory)
        processes = report.facts["processes"]
        if os.path.isdir("/proc/self/fd"):
            assert ([other.pid], other.pid) == (processes["pids"], processes["leaderPid"])
            os.kill(other.pid, signal.SIGSTOP)
            stopped = examine(directory)
            os.kill(other.pid, signal.SIGCONT)
            assert "LeaderStopped" in codes(stopped)
        other.kill()


READER = """
import apsw
connection = apsw.Connection(args[0] + "/authority.db", flags=apsw.SQLITE_OPEN_READONLY)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM customer").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.stress
def test_a_log_that_a_stuck_reader_makes_grow_is_found(present: tuple[Path, Path]) -> None:
    directory, _ = present
    log = directory / "authority.db-wal"
    with Stigg(data_dir=directory) as client, start(READER, directory) as reader:
        assert reader.stdout is not None
        assert "ready\n" == reader.stdout.readline()
        number = 0
        while log.stat().st_size < 70 << 20:
            number += 1
            client.provision_customer(f"big-{number}", metadata={str(key): "v" * 9000 for key in range(20)})
        assert ["WalHuge"] == codes(examine(directory))
        reader.kill()


def test_a_directory_that_is_the_temporary_one_is_not_written_to(
    healthy: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(healthy))
    before = state(healthy)
    with pytest.raises(StiggError, match="in the directory itself"):
        examine(healthy, clock=clock)
    assert before == state(healthy)
