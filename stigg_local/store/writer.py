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
from stigg_local.store.sequence import Position, Run, put_meta, put_position, read_or_rebuild_position
from stigg_local.store.site import Site
from stigg_local.store.tx import Known, Tx

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

# Pages of a large transaction that do not fit are written before the commit and read again.
WRITER_CACHE_KIB = 16_000
# What is known of so many customers and counters is kept from one transaction to the next.
KNOWN_MAX = 1000


def _is_of_the_member(error: BaseException) -> bool:
    """Errors that leave the transaction as it was before the statement: its command's, not the disk's."""
    kinds = (apsw.ConstraintError, apsw.SQLError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError)
    return not isinstance(error, apsw.Error) or isinstance(error, kinds)


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


def _unknown(member: Member, cause: apsw.Error) -> StoreError:
    what, hint = f"`{member.operation}`", "give an idempotency_key: a call that has one can be repeated safely"
    if member.key:
        what, hint = f"{what} under key `{member.key}`", "repeat the call with the same key"
    error = StoreError(f"the outcome of {what} is unknown: {cause}", hint=hint)
    error.retryable = bool(member.key)
    return error


class _HalfDoneError(Exception):
    """A member failed after it had written, and there is no savepoint to go back to."""


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
        # What this connection's last commit left, true as long as SQLite says that nobody else has committed.
        self._known: Known | None = None
        self._position = Position(0, 0)
        self._data_version = -1

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
        self._known = None
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
            # Erased values do not stay in the pages that they were deleted from until a scrub comes round.
            self._connection.pragma("secure_delete", True)
            self._connection.pragma("cache_size", -WRITER_CACHE_KIB)
            self._inode = inode
            self._synchronous = "FULL"
            self._site.settle_epoch(self._connection, self._environment)
        return self._connection

    def exclusively(self, action: Callable[[apsw.Connection], object], *, begins: bool = True) -> None:
        """Run `action` while no process of the queue writes.

        Args:
            action: Gets the writing connection.
            begins: Hold SQLite's own write lock as well; what `action` writes is undone.
        """
        queue = self._site.queue
        try:
            queue.acquire()
            connection = self.connection()
            self._known = None
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
                error = _unknown(member, cause)
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

        def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
            return cursor.execute(statement, bindings).fetchall()

        changes = connection.total_changes()
        try:
            tx, outcomes = self._run_all(cursor, run, batch, has_savepoints=False)
        except _HalfDoneError:
            # Savepoints cost every member a part of its time, so they are for the batches that turn out to need them.
            cursor.execute("ROLLBACK")
            self._known = None
            tx, outcomes = self._run_all(cursor, run, batch, has_savepoints=True)
        if not tx.has_written:
            if connection.total_changes() != changes:
                self._known = None
            cursor.execute("ROLLBACK")
            return outcomes
        seq = tx.seq
        self._position = Position(seq, site.high_water.mark_ms)
        put_position(run, self._environment, self._position)
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

    def _run_all(
        self, cursor: apsw.Cursor, run: Run, batch: list[Member], *, has_savepoints: bool
    ) -> tuple[Tx, list[tuple[Any, BaseException | None]]]:
        site = self._site
        cursor.execute("BEGIN IMMEDIATE")
        if site.queue.is_unsettled:
            site.settle_left_over()
        known = self._known_now(cursor, run)
        site.high_water.raise_to(self._position.high_water_ms)
        now_ms = site.high_water.now_ms()
        tx = Tx(
            cursor,
            self._environment,
            seq=self._position.seq + 1,
            now_ms=now_ms,
            mark_ms=site.high_water.mark_ms,
            known=known,
        )
        outcomes = [self._run_member(cursor, tx, member, len(batch), has_savepoints) for member in batch]
        if not has_savepoints and tx.has_written:
            try:
                tx.seal()
            except Exception as error:
                if len(batch) == 1 and _is_of_the_member(error):
                    tx.forget()
                    tx.has_written = False
                    return tx, [(None, self._told(error))]
                if _is_of_the_member(error):
                    raise _HalfDoneError from error
                raise
        return tx, outcomes

    def _known_now(self, cursor: apsw.Cursor, run: Run) -> Known:
        """What is known of the file in the transaction that has just begun, its position included."""
        version: Any = cursor.execute("PRAGMA data_version").fetchall()[0][0]
        known = self._known
        if known is None or version != self._data_version:
            self._position = read_or_rebuild_position(run, self._site.generation, self._site.mark)
            self._data_version = version
            known = self._known = Known()
        elif len(known.customers) > KNOWN_MAX or len(known.counters) > KNOWN_MAX:
            known.customers.clear()
            known.counters.clear()
        return known

    def _run_member(
        self, cursor: apsw.Cursor, tx: Tx, member: Member, count: int, has_savepoints: bool
    ) -> tuple[Any, BaseException | None]:
        """Run one command; with no savepoints, what sums up the changes of all is written after the last."""
        assert member.fn is not None
        had_written, touches, changes = tx.has_written, tx.touches, cursor.connection.total_changes()
        if has_savepoints:
            cursor.execute("SAVEPOINT member")
        try:
            result = member.fn(tx)
            if has_savepoints:
                tx.seal()
        except Exception as error:
            if not _is_of_the_member(error):
                raise
            if has_savepoints:
                cursor.execute("ROLLBACK TO member; RELEASE member")
            has_changed = tx.touches != touches or cursor.connection.total_changes() != changes
            if has_changed and not has_savepoints and count > 1:
                raise _HalfDoneError from error
            if has_changed:
                # A lone command needs no savepoint: with nothing written, the whole transaction is undone.
                tx.forget()
                tx.has_written = had_written
            return None, self._told(error)
        if has_savepoints:
            cursor.execute("RELEASE member")
        return result, None

    def _told(self, error: Exception) -> Exception:
        """What the caller gets of an error."""
        if not isinstance(error, apsw.Error):
            return error
        failed = store_error(error, self._site.path)
        failed.__cause__ = error
        return failed
