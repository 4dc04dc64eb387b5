"""Damaged files, seen from the public client: an answer is the true one, a fallback that says so, or an error.

The damage is real: bits of the files, rows and keys of the tables, whole files. Nothing is mocked.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import Stigg, StiggError
from stigg_local.errors import StoreError
from stigg_local.testing import ManualClock
from tests.shell.clients import (
    CATALOG,
    FALLBACKS,
    NOON,
    Answers,
    ask,
    client_of,
    fill,
    wrong,
)

SIDE_FILES = ("environment", "generation", "authority.mark", "writer.lock")


class Original:
    """A filled directory, closed cleanly, with its answers; and one whose log was never checkpointed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.closed, self.open = root / "closed", root / "open"
        clock = ManualClock(NOON)
        client = Stigg(catalog=CATALOG, data_dir=self.closed, clock=clock)
        self.history = [ask(client)]
        for _ in fill(client):
            clock.advance(seconds=1)
            self.history.append(ask(client))
        self.now = clock.time()
        shutil.copytree(self.closed, self.open, ignore=shutil.ignore_patterns("*-shm"))
        client.close()
        self.truth: Answers = self.history[-1]
        self._copies = 0

    def clock(self) -> ManualClock:
        clock = ManualClock(NOON)
        clock.advance(seconds=len(self.history) - 1)
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
        except StiggError as error:
            assert isinstance(error, StoreError), f"{what}: {error!r}"
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
    except StiggError as error:
        assert isinstance(error, StoreError), f"{what}: {error!r}"
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
        found = {}
        names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (name,) in names:
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
