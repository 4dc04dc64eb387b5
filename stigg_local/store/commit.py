"""Group commit inside a process: who finds the writer idle commits himself, others join the open batch.

Laws: exactly one leader at a time; when he is done the first of those who wait leads the next batch; an
interrupt of any thread at any instant leaves nobody waiting for ever, and what it undid is run again for the
others. Every command is idempotent by its key, so running it again is harmless.
"""

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Any

from stigg_local.errors import ClientClosed, StoreError

BATCH_MAX = 256

_WAITING, _LEADING, _RUNNING, _DONE = range(4)


class Member:
    """One command on its way into a transaction, and what became of it."""

    __slots__ = ("durability", "error", "fn", "is_abandoned", "key", "operation", "result", "state", "wake")

    def __init__(self, fn: Callable[[Any], Any] | None, operation: str, key: str, durability: str = "disk") -> None:
        self.fn = fn
        self.operation = operation
        self.key = key
        self.durability = durability
        self.result: Any = None
        self.error: BaseException | None = None
        self.state = _WAITING
        self.is_abandoned = False
        self.wake = Lock()
        self.wake.acquire()

    def settle(self, result: Any, error: BaseException | None) -> None:
        """The outcome is known and final."""
        self.result, self.error = result, error
        self.state = _DONE


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

    def write(self, member: Member) -> Any:
        """Take the command into the next transaction and wait for its outcome."""
        try:
            if self._enter(member) or self._wait(member):
                self._lead(member)
        except BaseException:
            self._leave(member)
            raise
        if member.error is not None:
            raise member.error
        return member.result

    def pause(self, timeout_s: float = -1) -> Member | None:
        """Stop the line between two batches; None where the timeout passed first."""
        member = Member(None, "", "")
        try:
            if not self._enter(member) and not self._wait(member, timeout_s):
                self._leave(member)
                return None
            self._take_batch(member)
        except BaseException:
            self._leave(member)
            raise
        return member

    def resume(self, member: Member) -> None:
        """Let the line go on after `pause`."""
        self._finish(member)

    def close(self) -> Member:
        """Refuse whatever comes from now on, run what is in the line, and stop; `resume` ends it."""
        member = Member(None, "", "")
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
            if self._is_closed:
                raise ClientClosed("the store is closed", hint="make a new client")
            if self._leader == get_ident():
                raise StoreError("a write was started inside a write", hint="use the open transaction")
            self._line.append(member)
            if self._is_busy:
                return False
            member.state = _LEADING
            self._is_busy = True
            return True

    def _wait(self, member: Member, timeout_s: float = -1) -> bool:
        """Until the member leads (True) or is done, or the time is over (False)."""
        member.wake.acquire(timeout=timeout_s)
        return member.state == _LEADING

    def _lead(self, first: Member) -> None:
        interrupt: BaseException | None = None
        try:
            self._run(self._take_batch(first))
        finally:
            while True:
                try:
                    self._finish(first)
                    break
                except (KeyboardInterrupt, SystemExit) as error:
                    # The others depend on this step, so it is repeated until it is through.
                    interrupt = error
            if interrupt is not None:
                raise interrupt

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

    # Each step of the two methods below may be cut short by an interrupt and run again from its start.

    def _finish(self, first: Member) -> None:
        with self._mutex:
            batch = self._batch
            if batch is None or batch[0] is not first:
                return
            for member in reversed(batch):
                if member is first or member.is_abandoned:
                    continue
                if member.state == _DONE:
                    if member.wake.locked():
                        member.wake.release()
                elif member not in self._line:
                    member.state = _WAITING
                    self._line.insert(0, member)
            self._leader = 0
            self._pass_on()

    def _leave(self, member: Member) -> None:
        interrupt: BaseException | None = None
        while True:
            try:
                with self._mutex:
                    member.is_abandoned = True
                    if member in self._line:
                        leads = self._line[0] is member and member.state == _LEADING
                        self._line.remove(member)
                        if leads:
                            self._pass_on()
                break
            except (KeyboardInterrupt, SystemExit) as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _pass_on(self) -> None:
        if not self._line:
            self._is_busy = False
            self._batch = None
            return
        # The next leader stays in the line until he takes his batch: an interrupt here loses nobody.
        leader = self._line[0]
        leader.state = _LEADING
        self._batch = None
        if leader.wake.locked():
            leader.wake.release()
