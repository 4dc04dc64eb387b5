"""What the leader does with the rows themselves: settle what is due, forget old keys, scrub erased bytes.

Laws: nothing is settled or forgotten by a clock that cannot be believed; whatever two processes do at once happens
once, because each step is decided inside its transaction; a scrub that was wished for is tried until it succeeded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stigg_local.clock import new_id
from stigg_local.store import statements as sql
from stigg_local.store.connection import truncate_log
from stigg_local.store.life_rows import SCRUB_WISH
from stigg_local.store.sequence import put_meta
from stigg_local.store.site import Site
from stigg_local.store.tx import Tx

if TYPE_CHECKING:
    import apsw

    from stigg_local.store.upkeep import Exclusively

T = TypeVar("T")
DueCallback = Callable[[int], int]
"""Gets the time, settles some of what is due at it, and says how much that was."""

DAY_MS = 24 * 3600 * 1000
# A key lives so long, or as long as the longest usage window that is open now and will end.
KEY_LIFE_MS = 90 * DAY_MS
PURGE_ROWS = 1000

# Per look of the keeper, which has other things to do; the rest waits for the next one.
DUE_ROUNDS = 8
PURGE_ROUNDS = 4
# In looks of about a second each: how often old keys are looked for, and how long a failed scrub is left alone.
PURGE_LOOKS = 3600
PURGE_FIRST_LOOK = 60
SCRUB_PAUSE_LOOKS_MAX = 64
# A scrub rewrites the file, so the next one waits a second for each of its mebibytes, and at least this long.
SCRUB_PAUSE_LOOKS_MIN = 60

# The wish when the file is clean and only the log is left, because a reader held it.
_LOG_ONLY = "log"

WAIT_INTERVAL_S = 0.02
# The mark may be behind what was committed by a process that was killed, so the log itself is asked now and then.
WAITS_BETWEEN_LOOKS = 25


class Write(Protocol):
    """Runs a function in a write transaction."""

    def __call__(self, fn: Callable[[Tx], T], *, operation: str, key: str, durability: str = ...) -> T:
        """Run it and return what it returned."""


class Read(Protocol):
    """Runs a function on one state of the file."""

    def __call__(self, fn: Callable[[Tx], T]) -> T:
        """Run it and return what it returned."""


class Chores:
    """The periodic work on the rows of one store.

    Attributes:
        audit_retention_ms: How long events are kept; None keeps them for ever.
    """

    def __init__(self, site: Site, read: Read, write: Write, exclusively: Exclusively) -> None:
        self._site = site
        self._read = read
        self._write = write
        self._exclusively = exclusively
        self.due_callbacks: list[DueCallback] = []
        self.audit_retention_ms: int | None = None
        self.reset()

    def reset(self) -> None:
        """In a forked child: begin to count anew."""
        self._looks_to_purge = PURGE_FIRST_LOOK
        self._looks_to_scrub = 0
        self._failed_scrubs = 0

    def look(self) -> dict[str, Any]:
        """The leader's look, about once a second: a bounded part of what is to be done."""
        return _each(
            lambda: {"due": self.settle_due(DUE_ROUNDS)},
            self._purge_in_turn,
            self._scrub_in_turn,
        )

    def do_all(self) -> dict[str, Any]:
        """Everything that is to be done, now."""
        if self._site.is_readonly:
            return {}
        return _each(
            lambda: {"due": self.settle_due(None)},
            lambda: self.purge(None),
            lambda: {"scrubbed": self._wish() is not None and self.scrub(is_wished=True)},
        )

    # ------------------------------------------------------------------ what is due

    def settle_due(self, rounds: int | None) -> int:
        """Let those who registered settle what is due; returns how much that was.

        Args:
            rounds: Ask each of them at most so often; None asks for as long as something is settled.
        """
        settled = 0
        for callback in list(self.due_callbacks):
            left = rounds
            while left is None or left > 0:
                now_ms = self._sure_ms()
                due_ms = self._read(lambda tx: tx.next_due())
                if due_ms is None or due_ms > now_ms:
                    return settled
                count = callback(now_ms)
                settled += count
                if count <= 0:
                    break
                left = None if left is None else left - 1
        return settled

    def _sure_ms(self) -> int:
        high_water = self._site.high_water
        now_ms = high_water.now_ms()
        return high_water.mark_ms if high_water.is_suspect else now_ms

    # ------------------------------------------------------------------ what is old

    def purge(self, rounds: int | None) -> dict[str, int]:
        """Forget keys and events that are old enough, oldest first, in small transactions."""
        purged = {"purged_keys": 0, "purged_events": 0}
        now_ms = self._sure_ms()
        if self._site.high_water.is_suspect:
            return purged
        keys_before_ms = self._read(lambda tx: _keys_before(tx, now_ms))
        if keys_before_ms is not None:
            purged["purged_keys"] = self._in_rounds(
                rounds, lambda tx: tx.purge_idempotency(keys_before_ms, PURGE_ROWS)
            )
        if self.audit_retention_ms is not None:
            events_before_ms = now_ms - self.audit_retention_ms
            if self._read(lambda tx: tx.has_events_before(events_before_ms)):
                purged["purged_events"] = self._in_rounds(
                    rounds, lambda tx: tx.purge_events(events_before_ms, PURGE_ROWS)
                )
        return purged

    def _purge_in_turn(self) -> dict[str, int]:
        self._looks_to_purge -= 1
        if self._looks_to_purge > 0:
            return {}
        self._looks_to_purge = PURGE_LOOKS
        purged = self.purge(PURGE_ROUNDS)
        if any(purged.values()):
            self._looks_to_purge = 1
        return purged

    def _in_rounds(self, rounds: int | None, step: Callable[[Tx], int]) -> int:
        total = 0
        while rounds is None or rounds > 0:
            # Losing this to a power cut loses nothing, so it does not wait for the disk.
            count = self._write(step, operation="purge", key=new_id(), durability="os")
            total += count
            if count < PURGE_ROWS:
                break
            rounds = None if rounds is None else rounds - 1
        return total

    # ------------------------------------------------------------------ erased bytes

    def scrub(self, *, is_wished: bool = False) -> bool:
        """Rewrite the database without what was erased and empty its log.

        Args:
            is_wished: Do only what the stored wish leaves to do.

        Returns:
            Whether the bytes are gone; otherwise a reader holds the log, and the wish stays.
        """
        path, is_done = self._site.path, [False]

        def act(connection: apsw.Connection) -> None:
            def run(statement: str, bindings: tuple[Any, ...]) -> list[Any]:
                return connection.execute(statement, bindings).fetchall()

            wish = _wish_of(run)
            if not (is_wished and wish in (None, _LOG_ONLY)):
                # Zeroing on deletion misses the copies of a row that a page keeps when its rows are moved apart.
                connection.execute("VACUUM")
                put_meta(run, SCRUB_WISH, _LOG_ONLY)
            if truncate_log(connection) and os.path.getsize(path + "-wal") == 0:
                run(sql.DELETE_META, (SCRUB_WISH,))
                is_done[0] = True

        self._exclusively(act, begins=False)
        return is_done[0]

    def _scrub_in_turn(self) -> dict[str, bool]:
        self._looks_to_scrub = max(0, self._looks_to_scrub - 1)
        if self._looks_to_scrub or self._wish() is None:
            return {}
        self._failed_scrubs += 1
        # Counted before it is tried: an error ends this look, and the pause is for that case too.
        self._looks_to_scrub = min(2**self._failed_scrubs, SCRUB_PAUSE_LOOKS_MAX)
        if not self.scrub(is_wished=True):
            return {"scrubbed": False}
        self._failed_scrubs = 0
        self._looks_to_scrub = max(SCRUB_PAUSE_LOOKS_MIN, os.path.getsize(self._site.path) >> 20)
        return {"scrubbed": True}

    def _wish(self) -> str | None:
        return self._read(lambda tx: _wish_of(tx.run))

    # ------------------------------------------------------------------ following the log

    def wait_for_events(self, after: tuple[int, int], timeout_s: float) -> bool:
        """Wait until there is an event after a position, whichever process adds it."""
        seen = -1
        for number in range(max(1, round(timeout_s / WAIT_INTERVAL_S) + 1)):
            if number:
                sleep(WAIT_INTERVAL_S)
            seq = self._site.mark.seq
            if seq == seen and number % WAITS_BETWEEN_LOOKS:
                continue
            seen = seq
            if self._read(lambda tx: tx.event_position()) > after:
                return True
        return False


def _each(*steps: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What all steps did; one that fails holds up no other, and its error is raised at the end."""
    done: dict[str, Any] = {}
    failed: Exception | None = None
    for step in steps:
        try:
            done |= step()
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return done


def _wish_of(run: Callable[[str, tuple[Any, ...]], list[Any]]) -> str | None:
    """The stored wish; one that is damaged is a wish too."""
    rows = run(sql.META, (SCRUB_WISH,))
    return str(rows[0][0]) if rows else None


def _keys_before(tx: Tx, now_ms: int) -> int | None:
    """Keys stored before this may be forgotten; None where none is that old."""
    before_ms = now_ms - KEY_LIFE_MS
    oldest_ms = tx.oldest_key_ms()
    if oldest_ms is None or oldest_ms >= before_ms:
        return None
    # Only now, because it looks at every counter.
    window_ms = tx.open_window_ms(now_ms)
    before_ms = before_ms if window_ms is None else min(before_ms, window_ms)
    return before_ms if oldest_ms < before_ms else None
