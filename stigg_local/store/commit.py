"""Group commit inside a process: who finds the writer idle commits himself, others join the open batch.

Laws: exactly one leader at a time; when he is done the first of those who wait leads the next batch; an
interrupt of any thread at any instant leaves nobody waiting for ever, and what it undid is run again for the
others. Every command is idempotent by its key, so running it again is harmless. Who was in a batch is let go one
after another, each by the one before: let go at once, they would only stand in line for the interpreter's lock.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, get_ident
from typing import Any

from stigg_local.errors import ClientClosed, StoreError

BATCH_MAX = 256
# A leader waits so long for those whom the last batch let go: as a rule they are back with another command at once,
# and while they are on their way they would take turns with him at the interpreter's lock. Each time that they do not
# come back, more batches are led without waiting.
GATHER_S = 0.001
GATHER_PAUSE_MAX = 63

_WAITING, _LEADING, _RUNNING, _DONE = range(4)


class Member:
    """One command on its way into a transaction, and what became of it; without `fn`, a stop of the line."""

    __slots__ = (
        "comes_back",
        "durability",
        "error",
        "fn",
        "follower",
        "is_abandoned",
        "key",
        "operation",
        "result",
        "state",
        "wake",
    )

    def __init__(
        self, fn: Callable[[Any], Any] | None = None, operation: str = "", key: str = "", durability: str = "disk"
    ) -> None:
        self.fn = fn
        self.operation = operation
        self.key = key
        self.durability = durability
        self.result: Any = None
        self.error: BaseException | None = None
        self.state = _WAITING
        self.is_abandoned = False
        # Whether its thread may well be back with another command at once.
        self.comes_back = fn is not None
        # Whom its thread lets go as soon as it was let go itself.
        self.follower: Member | None = None
        self.wake = Lock()
        self.wake.acquire()

    def settle(self, result: Any, error: BaseException | None) -> None:
        """The outcome is known and final."""
        self.result, self.error = result, error
        self.state = _DONE

    def let_go(self) -> None:
        """Wake who waits for this command; harmless when he is awake."""
        with suppress(RuntimeError):
            self.wake.release()


class GroupCommit:
    """The line of commands; `run` executes a batch and settles each of its members."""

    def __init__(self, run: Callable[[list[Member]], None]) -> None:
        self._run = run
        self._mutex = Lock()
        self._line: list[Member] = []
        self._batch: list[Member] | None = None
        self._is_busy = False
        self._leader = 0
        self._is_closed = False
        # How long the line will be when all are back, and the leader who waits for that.
        self._full = 0
        self._gathering: Member | None = None
        # Batches that are led without waiting: as many to go, and so many after the last time in vain.
        self._gather_pause = self._gather_pauses = 0

    def write(self, member: Member) -> Any:
        """Take the command into the next transaction and wait for its outcome."""
        try:
            if self._enter(member) or self._wait(member):
                self._gather(member)
                self._lead(member)
        except BaseException:
            self._leave(member)
            raise
        if member.error is not None:
            raise member.error
        return member.result

    def write_all(self, members: Sequence[Member]) -> None:
        """Take several commands into the next transactions, in this order, and wait for all their outcomes."""
        try:
            for member in members:
                member.comes_back = False
            with self._mutex:
                self._check_entry()
                self._line.extend(members)
                if not self._is_busy:
                    self._is_busy = True
                    members[0].state = _LEADING
                else:
                    self._end_gathering()
            for member in members:
                if member.state == _LEADING or self._wait(member):
                    self._lead(member)
        except BaseException:
            self._leave(*members)
            raise

    def pause(self, stop: Member, timeout_s: float = -1) -> bool:
        """Stop the line between two batches; False where the timeout passed first.

        Whatever becomes of this call, `resume` has to follow.
        """
        if not self._enter(stop) and not self._wait(stop, timeout_s):
            self._leave(stop)
            return False
        self._take_batch(stop)
        return True

    def resume(self, stop: Member) -> None:
        """Let the line go on after `pause`, also after one that was cut short."""
        self._leave(stop)

    def close(self) -> Member:
        """Refuse whatever comes from now on, run what is in the line, and stop; `resume` ends it."""
        member = Member()
        with self._mutex:
            self._is_closed = True
            self._line.append(member)
            leads = not self._is_busy
            if leads:
                self._is_busy = True
                member.state = _LEADING
        if not leads:
            self._wait(member)
        self._take_batch(member)
        return member

    def is_led_by_caller(self) -> bool:
        """Whether the calling thread is inside a batch right now."""
        return self._leader == get_ident()

    def _enter(self, member: Member) -> bool:
        with self._mutex:
            self._check_entry()
            self._line.append(member)
            if self._is_busy:
                self._end_gathering()
                return False
            member.state = _LEADING
            self._is_busy = True
            return True

    def _check_entry(self) -> None:
        if self._is_closed:
            raise ClientClosed("the store is closed", hint="make a new client")
        if self._leader == get_ident():
            raise StoreError("a write was started inside a write", hint="use the open transaction")

    def _wait(self, member: Member, timeout_s: float = -1) -> bool:
        """Until the member leads (True) or is done, or the time is over (False)."""
        member.wake.acquire(timeout=timeout_s)
        # An interrupt before this leads to `_leave`, which does it.
        if member.follower is not None:
            member.follower.let_go()
        return member.state == _LEADING

    def _gather(self, leader: Member) -> None:
        """Wait a moment for a full line."""
        with self._mutex:
            if len(self._line) >= self._full:
                return
            if self._gather_pause:
                self._gather_pause -= 1
                return
            self._gathering = leader
        if leader.wake.acquire(timeout=GATHER_S):
            self._gather_pauses = 0
        else:
            self._gather_pause = self._gather_pauses = min(2 * self._gather_pauses + 1, GATHER_PAUSE_MAX)
        self._gathering = None

    def _end_gathering(self) -> None:
        leader = self._gathering
        if leader is not None and len(self._line) >= self._full:
            self._gathering = None
            leader.let_go()

    def _lead(self, first: Member) -> None:
        try:
            self._run(self._take_batch(first))
        finally:
            # Where an interrupt cuts this short too, `_leave` does it.
            self._finish(first)

    def _take_batch(self, first: Member) -> list[Member]:
        with self._mutex:
            count = 1
            if first.fn is not None:
                while count < min(len(self._line), BATCH_MAX) and self._line[count].fn is not None:
                    count += 1
            self._leader = get_ident()
            self._batch = batch = self._line[:count]
            del self._line[:count]
            for member in batch:
                member.state = _RUNNING
            return batch

    # Each step of the three methods below may be cut short by an interrupt and run again from its start.

    def _finish(self, first: Member) -> None:
        with self._mutex:
            batch = self._batch
            if batch is None or batch[0] is not first:
                return
            follower: Member | None = None
            for member in reversed(batch):
                if member is first or member.is_abandoned:
                    continue
                if member.state == _DONE:
                    member.follower = follower
                    follower = member
                elif member not in self._line:
                    member.state = _WAITING
                    self._line.insert(0, member)
            self._leader = 0
            if follower is not None:
                follower.let_go()
            self._pass_on(first)

    def _leave(self, *members: Member) -> None:
        interrupt: BaseException | None = None
        while True:
            try:
                for member in members:
                    self._finish(member)
                    with self._mutex:
                        member.is_abandoned = True
                        if member.follower is not None:
                            member.follower.let_go()
                        if member in self._line:
                            self._line.remove(member)
                        if member.state == _LEADING:
                            self._pass_on(member)
                break
            except (KeyboardInterrupt, SystemExit) as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _pass_on(self, before: Member) -> None:
        coming = 0 if self._batch is None else sum(member.comes_back for member in self._batch)
        self._full = min(len(self._line) + coming, BATCH_MAX)
        leader = self._line[0] if self._line else None
        # No interrupt comes between the statements from here on, for nothing is called before the last one: whoever
        # leads next was woken, or this is run again. He stays in the line until he takes his batch.
        before.state = _DONE
        self._batch = None
        if leader is None:
            self._is_busy = False
        else:
            leader.state = _LEADING
            leader.wake.release()
