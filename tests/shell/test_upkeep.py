"""Keeping the log short between two ticks: where much is written, and nowhere else."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local.store import Store, upkeep
from stigg_local.store.connection import truncate_log
from stigg_local.store.upkeep import PAGE_BYTES
from tests.shell.stores import add, opened

LIMIT_BYTES = 256 * PAGE_BYTES


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in ("CHECKPOINT_WAL_BYTES", "WATCHED_WAL_BYTES"):
        monkeypatch.setattr(upkeep, name, LIMIT_BYTES)
    with opened(tmp_path) as opened_store:
        opened_store._keeper.stop()  # type: ignore[union-attr]
        yield opened_store


@pytest.fixture
def looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done about the log: looks at how much of it waits, and checkpoints."""
    done: list[str] = []
    checkpoint = store.upkeep._checkpoint

    def counted(mode: int | None = None) -> tuple[int, int]:
        done.append("checkpoint" if mode is None else "look")
        return checkpoint(mode)

    monkeypatch.setattr(store.upkeep, "_checkpoint", counted)
    return done


def log_bytes(store: Store) -> int:
    return os.stat(store.path + "-wal").st_size


def fill(store: Store) -> None:
    """Write until the log is longer than it should be."""
    number = 0
    store.write(lambda tx: tx.put_customer("large", os.urandom(LIMIT_BYTES // 2)), operation="put", key="large")
    while log_bytes(store) <= LIMIT_BYTES + PAGE_BYTES:
        number += 1
        add(store, f"fill-{number}-{log_bytes(store)}", durability="os")


def report(store: Store, count: int = 1) -> None:
    for number in range(count):
        add(store, f"more-{number}-{store.status()['seq']}", durability="os")


def test_a_long_log_is_written_again_from_its_beginning(store: Store) -> None:
    fill(store)
    store.upkeep.keep_log_short()
    size = log_bytes(store)
    report(store, 5)
    assert size == log_bytes(store)
    # Emptied it would have to grow again.
    assert size > LIMIT_BYTES


def test_a_short_log_is_left_alone(store: Store, looks: list[str]) -> None:
    report(store, 3)
    store.upkeep.keep_log_short()
    assert [] == looks


def test_a_log_that_began_again_is_short(store: Store, looks: list[str]) -> None:
    """The file stays as long as it was, whatever of it counts."""
    fill(store)
    store.upkeep.keep_log_short()
    report(store, 2)
    looks.clear()
    store.upkeep.keep_log_short()
    assert ["look"] == looks


def test_where_nothing_was_written_nothing_is_looked_at(store: Store, looks: list[str]) -> None:
    fill(store)
    store.upkeep.keep_log_short()
    looks.clear()
    for _ in range(3):
        store.upkeep.keep_log_short()
    assert [] == looks


def reader_of(store: Store) -> Any:
    reader = apsw.Connection(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM customer").fetchall()
    return reader


def test_a_log_that_a_reader_holds_waits_for_the_tick(store: Store, looks: list[str]) -> None:
    report(store)
    reader = reader_of(store)
    fill(store)
    store.upkeep.keep_log_short()
    looks.clear()
    report(store)
    store.upkeep.keep_log_short()
    assert [] == looks
    reader.close()
    store.tick()
    size = log_bytes(store)
    report(store, 5)
    assert size == log_bytes(store)


def test_a_log_that_was_emptied_is_not_held_any_more(store: Store) -> None:
    report(store)
    reader = reader_of(store)
    fill(store)
    store.upkeep.keep_log_short()
    reader.close()
    store._exclusively(truncate_log, begins=False)
    store.tick()
    fill(store)
    store.upkeep.keep_log_short()
    size = log_bytes(store)
    report(store, 5)
    assert size == log_bytes(store)


def test_the_keeper_keeps_the_log_short_without_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHECKPOINT_WAL_BYTES", "WATCHED_WAL_BYTES"):
        monkeypatch.setattr(upkeep, name, LIMIT_BYTES)
    monkeypatch.setattr(upkeep.Upkeep, "tick", lambda self: {})
    with opened(tmp_path) as store:
        fill(store)
        for _ in range(2000):
            frames, done = store.upkeep._checkpoint(apsw.SQLITE_CHECKPOINT_NOOP)
            if frames == done or frames * PAGE_BYTES <= LIMIT_BYTES:
                break
            report(store)
        else:
            pytest.fail("the log is as long as it was")


def test_damage_stays_told_after_a_commit_that_went_well(store: Store) -> None:
    """What SQLite has seen is not mended by writing elsewhere; a full disk is over as soon as there is room."""
    store.upkeep.note_sqlite(apsw.FullError("full"))
    add(store, "one")
    assert ("ok", None) == (store.status()["storage"], store.status()["last_error"])
    store.upkeep.note_sqlite(apsw.CorruptError("malformed"))
    add(store, "two")
    assert "corrupt" == store.status()["storage"]
    assert "malformed" in str(store.status()["last_error"])
