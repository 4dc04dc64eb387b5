"""Damaged files, seen from the public client: an answer is the true one, a fallback that says so, or an error.

The damage is real: bits of the files, rows and keys of the tables, whole files. Nothing is mocked.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import Stigg
from stigg_local.errors import SchemaTooNew, StoreCorrupt, StoreError
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, CUSTOMERS, FALLBACKS, NOON, Answers, ask, client_of, fill, wrong

SIDE_FILES = ("environment", "generation", "authority.mark", "writer.lock")


class Original:
    """A filled directory, closed cleanly, with its answers; and one whose log was never checkpointed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.closed, self.open = root / "closed", root / "open"
        clock = ManualClock(NOON)
        # What is answered before the catalog is there, for a log that lost everything.
        with Stigg(catalog={"schema": 1, "products": [{"id": "product-none"}]}, clock=clock) as empty:
            self.history = [ask(empty)]
        client = Stigg(catalog=CATALOG, data_dir=self.closed, clock=clock)
        self.history.append(ask(client))
        for _ in fill(client):
            clock.advance(seconds=1)
            self.history.append(ask(client))
        shutil.copytree(self.closed, self.open, ignore=shutil.ignore_patterns("*-shm"))
        client.close()
        connection = apsw.Connection(os.fspath(self.closed / "authority.db"))
        # A connection that has read nothing yet checkpoints nothing.
        connection.execute("SELECT count(*) FROM customer").fetchall()
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.close()
        self.truth: Answers = self.history[-1]
        self._copies = 0

    def clock(self) -> ManualClock:
        clock = ManualClock(NOON)
        clock.advance(seconds=len(self.history) - 2)
        return clock

    def copy(self, of: Path | None = None) -> Path:
        """A fresh copy to damage."""
        self._copies += 1
        target = self.root / f"copy-{self._copies}"
        shutil.copytree(of or self.closed, target)
        return target

    def check(self, data_dir: Path, what: object, **arguments: Any) -> str:
        """Ask everything of a damaged directory; returns how it ended."""
        try:
            with client_of(data_dir, self.clock(), **arguments) as client:
                answers = ask(client)
                client.status()
        except StoreError:
            # Of this kind alone: any other error fails the test.
            return "refused"
        finally:
            shutil.rmtree(data_dir)
        assert {} == wrong(self.truth, answers), f"{what}"
        return "true" if answers == self.truth else "fallback"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file over."""
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def positions(path: Path, count: int, seed: int) -> list[int]:
    """Bits spread evenly over a file, each at a random place of its stretch."""
    source = random.Random(seed)
    bits = path.stat().st_size * 8
    stretch = max(1, bits // count)
    return [min(bits - 1, start + source.randrange(stretch)) for start in range(0, bits, stretch)]


def flip_everywhere(original: Original, count: int, seed: int) -> dict[str, int]:
    ends = {"true": 0, "fallback": 0, "refused": 0}
    for number, bit in enumerate(positions(original.closed / "authority.db", count, seed)):
        data_dir = original.copy()
        flip(data_dir / "authority.db", bit)
        ends[original.check(data_dir, f"bit {bit}", **(FALLBACKS if number % 2 else {}))] += 1
    return ends


def test_the_original_answers_the_same_after_it_is_opened_again(original: Original) -> None:
    assert "true" == original.check(original.copy(), "nothing")
    assert "true" == original.check(original.copy(original.open), "nothing")


def test_a_flipped_bit_of_the_database_is_never_a_wrong_answer(original: Original) -> None:
    ends = flip_everywhere(original, 120, 1)
    assert ends["fallback"] > 0, f"no flip was noticed: {ends}"


def test_an_older_copy_of_the_file_is_told_of(tmp_path: Path) -> None:
    with Stigg(catalog=CATALOG, data_dir=tmp_path / "data", clock=ManualClock(NOON)) as client:
        client.provision_customer("customer-9")
    names = ("authority.db", "authority.db-wal")
    for name in names:
        shutil.copy(tmp_path / "data" / name, tmp_path / name)
    with client_of(tmp_path / "data", ManualClock(NOON)) as client:
        before = int(str(client.status().version).split(":")[1])
        assert client.status().last_error is None
        for number in range(3):
            client.provision_customer(f"customer-1{number}")
    (tmp_path / "data" / "authority.db-shm").unlink()
    for name in names:
        shutil.copy(tmp_path / name, tmp_path / "data" / name)
    with client_of(tmp_path / "data", ManualClock(NOON)) as client:
        told = client.status().last_error
        assert told is not None
        assert f"transactions {before + 1} to {before + 3} were committed here and are not in the file" in told
    # Whoever comes after that begins where it ends.
    with client_of(tmp_path / "data", ManualClock(NOON)) as client:
        assert client.status().last_error is None


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_thousands_of_flipped_bits_are_never_a_wrong_answer(original: Original) -> None:
    ends = flip_everywhere(original, 4000, 2)
    print(f"flips of the database: {ends}")
    assert ends["fallback"] > 0


def flip_log(original: Original, count: int, seed: int) -> dict[str, int]:
    ends = {"whole": 0, "prefix": 0, "fallback": 0, "refused": 0}
    for bit in positions(original.open / "authority.db-wal", count, seed):
        data_dir = original.copy(original.open)
        flip(data_dir / "authority.db-wal", bit)
        ends[check_prefix(original, data_dir, f"bit {bit}")] += 1
    return ends


def check_prefix(original: Original, data_dir: Path, what: str) -> str:
    """The newest commits may be gone, but then it is known, and never a part of one."""
    try:
        with client_of(data_dir, original.clock()) as client:
            answers = ask(client)
            epoch = int(str(client.status().version).split(":")[0])
    except StoreError:
        return "refused"
    finally:
        shutil.rmtree(data_dir)
    if answers == original.truth:
        return "whole"
    found = [number for number, truth in enumerate(original.history) if not wrong(truth, answers)]
    assert found, f"{what}: no prefix of the commits has these answers"
    if answers not in original.history:
        return "fallback"
    assert epoch > 1, f"{what}: commits were lost and nobody noticed"
    return "prefix"


def test_a_flipped_bit_of_the_log_leaves_a_prefix_of_the_commits(original: Original) -> None:
    ends = flip_log(original, 40, 3)
    assert ends["prefix"] + ends["refused"] + ends["fallback"] > 0, f"no flip was noticed: {ends}"


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_thousands_of_flipped_bits_of_the_log_leave_a_prefix_of_the_commits(original: Original) -> None:
    ends = flip_log(original, 2000, 4)
    print(f"flips of the log: {ends}")


@pytest.mark.parametrize("name", SIDE_FILES)
def test_a_flipped_bit_of_a_side_file_is_never_a_wrong_answer(original: Original, name: str) -> None:
    for bit in positions(original.closed / name, 12, 5):
        data_dir = original.copy()
        flip(data_dir / name, bit)
        original.check(data_dir, f"bit {bit} of {name}")


# ---------------------------------------------------------------------- rows and keys


def tables(path: Path) -> dict[str, tuple[list[str], list[str], list[tuple[Any, ...]]]]:
    """Every table with its columns, the columns of its key and its rows."""
    connection = apsw.Connection(os.fspath(path))
    try:
        found: dict[str, Any] = {}
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for name in (str(row[0]) for row in names):
            columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
            rows = connection.execute(f"SELECT * FROM {name}").fetchall()
            found[name] = ([item[1] for item in columns], [item[1] for item in columns if item[5]], rows)
        return found
    finally:
        connection.close()


def flipped(value: Any, source: random.Random) -> Any:
    """The value with one bit turned over; text stays text."""
    if isinstance(value, int):
        bit = source.randrange(63)
        return value ^ (1 << bit)
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    if not raw:
        return type(value)("x" if isinstance(value, str) else b"x")
    place = source.randrange(len(raw))
    if isinstance(value, bytes):
        raw[place] ^= 1 << source.randrange(8)
        return bytes(raw)
    raw[place] ^= 1
    return raw.decode(errors="replace")


def edit(path: Path, statement: str, bindings: tuple[Any, ...]) -> bool:
    """Change the file behind the store's back; whether a row changed."""
    connection = apsw.Connection(os.fspath(path))
    try:
        connection.execute(statement, bindings)
        return connection.changes() > 0
    except apsw.ConstraintError:
        return False
    finally:
        connection.close()


def row_edits(original: Original, seed: int) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """One flipped bit in each column of each row, and each row deleted."""
    source = random.Random(seed)
    for table, (columns, key, rows) in tables(original.closed / "authority.db").items():
        where = " AND ".join(f"{column} = ?" for column in key)
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            place = tuple(values[column] for column in key)
            if key:
                yield f"{table}: deleted {place}", f"DELETE FROM {table} WHERE {where}", place
                for column in columns:
                    text = f"UPDATE {table} SET {column} = ? WHERE {where}"
                    yield f"{table}.{column} of {place}", text, (flipped(values[column], source), *place)


def edit_rows(original: Original, seed: int, every: int) -> dict[str, int]:
    ends = {"true": 0, "fallback": 0, "refused": 0}
    for number, (what, statement, bindings) in enumerate(row_edits(original, seed)):
        if number % every:
            continue
        data_dir = original.copy()
        edit(data_dir / "authority.db", statement, bindings)
        ends[original.check(data_dir, f"{what} {bindings}")] += 1
    return ends


def test_a_flipped_column_or_a_missing_row_is_never_a_wrong_answer(original: Original) -> None:
    ends = edit_rows(original, 6, 7)
    assert ends["fallback"] > 0


@pytest.mark.stress
@pytest.mark.timeout(1200)
def test_every_flipped_column_and_missing_row_is_never_a_wrong_answer(original: Original) -> None:
    ends = edit_rows(original, 7, 1)
    print(f"edits of rows: {ends}")


SWAPS = (
    "UPDATE customer SET customer_id = 'x' WHERE customer_id = 'customer-1';"
    "UPDATE customer SET customer_id = 'customer-1' WHERE customer_id = 'customer-2';"
    "UPDATE customer SET customer_id = 'customer-2' WHERE customer_id = 'x'",
    "UPDATE customer SET snapshot = (SELECT snapshot FROM customer WHERE customer_id = 'customer-1')"
    " WHERE customer_id = 'customer-3'",
    "UPDATE customer SET (seq, snapshot, numbers, log, digest) = (SELECT seq, snapshot, numbers, log, digest"
    " FROM customer WHERE customer_id = 'customer-1') WHERE customer_id = 'customer-2'",
    "UPDATE usage_counter SET customer_id = 'x' WHERE customer_id = 'customer-1';"
    "UPDATE usage_counter SET customer_id = 'customer-1' WHERE customer_id = 'customer-2';"
    "UPDATE usage_counter SET customer_id = 'customer-2' WHERE customer_id = 'x'",
    "UPDATE usage_counter SET value = 2000000 + value WHERE customer_id = 'customer-1'",
    "UPDATE usage_counter SET resource_id = 'site-3' WHERE resource_id = 'site-1'",
    "UPDATE usage_counter SET (value, seq, digest) = (SELECT value, seq, digest FROM usage_counter"
    " WHERE customer_id = 'customer-3') WHERE customer_id = 'customer-1'",
    "UPDATE credit_grant SET customer_id = 'customer-2' WHERE customer_id = 'customer-1'",
    "UPDATE credit_grant SET body = (SELECT max(body) FROM credit_grant)",
    "UPDATE measurement SET customer_id = 'customer-1' WHERE customer_id = 'customer-3'",
    "UPDATE customer_record SET body = (SELECT body FROM customer_record WHERE customer_id = 'customer-1')",
    "UPDATE customer SET slot = (slot + 1) % 4096",
    "UPDATE customer SET environment = 'staging'",
    "DELETE FROM usage_counter",
    "DELETE FROM credit_grant",
    "DELETE FROM customer",
    "DELETE FROM customer_slot",
    "DELETE FROM sequence",
    "DELETE FROM meta",
    "DELETE FROM catalog_item",
    "DELETE FROM catalog_root",
    "UPDATE catalog_item SET body = replace(body, '100', '900')",
)


@pytest.mark.parametrize("statement", SWAPS)
def test_swapped_and_missing_rows_are_never_a_wrong_answer(original: Original, statement: str) -> None:
    data_dir = original.copy()
    edit(data_dir / "authority.db", statement, ())
    original.check(data_dir, statement)


# ---------------------------------------------------------------------- whole files


def foreign_database(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(os.fspath(path))
    connection.execute("PRAGMA application_id = 77; CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    connection.close()


def newer_version(path: Path) -> None:
    connection = apsw.Connection(os.fspath(path))
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def test_the_database_of_another_application_is_refused_and_not_touched(original: Original) -> None:
    data_dir = original.copy()
    foreign_database(data_dir / "authority.db")
    before = (data_dir / "authority.db").read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Stigg(data_dir=data_dir)
    assert before == (data_dir / "authority.db").read_bytes()


def test_a_file_of_a_newer_program_is_refused_and_not_touched(original: Original) -> None:
    data_dir = original.copy()
    newer_version(data_dir / "authority.db")
    before = (data_dir / "authority.db").read_bytes()
    with pytest.raises(SchemaTooNew):
        Stigg(data_dir=data_dir)
    assert before == (data_dir / "authority.db").read_bytes()


def test_a_file_that_was_never_a_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    (tmp_path / "authority.db").write_bytes(picture)
    with pytest.raises(StoreError, match="not a database"):
        Stigg(catalog=CATALOG, data_dir=tmp_path)
    assert picture == (tmp_path / "authority.db").read_bytes()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def cut_short(path: Path) -> None:
    os.truncate(path, 700)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5000))


def text(path: Path) -> None:
    path.write_text("{}" * 3000)


def zeroed_page(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(8192)
        file.write(bytes(4096))


WHOLE: tuple[Callable[[Path], None], ...] = (truncated, cut_short, empty, garbage, picture, text)


@pytest.mark.parametrize("damage", [*WHOLE, zeroed_page, foreign_database], ids=lambda item: item.__name__)
def test_a_damaged_file_is_never_a_wrong_answer(original: Original, damage: Callable[[Path], None]) -> None:
    for arguments in ({}, FALLBACKS):
        data_dir = original.copy()
        damage(data_dir / "authority.db")
        end = original.check(data_dir, damage.__name__, **arguments)
        assert damage is zeroed_page or "true" != end


@pytest.mark.parametrize("damage", WHOLE, ids=lambda item: item.__name__)
def test_a_damaged_file_is_set_aside_and_the_customers_can_be_provisioned_again(
    original: Original, damage: Callable[[Path], None]
) -> None:
    data_dir = original.copy()
    path = data_dir / "authority.db"
    damage(path)
    size = path.stat().st_size
    with client_of(data_dir, original.clock(), catalog=CATALOG, **FALLBACKS) as client:
        for customer in CUSTOMERS:
            answer = client.get_boolean_entitlement(customer, "feature-sso")
            assert (True, True) == (answer.has_access, answer.is_fallback)
            with pytest.raises(StoreCorrupt):
                client.report_usage(customer, "feature-calls", 1)
        status = client.status()
        assert "STORAGE" == status.state
        assert status.storage is not None
        assert status.storage["lost"]
        client.provision_customer("customer-1", subscription_params={"plan_id": "plan-small"})
        client.report_usage("customer-1", "feature-calls", 1)
        metered = client.get_metered_entitlement("customer-1", "feature-calls", requested_usage=1)
        assert (True, False, 1) == (metered.has_access, metered.is_fallback, metered.current_usage)
        assert client.get_boolean_entitlement("customer-2", "feature-sso").is_fallback
        assert "STORAGE" == client.status().state
    kept = [item for item in data_dir.glob("authority.db.quarantined-*") if not item.name.endswith(("-wal", "-shm"))]
    assert [size] == [item.stat().st_size for item in kept]
    # What was lost stays lost for the next process, too.
    with client_of(data_dir, original.clock(), catalog=CATALOG) as client:
        assert not client.get_metered_entitlement("customer-1", "feature-calls").is_fallback
        denied = client.get_boolean_entitlement("customer-2", "feature-sso")
        assert (False, True, "Unknown") == (denied.has_access, denied.is_fallback, denied.access_denied_reason)


def test_a_log_goes_aside_with_its_database(original: Original) -> None:
    """Beside a new database it would be another one's."""
    data_dir = original.copy()
    path = data_dir / "authority.db"
    path.write_bytes(b"no database" * 1000)
    (data_dir / "authority.db-wal").write_bytes(b"its log")
    with client_of(data_dir, original.clock(), catalog=CATALOG) as client:
        client.provision_customer("customer-1", subscription_params={"plan_id": "plan-small"})
    kept = {item.name.partition(".quarantined-")[2].lstrip("0123456789") for item in data_dir.glob("*.quarantined-*")}
    assert {"", "-wal"} <= kept


# ---------------------------------------------------------------------- rebuilding


def test_a_damaged_counter_is_rebuilt_from_the_log(original: Original) -> None:
    data_dir = original.copy()
    assert edit(data_dir / "authority.db", "UPDATE usage_counter SET value = value + 9000000", ())
    with client_of(data_dir, original.clock()) as client:
        assert original.truth == ask(client)
        result = client.report_usage("customer-1", "feature-calls", 1)
        assert result is not None
        assert 8 == result.current_usage


def test_usage_can_be_reported_on_a_damaged_counter(original: Original) -> None:
    for statement in ("UPDATE usage_counter SET value = value + 9000000", "DELETE FROM usage_counter"):
        data_dir = original.copy()
        assert edit(data_dir / "authority.db", statement, ())
        with client_of(data_dir, original.clock()) as client:
            result = client.report_usage("customer-1", "feature-calls", 1)
            assert result is not None
            assert 8 == result.current_usage


def test_damaged_grants_are_rebuilt_from_the_ledger(original: Original) -> None:
    for statement in ("UPDATE credit_grant SET body = zeroblob(20)", "DELETE FROM credit_grant"):
        data_dir = original.copy()
        assert edit(data_dir / "authority.db", statement, ())
        with client_of(data_dir, original.clock()) as client:
            assert original.truth == ask(client)
            client.grant_credits("customer-1", "currency-ai", 1)
            assert 91 == client.get_credit_entitlement("customer-1", "currency-ai").current_balance


def test_a_damaged_snapshot_is_derived_again_from_the_record(original: Original) -> None:
    data_dir = original.copy()
    assert edit(data_dir / "authority.db", "UPDATE customer SET snapshot = zeroblob(30)", ())
    with client_of(data_dir, original.clock()) as client:
        assert original.truth == ask(client)


def test_what_cannot_be_rebuilt_is_told_and_the_others_go_on(original: Original) -> None:
    data_dir = original.copy()
    edit(data_dir / "authority.db", "UPDATE usage_counter SET value = 7 WHERE customer_id = 'customer-1'", ())
    edit(data_dir / "authority.db", "UPDATE measurement SET value = 7 WHERE customer_id = 'customer-1'", ())
    with client_of(data_dir, original.clock()) as client:
        assert client.get_metered_entitlement("customer-1", "feature-calls").is_fallback
        assert not client.get_metered_entitlement("customer-2", "feature-calls").is_fallback
        status = client.status()
        assert status.last_error is not None
        assert "customer-1" in status.last_error
        with pytest.raises(StoreCorrupt):
            client.report_usage("customer-1", "feature-calls", 1)


def test_a_warm_client_goes_on_from_memory_while_the_file_is_damaged(original: Original) -> None:
    data_dir = original.copy()
    with client_of(data_dir, original.clock()) as client:
        warm = ask(client)
        garbage(data_dir / "authority.db")
        assert warm == ask(client)
