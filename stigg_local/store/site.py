"""The files of one store and what every part of it shares: paths, locks, generation, mark, clock.

Law: side files only ever say "look again" or "this is an older copy"; the truth is the database alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stigg_local.clock import Clock, new_id
from stigg_local.store.connection import connect
from stigg_local.store.digest import SLOT_COUNT
from stigg_local.store.generation import Generation
from stigg_local.store.high_water import HighWater
from stigg_local.store.locks import LeaderLock, WriterQueue
from stigg_local.store.mark import Mark
from stigg_local.store.schema import stand_in_for_missing
from stigg_local.store.sequence import (
    Position,
    put_meta,
    put_position,
    read_meta,
    read_or_rebuild_position,
    read_position,
)

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

DEFAULT_FILENAME = "authority.db"


class Site:
    """One database file with its side files, all in one directory."""

    def __init__(self, data_dir: str, filename: str, clock: Clock) -> None:
        # Several databases may share a directory; the usual one has the plain names.
        stem = "" if filename == DEFAULT_FILENAME else filename.rpartition(".")[0] + "."
        self.data_dir = data_dir
        self.path = os.path.join(data_dir, filename)
        self._side = os.path.join(data_dir, stem)
        self.mark_path = os.path.join(data_dir, filename.rpartition(".")[0] + ".mark")
        self.clock = clock
        self.high_water = HighWater(clock)
        # Root may write where the mode forbids it, but not on a file system that is mounted read-only.
        self.is_readonly = not os.access(data_dir, os.W_OK)
        self.generation = Generation(self._side + "generation", is_readonly=self.is_readonly)
        self.mark = Mark(self.mark_path, is_readonly=self.is_readonly)
        self.file_id = ""
        self.epoch = 0
        # What was committed here and is not in the file any more, as a text; empty where nothing is missing.
        self.missing = ""
        self.stored_anchor: str | None = None
        self.open_locks()

    def open_locks(self) -> None:
        """Open the lock files; again in a forked child, where the inherited ones are the parent's."""
        self.queue = WriterQueue(self._side + "writer.lock", is_readonly=self.is_readonly)
        self.leader = LeaderLock(self._side + "leader.lock", is_readonly=self.is_readonly)

    def close_locks(self) -> None:
        """Close the lock files."""
        self.queue.close()
        self.leader.close()

    def connect(self) -> apsw.Connection:
        """A new connection to the database."""
        connection = connect(self.path, readonly=self.is_readonly)
        if self.is_readonly:
            try:
                stand_in_for_missing(connection)
            except BaseException:
                connection.close(True)
                raise
        return connection

    def settle_left_over(self) -> None:
        """Void what a dead writer left in flight; the caller holds the writer queue."""
        self.generation.bump(self.generation.in_flight())
        self.queue.set_unsettled(False)

    def settle_epoch(self, connection: apsw.Connection, environment: str) -> None:
        """Find out whether this is the database that was here, and begin an epoch if not.

        The caller holds the writer queue.
        """

        def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
            return connection.execute(statement, bindings).fetchall()

        # The mark first: it may only be behind what is read after it.
        self.mark.reload()
        meta = read_meta(run)
        position = read_position(run)
        file_id, epoch = meta.get("file_id", ""), int(meta.get("epoch", "0"))
        if position is None or not file_id or not self.mark.knows(file_id, epoch, position.seq):
            first = 1 if position is None or not file_id else position.seq + 1
            if self.mark.file_id and file_id in ("", self.mark.file_id) and first <= self.mark.seq:
                self.missing = (
                    f"transactions {first} to {self.mark.seq} were committed here and are not in the file:"
                    " it is an older copy, or the disk has lost them"
                )
            file_id, epoch, position = self._begin_epoch(connection, run, environment)
        self.file_id, self.epoch = file_id, epoch
        self.stored_anchor = meta.get("boot")
        self.high_water.load(position.high_water_ms, self.stored_anchor)

    def _begin_epoch(self, connection: apsw.Connection, run: Any, environment: str) -> tuple[str, int, Position]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            meta = read_meta(run)
            position = read_or_rebuild_position(run, self.generation, self.mark)
            file_id = meta.get("file_id") or new_id()
            # A file made just now beside no memory of another one is the first of its epoch.
            epoch = max(int(meta.get("epoch", "0")), self.mark.epoch) + 1
            seq = max(position.seq, self.mark.seq, self.generation.seq_max())
            self.high_water.load(position.high_water_ms, meta.get("boot"))
            position = Position(seq, self.high_water.mark_ms)
            put_meta(run, "file_id", file_id)
            put_meta(run, "epoch", str(epoch))
            if "created_ms" not in meta:
                put_meta(run, "created_ms", str(self.high_water.now_ms()))
            put_position(run, environment, position)
            self.generation.mark_in_flight(range(SLOT_COUNT))
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self.generation.bump(range(SLOT_COUNT))
        self.mark.replace(file_id, epoch, seq)
        return file_id, epoch, position
