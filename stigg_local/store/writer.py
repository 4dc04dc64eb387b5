"""One batch of commands as one transaction: queue, begin, savepoints, in-flight marks, commit, settle.

Laws: slots are in flight from before the commit until its outcome is known; a failed commit is an unknown
one, so the connection is retired and the commands run once more, each finding its stored reply if it had
been committed. Nothing is ever synced twice on a connection whose sync failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stigg_local.errors import StoreError
from stigg_local.store.commit import Member
from stigg_local.store.connection import store_error
from stigg_local.store.sequence import Position, put_meta, put_position, read_or_rebuild_position
from stigg_local.store.site import Site
from stigg_local.store.tx import Tx

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw


def _is_of_one_statement(error: BaseException) -> bool:
    """Errors that leave the transaction as it was."""
    kinds = (apsw.ConstraintError, apsw.SQLError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)
    return isinstance(error, kinds)


def _is_final(error: BaseException) -> bool:
    """Errors after which it is known that nothing was committed and that trying again at once is pointless."""
    kinds = (
        apsw.FullError,
        apsw.BusyError,
        apsw.LockedError,
        apsw.ReadOnlyError,
        apsw.CorruptError,
        apsw.NotADBError,
    )
    return isinstance(error, kinds)


class Writer:
    """The writing connection of a process; only the leader of the group commit calls it."""

    def __init__(self, site: Site, environment: str, on_error: Callable[[apsw.Error], None]) -> None:
        self._site = site
        self._environment = environment
        self._on_error = on_error
        self._connection: apsw.Connection | None = None
        self._inode = 0
        self._synchronous = "FULL"
        # Whether slots are in flight because of this process.
        self._has_marked = False

    def run(self, batch: list[Member]) -> None:
        """Execute and settle every member; only an interrupt leaves members unsettled."""
        for is_last in (False, True):
            try:
                self._transaction(batch, is_again=is_last)
                return
            except apsw.Error as error:
                self._on_error(error)
                failed = store_error(error, self._site.path)
                if is_last or _is_final(error):
                    self._settle_failed(batch, failed, error)
                    return
            except StoreError as error:
                for member in batch:
                    member.settle(None, error)
                return

    def retire(self) -> None:
        """Close the connection; the next batch opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)

    def connection(self) -> apsw.Connection:
        """The open connection to the file that the path leads to now; the caller holds the writer queue."""
        try:
            inode = os.stat(self._site.path).st_ino
        except OSError as error:
            raise StoreError(
                f"`{self._site.path}` is gone: {error.strerror}", hint="restore it, or make a new client"
            ) from error
        if self._connection is None or inode != self._inode:
            self.retire()
            self._connection = self._site.connect()
            self._inode = inode
            self._synchronous = "FULL"
            self._site.settle_epoch(self._connection, self._environment)
        return self._connection

    def exclusively(self, action: Callable[[apsw.Connection], None], *, begins: bool = True) -> None:
        """Run `action` while no process of the queue writes.

        Args:
            action: Gets the writing connection.
            begins: Hold SQLite's own write lock as well; what `action` writes is undone.
        """
        queue = self._site.queue
        try:
            queue.acquire()
            connection = self.connection()
            try:
                if begins:
                    connection.execute("BEGIN IMMEDIATE")
                action(connection)
                if begins:
                    connection.execute("ROLLBACK")
            except BaseException:
                self.retire()
                raise
        finally:
            queue.release()

    def _settle_failed(self, batch: list[Member], failed: StoreError, cause: apsw.Error) -> None:
        for member in batch:
            error = failed
            if not _is_final(cause):
                error = StoreError(
                    f"the outcome of `{member.operation}` under key `{member.key}` is unknown: {cause}",
                    hint="repeat the call with the same key",
                )
                error.retryable = True
            error.__cause__ = cause
            member.settle(None, error)

    def _transaction(self, batch: list[Member], *, is_again: bool) -> None:
        queue = self._site.queue
        interrupt: BaseException | None = None
        self._has_marked = False
        try:
            queue.acquire()
            connection = self.connection()
            try:
                if is_again:
                    # What an unsynced log brought back is written once more, into the database, and synced
                    # there: a second sync of the log would say yes to pages that the first one lost.
                    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
                outcomes = self._commit(connection, batch)
            except BaseException:
                # Whatever state it is in: a close rolls back what was not committed.
                self.retire()
                raise
            for member, outcome in zip(batch, outcomes, strict=True):
                member.settle(*outcome)
        finally:
            while True:
                try:
                    if self._has_marked:
                        self._site.settle_left_over()
                        self._has_marked = False
                    queue.release()
                    break
                except (KeyboardInterrupt, SystemExit) as error:
                    # Other processes wait for this lock, so the step is repeated until it is through.
                    interrupt = error
            if interrupt is not None:
                raise interrupt

    def _commit(self, connection: apsw.Connection, batch: list[Member]) -> list[tuple[Any, BaseException | None]]:
        site = self._site
        synchronous = "FULL" if any(member.durability == "disk" for member in batch) else "NORMAL"
        if synchronous != self._synchronous:
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        if site.queue.is_unsettled:
            site.settle_left_over()

        def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
            return cursor.execute(statement, bindings).fetchall()

        position = read_or_rebuild_position(run, site.generation, site.mark)
        site.high_water.raise_to(position.high_water_ms)
        seq = position.seq + 1
        now_ms = site.high_water.now_ms()
        tx = Tx(cursor, self._environment, seq=seq, now_ms=now_ms, mark_ms=site.high_water.mark_ms)
        outcomes = [self._run_member(cursor, tx, member, len(batch) > 1) for member in batch]
        if not tx.has_written:
            cursor.execute("ROLLBACK")
            return outcomes
        put_position(run, self._environment, Position(seq, site.high_water.mark_ms))
        if site.stored_anchor != (anchor := site.high_water.anchor()):
            put_meta(run, "boot", anchor)
            site.stored_anchor = anchor
        slots = tx.all_slots_touched()
        self._has_marked = True
        site.queue.set_unsettled(True)
        site.generation.mark_in_flight(slots)
        cursor.execute("COMMIT")
        site.mark.store_seq(seq)
        site.generation.settle(slots, seq)
        site.queue.set_unsettled(False)
        self._has_marked = False
        return outcomes

    def _run_member(
        self, cursor: apsw.Cursor, tx: Tx, member: Member, has_company: bool
    ) -> tuple[Any, BaseException | None]:
        assert member.fn is not None
        had_written = tx.has_written
        if has_company:
            cursor.execute("SAVEPOINT member")
        try:
            result = member.fn(tx)
            tx.seal()
        except Exception as error:
            if isinstance(error, apsw.Error) and not _is_of_one_statement(error):
                raise
            # A lone command needs no savepoint: with nothing written, the whole transaction is undone.
            if has_company:
                cursor.execute("ROLLBACK TO member; RELEASE member")
            tx.forget()
            tx.has_written = had_written
            if isinstance(error, apsw.Error):
                failed = store_error(error, self._site.path)
                failed.__cause__ = error
                return None, failed
            return None, error
        if has_company:
            cursor.execute("RELEASE member")
        return result, None
