"""The background thread of a store: stands for leader, checkpoints, ticks, heals what dead writers left.

Laws: it never raises into the application, its last error is in `status()` and logged once per change; what
it does changes cost, never meaning, so a process may be without it for a while.
"""

from collections.abc import Callable
from threading import Event, Thread, current_thread
from typing import Any, Protocol

STAND_INTERVAL_S = 0.05
POLL_INTERVAL_S = 0.02
# In passes, so that no clock is needed: about half a second, and about a second.
HEAL_PASSES = 25
TICK_PASSES = 50


class Kept(Protocol):
    """What the keeper does to its store."""

    def stand_for_leader(self) -> bool:
        """Lead if nobody does; whether this process leads."""

    def follow_others(self) -> None:
        """Look for commits whose writer did not live to say so."""

    def keep_log_short(self) -> None:
        """Let the log be written again from its beginning before it gets long."""

    def heal(self) -> None:
        """Void slots that stay in flight."""

    def watch_files(self) -> None:
        """Notice that a file was replaced under this process."""

    def tick(self) -> dict[str, Any]:
        """Do the periodic work."""

    def note(self, what: str, error: Exception | None) -> None:
        """Remember how a step ended."""


class Keeper:
    """One daemon thread for each open store and process."""

    def __init__(self, store: Kept) -> None:
        self._store = store
        self._stop = Event()
        self._thread = Thread(target=self._run, name="stigg-local-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the step that is running."""
        self._stop.set()
        if self._thread is not current_thread():
            self._thread.join()

    def _run(self) -> None:
        passes = 0
        leads = False
        while not self._stop.wait(POLL_INTERVAL_S if leads else STAND_INTERVAL_S):
            # A follower's pass lasts longer and counts for as much.
            passes += 1 if leads else round(STAND_INTERVAL_S / POLL_INTERVAL_S)
            leads = bool(self._step("election", self._store.stand_for_leader))
            if leads:
                self._step("following", self._store.follow_others)
                self._step("checkpoint", self._store.keep_log_short)
                if passes % HEAL_PASSES == 0:
                    self._step("healing", self._store.heal)
            if passes >= TICK_PASSES:
                passes = 0
                self._step("files", self._store.watch_files)
                if leads:
                    self._step("tick", self._store.tick)

    def _step(self, what: str, action: Callable[[], Any]) -> Any:
        try:
            result = action()
        except Exception as error:
            # A background thread has nobody to raise to.
            self._store.note(what, error)
            return None
        self._store.note(what, None)
        return result
