"""The queue of reports that were acknowledged before they were stored: bounded, in order for each customer.

Laws: what is in it is stored or named as refused, never dropped; a group is in the queue until its transaction is
known to be through, so that rows read before and groups asked for before them give every report exactly once; a
forked child has none of it, for the parent stores it. Nothing here knows what a report is.
"""

from collections.abc import Callable, Sequence
from os import getpid
from threading import Condition, Lock, Thread, current_thread
from typing import Any, Protocol

from stigg_local.clock import new_id
from stigg_local.errors import ClientClosed, StiggError, StorageFull, StoreBusy, StoreError, UsageQueueFull

SIZE_DEFAULT = 16_384
WAIT_DEFAULT_S = 1.0
# A burst is stored when nothing came for the one time, or after the other: the thread that stores would take the
# processor from those who enqueue.
QUIET_S, LINGER_S = 0.01, 0.1
# Of one transaction: customers, reports that one of them brings, and reports. Other writers wait for it, some ten
# milliseconds at most.
CUSTOMERS_MAX = 64
REPORTS_MAX = 4096
TOGETHER_MAX = 16_384
PAUSE_MIN_S, PAUSE_MAX_S = 0.05, 1.0
# Who waits is let go on when so much of the queue is left, not for each place that becomes free: to store and to
# enqueue in turns is faster than at the same time, under one interpreter lock.
RESUME_SHARE = 8

Refusal = tuple[str, Exception]
"""The id of a report that cannot be stored, and why."""


class Lane(Protocol):
    """What somebody who enqueues knows of a customer, valid while the generation slot holds `seen`."""

    seen: int


class Group:
    """Reports of one customer that are stored together.

    Attributes:
        key: The idempotency key of the transaction that stores them.
        seq: Number of that transaction, from before its commit; 0 before the first try.
        refused: Those that could not be stored.
        seen: What the customer's generation slot held when that transaction began.
        items, subjects: The reports, and what each of them is of.
        is_through: Whether all of them are stored or refused.
    """

    __slots__ = ("customer_id", "is_through", "items", "key", "refused", "seen", "seq", "subjects")

    def __init__(self, customer_id: str) -> None:
        self.customer_id = customer_id
        self.items: list[Any] = []
        self.subjects: list[Any] = []
        self.key = ""
        self.seq = 0
        self.refused: list[Refusal] = []
        self.seen = -1
        self.is_through = False


Pending = tuple[tuple[Group, int], ...]
"""What is queued of a customer at an instant: groups, oldest first, and how many of each were there."""


class ReportQueue:
    """The reports of one store that wait for being stored.

    Attributes:
        lock: Guards everything here; who enqueues holds it.
        depth: Reports that are acknowledged and not stored.
        lanes: What those who enqueue remember; emptied with the queue in a forked child.
        number: How many reports were ever enqueued; part of their ids.
    """

    def __init__(
        self,
        store: Callable[[Sequence[Group]], list[Exception | None]],
        note: Callable[[str, Exception | None], None],
        memos: list[tuple[dict[str, Any], list[Any]]],
        *,
        size: int = SIZE_DEFAULT,
    ) -> None:
        self._store = store
        self._note = note
        self.size = size
        self.memos = memos
        self.refusals = 0
        self.number = 0
        self._begin()

    def reset(self) -> None:
        """In a forked child: what is queued is the parent's, and what memory shows of it goes with it."""
        if self.depth:
            for memo, _ in self.memos:
                memo.clear()
        self._begin()

    def _begin(self) -> None:
        self.pid = getpid()
        self.prefix = new_id()[:20]
        self.lock = Lock()
        self._changed = Condition(self.lock)
        self.waiting: dict[str, list[Group]] = {}
        self._flying: dict[str, Group] = {}
        self.depth = 0
        self.lanes: dict[Any, Any] = {}
        self._lanes_of: dict[str, list[Lane]] = {}
        self.keys: dict[str, Any] = {}
        self._failing: Exception | None = None
        self._failures = 0
        self._thread: Thread | None = None
        self._hurry = 0
        self._waiters = 0
        self._is_closed = False
        self._gives_up = False

    # ------------------------------------------------------------------ who enqueues

    def pending(self, customer_id: str) -> Pending:
        """What is queued of the customer; ask before reading the rows that it is counted on top of."""
        if not self.depth:
            return ()
        with self.lock:
            return self.pending_locked(customer_id)

    def pending_locked(self, customer_id: str) -> Pending:
        """`pending` for who holds the lock."""
        flying = self._flying.get(customer_id)
        groups = self.waiting.get(customer_id, ())
        if flying is not None:
            groups = (flying, *groups)
        return tuple([(group, len(group.items)) for group in groups])

    def add_locked(self, customer_id: str, item: Any, subject: Any) -> None:
        """Take one report in; the caller holds the lock and has seen that there is room."""
        groups = self.waiting.get(customer_id)
        if groups is None:
            groups = self.waiting[customer_id] = [Group(customer_id)]
        group = groups[-1]
        if len(group.items) >= REPORTS_MAX:
            group = Group(customer_id)
            groups.append(group)
        group.items.append(item)
        group.subjects.append(subject)
        self.number += 1
        self.depth += 1
        for memo, dropped in self.memos:
            old = memo.pop(customer_id, None)
            if old is not None:
                dropped.append(old)
        if self.depth == 1 or self._thread is None:
            self._wake_locked()

    def add_lane_locked(self, key: Any, customer_id: str, lane: Lane) -> None:
        """Remember what is known after a report, in place of what was known before."""
        if len(self.lanes) >= self.size:
            self.forget_lanes_locked()
        old = self.lanes.get(key)
        self.lanes[key] = lane
        line = self._lanes_of.setdefault(customer_id, [])
        if old is not None:
            old.seen = -1
            line.remove(old)
        line.append(lane)

    def forget_lanes_locked(self) -> None:
        """Remember nothing: the next reports take the long way."""
        self.lanes.clear()
        self._lanes_of.clear()

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until a report has room; the caller does not hold the lock.

        Raises:
            UsageQueueFull: There was none in time; nothing was taken in.
            ClientClosed: The queue is closed.
        """
        with self.lock:
            self.check_open_locked()
            if self.depth < self.size:
                return
            self._wake_locked()
            self._waiters += 1
            try:
                if timeout_s <= 0 or not self._changed.wait_for(self._has_room, timeout_s):
                    cause = f": {self._failing}" if self._failing else ""
                    raise UsageQueueFull(
                        f"{self.depth} reports wait to be stored{cause}",
                        hint="report again later, with another durability, or with a larger queue_size",
                    )
            finally:
                self._waiters -= 1
            self.check_open_locked()

    def check_open_locked(self) -> None:
        """Refuse where nobody would store what comes in."""
        if self._is_closed or self.pid != getpid():
            raise ClientClosed("the queue of reports is closed", hint="make a new client")

    def _has_room(self) -> bool:
        return self._is_closed or self.depth <= (self.size - 1) // RESUME_SHARE

    def _wake_locked(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="stigg-local-queue", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    # ------------------------------------------------------------------ who waits for it

    def flush(
        self, timeout_s: float | None = None, customer_id: str | None = None, *, is_patient: bool = True
    ) -> None:
        """Wait until everything that is queued now, or that of one customer, is stored.

        Args:
            timeout_s: How long; None for ever.
            customer_id: Of one customer alone.
            is_patient: Wait through failures of the disk, which may pass; otherwise one more is the end.

        Raises:
            StoreError: It was not in time; it stays queued, and the cause is in the message.
        """
        if not self.depth or self._thread is current_thread() or self.pid != getpid():
            return
        with self.lock:
            groups = [*self._flying.values(), *(group for line in self.waiting.values() for group in line)]
            if customer_id is not None:
                groups = [group for group in groups if group.customer_id == customer_id]
            if not groups:
                return
            self._hurry += 1
            self._wake_locked()

            def is_through() -> bool:
                return all(group.is_through for group in groups)

            try:
                failures = self._failures
                self._changed.wait_for(
                    lambda: is_through() or not (is_patient or self._failures == failures), timeout_s
                )
                if not is_through():
                    raise not_stored(self.depth, self._failing)
            finally:
                self._hurry -= 1

    def close(self, timeout_s: float) -> None:
        """Take nothing more in, store what is queued and stop the thread.

        Raises:
            StoreError: Not everything could be stored in time.
        """
        with self.lock:
            if self._is_closed:
                return
            self._is_closed = True
            thread, self._hurry = self._thread, self._hurry + 1
            self._changed.notify_all()
        if thread is None:
            return
        with self.lock:
            done = self._changed.wait_for(lambda: not self.depth, timeout_s)
            depth, failing = self.depth, self._failing
            self._gives_up = True
            self._changed.notify_all()
        thread.join(PAUSE_MAX_S)
        if not done:
            error = not_stored(depth, failing)
            self._note("queue", error)
            raise error

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        pause_s = PAUSE_MIN_S
        while groups := self._take():
            try:
                errors = self._store(groups)
            except ClientClosed as error:
                errors = [error for _ in groups]
            except Exception as error:
                # A background thread has nobody to raise to.
                errors = [error for _ in groups]
            failed = self._settle(groups, errors)
            if failed is None:
                pause_s = PAUSE_MIN_S
                continue
            with self.lock:
                if self._gives_up:
                    return
                self._changed.wait(pause_s)
            pause_s = min(PAUSE_MAX_S, pause_s * 2)

    def _take(self) -> list[Group]:
        """The next groups; those whose transaction failed come again, as they were. Empty at the end."""
        with self.lock:
            while not self._flying and not self.waiting:
                if self._is_closed:
                    return []
                self._changed.wait()
            if not self._flying:
                self._linger_locked()
            count = 0
            for customer_id in list(self.waiting):
                if customer_id in self._flying:
                    continue
                line = self.waiting.pop(customer_id)
                group = line.pop(0)
                if line:
                    # At the end, as if it had come now: a customer with much does not hold up the others.
                    self.waiting[customer_id] = line
                group.key = new_id()
                self._flying[customer_id] = group
                count += len(group.items)
                if len(self._flying) >= CUSTOMERS_MAX or count >= TOGETHER_MAX:
                    break
            return list(self._flying.values())

    def _linger_locked(self) -> None:
        for _ in range(round(LINGER_S / QUIET_S)):
            number = self.number
            if self._is_ready() or self._changed.wait_for(self._is_ready, QUIET_S) or self.number == number:
                return

    def _is_ready(self) -> bool:
        return self._hurry > 0 or self._waiters > 0 or self._is_closed or self.depth >= self.size

    def _settle(self, groups: Sequence[Group], errors: Sequence[Exception | None]) -> Exception | None:
        """Take what is through out of the queue; returns why another try is needed, if it is."""
        failed: Exception | None = None
        refused: list[Refusal] = []
        with self.lock:
            for group, error in zip(groups, errors, strict=True):
                if _is_of_the_disk(error):
                    failed = error
                    if isinstance(error, StorageFull | StoreBusy):
                        # Nothing was committed, so the number may become another transaction's.
                        group.seq = 0
                    continue
                if error is not None:
                    refused += [(item.id, error) for item in group.items]
                refused += group.refused
                group.is_through = True
                for lane in self._lanes_of.get(group.customer_id, ()) if not refused else ():
                    # Nobody else changed the customer since: what is known counts these reports already.
                    if lane.seen == group.seen:
                        lane.seen = group.seq
                del self._flying[group.customer_id]
                self.depth -= len(group.items)
                for subject in group.subjects if self.keys else ():
                    if subject.key is not None:
                        self.keys.pop(subject.key, None)
            for customer_id in {group.customer_id for group in groups}:
                for memo, dropped in self.memos:
                    old = memo.pop(customer_id, None)
                    if old is not None:
                        dropped.append(old)
            self._failing = failed
            self._failures += failed is not None
            self.refusals += len(refused)
            self._changed.notify_all()
        self._note("queue", failed)
        for item_id, error in refused:
            # Under a name of its own, which no success takes back: what was acknowledged is not going to be there.
            self._note("queued report", StoreError(f"report `{item_id}` was refused: {error}"))
        return failed


def _is_of_the_disk(error: Exception | None) -> bool:
    """Whether it says nothing about the reports, which so have to be tried again."""
    return error is not None and (not isinstance(error, StiggError) or isinstance(error, StoreError | ClientClosed))


def not_stored(depth: int, cause: Exception | None) -> StoreError:
    """The error for reports that could not be stored in time."""
    why = f": {cause}" if cause else ""
    error = StoreError(f"{depth} queued reports are not stored{why}", hint="see status().last_error")
    error.retryable = True
    return error
