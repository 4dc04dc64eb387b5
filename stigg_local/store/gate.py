"""The gate that a fork goes through: no connection is open while a process splits.

SQLite's locks belong to the process, so a child that inherits an open connection, or merely the tables of
its locks, loses commits. Law: the parent's other threads wait, both sides reopen lazily, nobody hangs.
"""

import os
from threading import Lock
from typing import Protocol
from weakref import WeakSet


class Gated(Protocol):
    """What a store does around a fork."""

    def before_fork_writes(self) -> None:
        """Let the running batch end and start no other."""

    def before_fork_reads(self) -> None:
        """Let running reads end, close every connection, start no read."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Forget what belongs to the parent and go on."""


class Gate:
    """The hooks of this process; they can be registered once and never taken back."""

    def __init__(self) -> None:
        self._stores: WeakSet[Gated] = WeakSet()
        self.lock = Lock()
        self._held: list[Gated] = []
        self._is_registered = False

    def add(self, store: Gated) -> None:
        """Take the store through every fork from now on; the caller holds `lock`."""
        if not self._is_registered:
            self._is_registered = True
            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)
        self._stores.add(store)

    def discard(self, store: Gated) -> None:
        """The store is closed; the caller holds `lock`."""
        self._stores.discard(store)

    def _before(self) -> None:
        self.lock.acquire()
        self._held = list(self._stores)
        # All writes first: a batch that is still running may read from any store.
        for store in self._held:
            store.before_fork_writes()
        for store in self._held:
            store.before_fork_reads()

    def _in_parent(self) -> None:
        held, self._held = self._held, []
        for store in held:
            store.after_fork_in_parent()
        self.lock.release()

    def _in_child(self) -> None:
        held, self._held = self._held, []
        self.lock = Lock()
        for store in held:
            store.after_fork_in_child()


GATE = Gate()
