"""What the leader and every process do besides answering: checkpoint, follow, heal, watch files, status.

Laws: a checkpoint that fails is noted, never raised to a writer; a slot is voided only where no process can
be committing; a replaced file is noticed within a second and opened anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from stigg_local.errors import StoreError
from stigg_local.store.chores import Chores
from stigg_local.store.connection import is_damage, truncate_log
from stigg_local.store.digest import SLOT_COUNT
from stigg_local.store.generation import IN_FLIGHT, UNIQUE, Generation
from stigg_local.store.readers import Readers
from stigg_local.store.sequence import Position, Run, put_position, read_meta, read_position
from stigg_local.store.site import Site

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

CHECKPOINT_WAL_BYTES = 4 << 20
# From this size on the log is looked at between two ticks, too.
WATCHED_WAL_BYTES = 4 << 20
TRUNCATE_WAL_BYTES = 32 << 20
ALARM_WAL_BYTES = 256 << 20
PAGE_BYTES = 4096
TIME_BEHIND_MS = 60_000

_CHANGED = "SELECT slot, seq FROM customer WHERE environment = ? AND seq > ?"
_CATALOG_SEQ = "SELECT coalesce(max(seq), 0) FROM catalog_root WHERE environment = ?"


class Exclusively(Protocol):
    """Runs an action where nobody writes."""

    def __call__(self, action: Callable[[apsw.Connection], object], *, begins: bool = True) -> None:
        """Run it; with `begins`, inside SQLite's write lock too."""


class Upkeep:
    """The periodic side of one store."""

    def __init__(
        self,
        site: Site,
        environment: str,
        readers: Readers,
        exclusively: Exclusively,
        chores: Chores,
    ) -> None:
        self._site = site
        self._environment = environment
        self._readers = readers
        self._exclusively = exclusively
        self._chores = chores
        self.ticks: list[Callable[[], dict[str, Any] | None]] = []
        self._errors: dict[str, str] = {}
        self._storage = "ok"
        self.is_failing = False
        self.reset()
        self._tell_missing()

    def reset(self) -> None:
        """In a forked child: what was seen was seen by the parent."""
        self._inode = _inode(self._site.path)
        self._data_version = -1
        self._seq_seen = -1
        self._stuck: dict[int, int] = {}
        self._seq_before = self._seq_measured = -1
        self._is_log_held = False
        self._chores.reset()

    def end(self, exclusively: Exclusively) -> None:
        """Step back, leaving a small log behind; the caller has stopped the line."""
        if self._site.leader.is_held:
            self._store_time(exclusively)
            try:
                exclusively(truncate_log, begins=False)
            except Exception as error:
                self.note("checkpoint", error)
            self._site.leader.release()

    # ------------------------------------------------------------------ the keeper's steps

    def stand_for_leader(self) -> bool:
        """Lead if nobody does; whether this process leads."""
        return self._site.leader.try_acquire()

    def follow_others(self) -> None:
        """Void the slots of commits whose writer did not live to store them."""
        with self._readers.of_thread().lock:
            run = _runner(self._cursor())
            version = run("PRAGMA data_version", ())[0][0]
            if version == self._data_version:
                return
            self._data_version = version
            position = read_position(run)
            if position is None:
                return
            seen, self._seq_seen = self._seq_seen, position.seq
            if seen < 0:
                return
            changed = run(_CHANGED, (self._environment, seen))
            catalog_seq = run(_CATALOG_SEQ, (self._environment,))[0][0]
        view = self._site.generation.slots
        late = {slot for slot, seq in changed if view[slot] < min(seq, UNIQUE)}
        if catalog_seq > seen and any(value < min(catalog_seq, UNIQUE) for value in view):
            late = set(range(SLOT_COUNT))
        if late:
            self._exclusively(lambda _: self._site.generation.bump(late))

    def keep_log_short(self) -> None:
        """Checkpoint between two ticks where much is being written; a log that a reader holds waits for the tick."""
        seq = self._site.mark.seq
        if self._is_log_held or seq == self._seq_measured or self._wal_bytes() <= WATCHED_WAL_BYTES:
            return
        self._seq_measured = seq
        if self._checkpoint(apsw.SQLITE_CHECKPOINT_NOOP)[0] * PAGE_BYTES > WATCHED_WAL_BYTES:
            self._make_reusable()

    def heal(self) -> None:
        """Void slots that were in flight at the last look and still are."""
        view = self._site.generation.slots
        now = {slot: value for slot, value in enumerate(view) if value >= IN_FLIGHT}
        if any(self._stuck.get(slot) == value for slot, value in now.items()):
            self._exclusively(lambda _: self._site.settle_left_over())
        self._stuck = now

    def watch_files(self) -> None:
        """Open anew what was replaced under this process."""
        inode = _inode(self._site.path)
        if inode not in (0, self._inode):
            self._inode = inode
            self._readers.close_all()
            # The writer's connection settles the epoch of the file that is there now.
            self._exclusively(lambda _: None)
            self._tell_missing()
        generation = self._site.generation
        if not generation.is_current():
            self._site.generation = Generation(generation.path)
            generation.disable()

    def _tell_missing(self) -> None:
        if self._site.missing:
            hint = "restore a backup, or report again what is missing: what has its key counts once"
            self.note("transactions", StoreError(self._site.missing, hint=hint))

    def tick(self, *, is_whole: bool = False) -> dict[str, Any]:
        """Checkpoint where it is due, do the chores, and call what was added with `add_tick`.

        Args:
            is_whole: Do everything that there is to do, instead of the part that is meant for one look.
        """
        self._store_time(self._exclusively)
        done: dict[str, Any] = {"checkpoint_pages": self._checkpoint_if_due()}
        done |= self._chores.do_all() if is_whole else self._chores.look()
        for fn in list(self.ticks):
            done |= fn() or {}
        return done

    def _store_time(self, exclusively: Exclusively) -> None:
        """Store how far time has got where nothing was written for a while.

        A clock that is behind at the next start revives nothing that has ended since the last write.
        """
        mark_ms = self._site.high_water.mark_ms

        def store(connection: apsw.Connection) -> None:
            run = _runner(connection.cursor())
            connection.execute("BEGIN IMMEDIATE")
            stored = read_position(run)
            if stored is not None and stored.high_water_ms < mark_ms:
                put_position(run, self._environment, Position(stored.seq, mark_ms))
            connection.execute("COMMIT")

        if self._site.is_readonly:
            return
        try:
            with self._readers.of_thread().lock:
                position = read_position(_runner(self._cursor()))
            if position is not None and mark_ms - position.high_water_ms >= TIME_BEHIND_MS:
                exclusively(store, begins=False)
        except Exception as error:
            self.note("time", error)
        else:
            self.note("time", None)

    def note(self, what: str, error: Exception | None) -> None:
        """Remember how a step ended; log it when that changed."""
        text = "" if error is None else f"{type(error).__name__}: {error}"
        if self._errors.get(what, "") == text:
            return
        self._errors[what] = text
        if error is not None and isinstance(error, apsw.Error):
            self.note_sqlite(error)
        _log(what, text, self._site.path)

    def note_sqlite(self, error: apsw.Error) -> None:
        """Remember what SQLite says about the file."""
        if is_damage(error):
            self._storage = "corrupt"
        elif isinstance(error, apsw.ReadOnlyError):
            self._storage = "readonly"
        self._errors["sqlite"] = f"{type(error).__name__}: {error}"
        self.is_failing = True

    def note_written(self) -> None:
        """A commit went well after a failure: what was wrong is over, a damaged file apart."""
        self.is_failing = False
        if self._storage != "corrupt":
            self._storage = "ok"
            self._errors.pop("sqlite", None)

    def status(self) -> dict[str, Any]:
        """Plain values about the file and this process's part in it."""
        site = self._site
        meta: dict[str, str] = {}
        seq = site.mark.seq
        try:
            with self._readers.of_thread().lock:
                run = _runner(self._cursor())
                meta = read_meta(run)
                position = read_position(run)
                seq = seq if position is None else position.seq
        except Exception as error:
            self.note("status", error)
        is_lost = "lost_ms" in meta
        if site.is_readonly and self._storage == "ok":
            self._storage = "readonly"
        return {
            "path": site.path,
            "file_id": meta.get("file_id", site.file_id),
            "epoch": int(meta.get("epoch", site.epoch)),
            "seq": seq,
            "wal_bytes": self._wal_bytes(),
            "is_leader": site.leader.is_held,
            "storage": "quarantined" if is_lost and self._storage == "ok" else self._storage,
            "last_error": next((text for text in self._errors.values() if text), None),
            "lost": is_lost,
            "lost_ms": int(meta["lost_ms"]) if is_lost else None,
            "clock_suspect": site.high_water.is_suspect,
        }

    # ------------------------------------------------------------------ checkpoints

    def _checkpoint_if_due(self) -> int:
        wal_bytes = self._wal_bytes()
        self._is_log_held = False
        seq = self._site.mark.seq
        is_idle, self._seq_before = seq == self._seq_before, seq
        if wal_bytes <= CHECKPOINT_WAL_BYTES:
            self._errors.pop("wal", None)
            return 0
        if wal_bytes > TRUNCATE_WAL_BYTES and is_idle:
            pages = self._checkpoint()[1]
            # Readers that take longer are left alone; the next tick tries again.
            self._exclusively(truncate_log, begins=False)
        else:
            pages = self._make_reusable()
        if self._wal_bytes() > ALARM_WAL_BYTES:
            self._errors["wal"] = f"the write-ahead log has {wal_bytes} bytes: a reader holds it"
        return pages

    def _make_reusable(self) -> int:
        """Checkpoint so far that the log is written again from its beginning: at half the cost, for it need not grow.

        First the long part, which stops nobody; then the short one, for which writers wait in their queue.
        """
        frames, pages = self._checkpoint()
        if frames * PAGE_BYTES > CHECKPOINT_WAL_BYTES:
            self._exclusively(_finish, begins=False)
            frames, done = self._checkpoint(apsw.SQLITE_CHECKPOINT_NOOP)
            self._is_log_held = done < frames and frames * PAGE_BYTES > CHECKPOINT_WAL_BYTES
        return pages

    def _checkpoint(self, mode: int | None = None) -> tuple[int, int]:
        with self._readers.of_thread().lock:
            # Busy: somebody else is at it.
            with suppress(apsw.BusyError):
                return self._cursor().connection.wal_checkpoint(
                    mode=apsw.SQLITE_CHECKPOINT_PASSIVE if mode is None else mode
                )
            return 0, 0

    def _wal_bytes(self) -> int:
        try:
            return os.stat(self._site.path + "-wal").st_size
        except OSError:
            return 0

    def _cursor(self) -> apsw.Cursor:
        return self._readers.open(self._readers.of_thread())


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _finish(connection: apsw.Connection) -> None:
    with suppress(apsw.BusyError):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def _runner(cursor: apsw.Cursor) -> Run:
    return lambda statement, bindings: cursor.execute(statement, bindings).fetchall()


def _log(what: str, text: str, path: str) -> None:
    # Imported here: a healthy store never logs.
    import logging

    import structlog

    logger = structlog.wrap_logger(
        logging.getLogger("stigg_local.store"),
        processors=[structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    if text:
        logger.warning("store upkeep failed", step=what, error=text, path=path)
    else:
        logger.info("store upkeep works again", step=what, path=path)
