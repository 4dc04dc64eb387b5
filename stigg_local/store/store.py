"""The store of one environment in one database file: opening, reading, writing, upkeep, forks.

Laws: the database is the truth and everything beside it only cost; a read holds no transaction after it
returns; `write` is the only way to change anything. Nothing here knows a rule of the domain.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from os import getpid
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from stigg_local.clock import Clock, SystemClock
from stigg_local.errors import ClientClosed, StoreCorrupt, StoreError
from stigg_local.store.chores import Chores, DueCallback
from stigg_local.store.commit import GroupCommit, Member
from stigg_local.store.connection import is_damage, prepare_directory, store_error
from stigg_local.store.digest import CUSTOMER
from stigg_local.store.gate import GATE
from stigg_local.store.keeper import Keeper
from stigg_local.store.locks import readonly_error
from stigg_local.store.preload import scan
from stigg_local.store.quarantine import open_database
from stigg_local.store.readers import LOAD, CustomerRows, Reader, Readers, verified_rows
from stigg_local.store.seals import catalog_items, catalog_root, customer_corrupt, verify_absent
from stigg_local.store.sequence import Run, read_meta, read_or_rebuild_position
from stigg_local.store.site import DEFAULT_FILENAME, Site
from stigg_local.store.tx import Tx
from stigg_local.store.upkeep import Upkeep
from stigg_local.store.writer import Writer

if TYPE_CHECKING:
    import apsw

    from stigg_local.store.queued import Group, ReportQueue
else:
    from stigg_local.store import lazy_apsw as apsw

T = TypeVar("T")

# A fork waits this long for the running batch; where that is not enough, the child refuses to go on.
FORK_WAIT_S = 30.0
# What is queued when the last client closes has this long to be stored.
CLOSE_WAIT_S = 10.0
# Up to this size a file is rewritten in a few hundredths of a second: whoever erased waits for it.
SCRUB_AT_ONCE_BYTES = 4 << 20

_open: dict[tuple[str, str, str, int], Store] = {}


class Store:
    """One environment of one database file, shared by all clients of a process that name the same file.

    Attributes:
        environment: The environment whose rows this store reads and writes.
        path: The database file.
    """

    def __init__(self, site: Site, environment: str) -> None:
        self.environment = environment
        self.path = site.path
        self._site = site
        self._slots = site.generation.slots
        self._pid = getpid()
        self._references = 1
        self._key: tuple[str, str, str, int] | None = None
        self._readers = Readers(site.connect, site.path)
        self._local = self._readers.local
        self._writer = Writer(site, environment, self._note_sqlite)
        self._commit = GroupCommit(self._writer.run)
        self._keeper: Keeper | None = None
        self._keeper_lock = Lock()
        self._is_closed = False
        self._paused: Member | None = None
        self._shut: list[Reader] | None = None
        self._is_at_rest = False
        self.queue: ReportQueue | None = None
        # The effective time, epoch milliseconds UTC: it never goes back behind what was written.
        self.now_ms: Callable[[], int] = site.high_water.now_ms
        # What holds answers in this process, as (customer id -> answers, those that were taken out).
        self.memos: list[tuple[dict[str, Any], list[Any]]] = []
        self.chores = Chores(site, self.read, self.write, self._exclusively)
        self.upkeep = Upkeep(site, environment, self._readers, self._exclusively, self.chores)

    # ------------------------------------------------------------------ opening and closing

    @classmethod
    def open(
        cls, data_dir: str | os.PathLike[str], *, environment: str, clock: Clock, filename: str = DEFAULT_FILENAME
    ) -> Store:
        """Open the file, making it where it is missing; every `open` wants its `close`.

        Raises:
            StoreError: The directory cannot be used, or the file is another program's.
            SchemaTooNew: A newer version of this package wrote the file.
        """
        directory = prepare_directory(os.fspath(data_dir))
        # The system clock is one clock, whoever made the object.
        clock_id = 0 if isinstance(clock, SystemClock) else id(clock)
        key = (directory, filename, environment, clock_id)
        # The gate's lock: a fork must not happen while connections are being opened here.
        with GATE.lock:
            if any(other._pid != getpid() for other in _open.values()):
                # SQLite's tables of locks came along and are wrong here, also for a new connection.
                raise _inherited()
            store = _open.get(key)
            if store is not None:
                store._references += 1
                return store
            store = _open[key] = cls._make(directory, filename, environment, clock)
            store._key = key
            GATE.add(store)
        store._ensure_keeper()
        return store

    @classmethod
    def _make(cls, directory: str, filename: str, environment: str, clock: Clock) -> Store:
        try:
            site = Site(directory, filename, clock)
        except OSError as error:
            raise StoreError(
                f"`{directory}` cannot be used: {error.strerror}", hint="make it a writable directory"
            ) from error
        try:
            open_database(site, environment)
            return cls(site, environment)
        except apsw.Error as error:
            site.close_locks()
            raise store_error(error, site.path) from error
        except BaseException:
            site.close_locks()
            raise

    def close(self, wait_s: float = CLOSE_WAIT_S) -> None:
        """Give the store back; the last one to do so closes its connections. No shared file is deleted.

        Args:
            wait_s: How long the last one waits for what is queued to be stored.

        Raises:
            StoreError: Not everything that was queued could be stored in time.
        """
        if self._pid != getpid():
            return
        unstored: StoreError | None = None
        if self._references <= 1 and self.queue is not None:
            try:
                self.queue.close(wait_s)
            except StoreError as error:
                unstored = error
        try:
            self._close()
        finally:
            if unstored is not None:
                raise unstored

    def _close(self) -> None:
        with GATE.lock:
            self._references -= 1
            if self._references > 0 or self._is_closed:
                return
            self._is_closed = True
            if self._key is not None and _open.get(self._key) is self:
                del _open[self._key]
        with self._keeper_lock:
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop()
        # Under the gate's lock again: a fork must not happen while connections are being closed.
        with GATE.lock:
            paused = self._commit.close()
            try:
                self.upkeep.end(self._writer.exclusively)
                self._writer.retire()
                self._readers.end()
                self._site.close_locks()
            finally:
                self._commit.resume(paused)
                GATE.discard(self)

    # ------------------------------------------------------------------ reading

    @property
    def generation(self) -> memoryview:
        """4096 numbers, mapped and shared by all processes: a customer's slot changes when he does."""
        return self._slots

    def load_customer(self, customer_id: str) -> CustomerRows:
        """Everything that answers about the customer are computed from, in one statement, verified.

        Returns:
            The rows; with `snapshot` None for a customer who was verifiably never there.

        Raises:
            StoreCorrupt: A digest is wrong, or the file lost rows that nobody has given up yet.
        """
        if getpid() != self._pid:
            raise _inherited()
        slot = crc32(customer_id.encode()) & 4095
        # Before the statement: a change that comes later shows in the slot.
        generation = self._slots[slot]
        try:
            reader = self._local.reader
        except AttributeError:
            reader = self._reader()
        with reader.lock:
            try:
                cursor = reader.cursor or self._reopen(reader)
                rows = cursor.execute(LOAD, (self.environment, slot, customer_id)).fetchall()
            except UnicodeDecodeError as error:
                raise customer_corrupt(customer_id, "a text") from error
            except apsw.Error as error:
                raise self._read_failed(reader, error) from error
        if rows and rows[0][0] == CUSTOMER:
            return verified_rows(self.environment, customer_id, rows, generation)
        return self.read(lambda tx: self._absent(tx, slot, customer_id, generation))

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one consistent state of the file."""
        if getpid() != self._pid:
            raise _inherited()
        reader = self._reader()
        with reader.lock:
            try:
                cursor = reader.cursor or self._reopen(reader)
                connection = cursor.connection
                is_outermost = not connection.in_transaction
                if is_outermost:
                    cursor.execute("BEGIN")
                try:
                    # A cursor of its own: `fn` may read while it goes through rows.
                    own = connection.cursor()
                    return fn(self._read_tx(own))
                finally:
                    if is_outermost and connection.in_transaction:
                        connection.execute("ROLLBACK")
            except apsw.Error as error:
                raise self._read_failed(reader, error) from error

    def _rows(self, ask: Callable[[Run], T]) -> T:
        """One statement without a transaction around it."""
        if getpid() != self._pid:
            raise _inherited()
        reader = self._reader()
        with reader.lock:
            try:
                cursor = reader.cursor or self._reopen(reader)
                return ask(Tx(cursor, self.environment, seq=0, now_ms=0).run)
            except apsw.Error as error:
                raise self._read_failed(reader, error) from error

    def load_all(self) -> Iterator[tuple[str, CustomerRows]]:
        """Every customer in the file's own order, verified; one whose rows are damaged is left out.

        No transaction stays open between two customers that are returned.
        """
        return scan(self.read, self.environment, self._slots)

    def load_catalog(self) -> tuple[int, int, list[tuple[str, str, int, str]]]:
        """The catalog as (seq of its last change, root, items as (kind, id, version, body)), verified."""

        def load(tx: Tx) -> tuple[int, int, list[tuple[str, str, int, str]]]:
            root, seq = catalog_root(tx.run, self.environment)
            return seq, root, catalog_items(tx.run, self.environment, root)

        return self.read(load)

    def catalog_seq(self) -> int:
        """Number of the transaction that last changed the catalog; 0 for an empty one."""
        return self._rows(lambda run: catalog_root(run, self.environment)[1])

    @property
    def is_readonly(self) -> bool:
        """Whether nothing can be written here."""
        return self._site.is_readonly

    @property
    def is_clock_suspect(self) -> bool:
        """Whether the wall clock jumped further ahead than can be believed; it may come back."""
        return self._site.high_water.is_suspect

    # ------------------------------------------------------------------ writing

    def write(self, fn: Callable[[Tx], T], *, operation: str, key: str, durability: str = "disk") -> T:
        """Run `fn` in the next write transaction and return what it returned, once that is committed.

        Args:
            fn: Must be idempotent: it looks first for what it has done already. It may run again, and in another
                thread.
            operation: What it is called in errors.
            key: The idempotency key that its caller has for repeating it; '' for none.
            durability: `disk` survives a power cut, `os` a killed process.

        Raises:
            StorageFull: No room; nothing was written.
            StoreBusy: Another process held the file for too long; nothing was written.
            StoreError: The outcome is unknown; repeating the call with the same key is harmless.
        """
        if getpid() != self._pid:
            raise _inherited()
        if self._site.is_readonly:
            raise readonly_error(self._site.data_dir)
        if self._keeper is None:
            self._ensure_keeper()
        result: T = self._commit.write(Member(fn, operation, key, durability))
        if self.upkeep.is_failing:
            self.upkeep.note_written()
        return result

    def write_all(self, members: Sequence[Member]) -> None:
        """Run several commands in the next transactions, in order; each is settled with its own outcome."""
        if getpid() != self._pid:
            raise _inherited()
        if self._keeper is None:
            self._ensure_keeper()
        self._commit.write_all(members)
        if self.upkeep.is_failing and all(member.error is None for member in members):
            self.upkeep.note_written()

    def queue_for(
        self, store: Callable[[Sequence[Group]], list[Exception | None]], *, size: int | None = None
    ) -> ReportQueue:
        """The queue of reports of this store, shared by all who open it in this process; made when first asked for.

        Args:
            store: Stores groups, each in a transaction, and says what became of each; the first caller's is used.
            size: How many reports it takes at most; the first caller's is used.

        Raises:
            StoreError: Nothing can ever be stored, for the directory is read-only.
        """
        if self._site.is_readonly:
            raise readonly_error(self._site.data_dir)
        # Imported here: most applications queue nothing.
        from stigg_local.store.queued import SIZE_DEFAULT, ReportQueue

        with self._keeper_lock:
            if self.queue is None:
                self.queue = ReportQueue(store, self.upkeep.note, self.memos, size=size or SIZE_DEFAULT)
            return self.queue

    def settle_queued(self, customer_id: str) -> None:
        """Wait until what this process has queued of the customer is stored.

        Raises:
            StoreError: It cannot be stored now; it stays queued.
        """
        if self.queue is not None and self.queue.depth:
            self.queue.flush(CLOSE_WAIT_S, customer_id, is_patient=False)

    def confirm_clock(self) -> None:
        """Believe the wall clock as it is now, however far it jumped."""
        self._site.high_water.confirm()

    # ------------------------------------------------------------------ upkeep

    def status(self) -> dict[str, Any]:
        """The state of the store as plain values; never raises for a damaged file."""
        return self.upkeep.status() | {"environment": self.environment, "closed": self._is_closed}

    def add_tick(self, fn: Callable[[], dict[str, Any] | None]) -> None:
        """Let the leader call `fn` about once a second, outside every lock."""
        self.upkeep.ticks.append(fn)

    def remove_tick(self, fn: Callable[[], dict[str, Any] | None]) -> None:
        """Undo `add_tick`."""
        if fn in self.upkeep.ticks:
            self.upkeep.ticks.remove(fn)

    def tick(self) -> dict[str, Any]:
        """Do now what the leader does about once a second, and say what it did."""
        try:
            return self.upkeep.tick(is_whole=True)
        except apsw.Error as error:
            self._note_sqlite(error)
            raise store_error(error, self.path) from error

    def on_due(self, callback: DueCallback) -> None:
        """Let the leader call `callback` when a boundary is reached, outside every lock, and `tick` at once.

        Args:
            callback: Gets a time that is surely reached, settles about a hundred boundaries of those up to it in
                a transaction that reads them itself, and returns how many; 0 ends the round.
        """
        self.chores.due_callbacks.append(callback)

    def remove_due(self, callback: DueCallback) -> None:
        """Undo `on_due`."""
        if callback in self.chores.due_callbacks:
            self.chores.due_callbacks.remove(callback)

    def scrub(self) -> bool:
        """Make what was erased unreadable in every file of this database, also to who reads the disk.

        It rewrites the database, and writers wait for it. Copies that were made of the file keep what they hold.

        Returns:
            Whether it is done; otherwise a reader holds the log, and the leader tries again until it is.
        """
        if self._site.is_readonly:
            raise readonly_error(self._site.data_dir)
        try:
            return self.chores.scrub()
        except apsw.Error as error:
            self._note_sqlite(error)
            raise store_error(error, self.path) from error

    def scrub_if_small(self) -> bool:
        """Fulfil the wish for a scrub at once where the file is small; it never raises.

        Returns:
            Whether the bytes are gone; otherwise the wish stays, and the leader fulfils it.
        """
        try:
            return os.path.getsize(self.path) <= SCRUB_AT_ONCE_BYTES and self.chores.scrub(is_wished=True)
        except apsw.Error as error:
            self._note_sqlite(error)
        except (OSError, StoreError):
            pass
        return False

    def wait_for_events(self, after: tuple[int, int], timeout_s: float) -> bool:
        """Wait for an event after a position of the log, also one of another process; False when time is up."""
        return self.chores.wait_for_events(after, timeout_s)

    def _ensure_keeper(self) -> None:
        with self._keeper_lock:
            if self._keeper is None and not self._is_closed:
                self._keeper = Keeper(self.upkeep)
                self._keeper.start()

    def _exclusively(self, action: Callable[[apsw.Connection], object], *, begins: bool = True) -> None:
        """Run `action` in the line and in the writer queue, so that nobody writes meanwhile."""
        stop = Member()
        try:
            self._commit.pause(stop)
            self._writer.exclusively(action, begins=begins)
        finally:
            self._commit.resume(stop)

    # ------------------------------------------------------------------ forks

    def before_fork_writes(self) -> None:
        """Let the running batch end and start no other."""
        self._is_at_rest = False
        if self._commit.is_led_by_caller():
            # A fork inside a command: it fails in both processes, and its key says what became of it.
            self._writer.retire()
            return
        self._paused = Member()
        if self._commit.pause(self._paused, FORK_WAIT_S):
            self._writer.retire()
            self._is_at_rest = True

    def before_fork_reads(self) -> None:
        """Let running reads end, close every connection, start no read."""
        self._shut, is_whole = self._readers.shut(FORK_WAIT_S)
        self._is_at_rest = self._is_at_rest and is_whole

    def after_fork_in_parent(self) -> None:
        """Go on."""
        shut, self._shut = self._shut, None
        paused, self._paused = self._paused, None
        if shut is not None:
            self._readers.unshut(shut)
        if paused is not None:
            self._commit.resume(paused)

    def after_fork_in_child(self) -> None:
        """Forget the parent's threads, locks and unfinished commands; connections are opened when used."""
        self._shut = self._paused = None
        self._readers.reset()
        self._local = self._readers.local
        self._commit = GroupCommit(self._writer.run)
        self._keeper, self._keeper_lock = None, Lock()
        self._site.close_locks()
        self._site.open_locks()
        self.upkeep.reset()
        if self.queue is not None:
            self.queue.reset()
        if self._is_at_rest:
            # A store that did not come to rest in time stays the parent's.
            self._pid = getpid()

    # ------------------------------------------------------------------ inside

    def _reader(self) -> Reader:
        if self._keeper is None:
            self._ensure_keeper()
        return self._readers.of_thread()

    def _reopen(self, reader: Reader) -> apsw.Cursor:
        if self._keeper is None and not self._is_closed:
            self._ensure_keeper()
        return self._readers.open(reader)

    def _read_tx(self, cursor: apsw.Cursor) -> Tx:
        def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
            return cursor.execute(statement, bindings).fetchall()

        position = read_or_rebuild_position(run, self._site.generation, self._site.mark, may_write=False)
        self._site.high_water.raise_to(position.high_water_ms)
        return Tx(cursor, self.environment, seq=position.seq, now_ms=self.now_ms())

    def _absent(self, tx: Tx, slot: int, customer_id: str, generation: int) -> CustomerRows:
        if "lost_ms" in read_meta(tx.run):
            raise StoreCorrupt(
                f"whether customer `{customer_id}` exists is not known: the file was set aside as damaged",
                hint="restore a backup, or provision again and clear the mark",
            )
        verify_absent(tx.run, self.environment, slot, customer_id)
        return CustomerRows(0, None, [], [], generation, tx.catalog_seq())

    def _read_failed(self, reader: Reader, error: apsw.Error) -> StoreError:
        self._note_sqlite(error)
        # The next read gets a new connection: this one's view of the file may be what is wrong.
        reader.close()
        return store_error(error, self.path)

    def _note_sqlite(self, error: apsw.Error) -> None:
        if is_damage(error):
            self._site.mark.set_suspect(True)
        self.upkeep.note_sqlite(error)


def flush_queues() -> None:
    """Store what is queued in every store of this process, as far as that goes in time."""
    for store in list(_open.values()):
        if store.queue is not None:
            with suppress(StoreError):
                store.queue.flush(CLOSE_WAIT_S)


def _inherited() -> ClientClosed:
    return ClientClosed(
        "the store was inherited by a process whose fork it could not see or not wait for",
        hint="fork through os.fork or multiprocessing, or make the client after the fork",
    )
