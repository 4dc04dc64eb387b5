"""What every writing call stands on: the authority, and telling listeners."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from stigg_local.core.ids import told
from stigg_local.embedded import Embedded
from stigg_local.errors import InvalidInput, NotAvailableOffline
from stigg_local.getters import Getters
from stigg_local.listeners import Listeners
from stigg_local.store.store import flush_queues

if TYPE_CHECKING:
    from stigg_local.core.event import Event

Instant = datetime | str

Durability = Literal["disk", "os", "queued"]

# A queued report takes about 300 bytes until it is stored.
QUEUE_SIZE_MAX = 10_000_000
QUEUE_WAIT_S_MAX = 3600
# What an orderly end may take after SIGTERM, when everything is stored. Without a handler it would take nothing.
TERMINATION_GRACE_S = 5.0

_DURABILITIES: tuple[Durability, ...] = ("disk", "os", "queued")


class Writing(Getters):
    """A client whose calls may change something."""

    _listeners: Listeners
    # The level of commands, and that of reports, which alone can be queued.
    _durability: Literal["disk", "os"]
    _report_durability: Durability

    def _authority(self, call: str) -> Embedded:
        self._check_open()
        if self._embedded is None:
            raise NotAvailableOffline(
                f"`{call}` is not available offline", hint="open a client with catalog= or data_dir="
            )
        return self._embedded

    def _level(self, durability: object) -> Literal["disk", "os"]:
        """The level of a command: the one that was named, else the client's."""
        return self._durability if durability is None else durability_level(durability)

    def _entitlements_changed(self, customer_id: str) -> None:
        if self._listeners.has("entitlementsUpdated"):
            self._listeners.entitlements_updated(customer_id, self.get_entitlements(customer_id))

    def _happened(self, events: "Sequence[Event]") -> None:
        """Tell listeners what a transaction made happen; where time did it, also what customers may do now."""
        from stigg_local.core.event import SYSTEM
        from stigg_local.core.event_result import event_result

        for event in events:
            if self._listeners.has(event.type):
                self._listeners.event(event_result(event, actor="application"))
        for customer_id in dict.fromkeys(event.customer_id for event in events if event.actor == SYSTEM):
            self._entitlements_changed(customer_id)


def durability_level(value: object) -> Literal["disk", "os"]:
    """A level of commands by its name.

    Raises:
        InvalidInput: Another name, or one that only reports have.
    """
    level = report_durability_level(value)
    if level == "queued":
        raise InvalidInput(
            "durability is `queued`, which only report_usage can be",
            code="InvalidArgumentError",
            hint='pass "disk" or "os"',
        )
    return level


def report_durability_level(value: object) -> Durability:
    """A level of reports by its name.

    Raises:
        InvalidInput: Another name.
    """
    if value in _DURABILITIES:
        return value
    raise InvalidInput(
        f"durability is `{told(value)}`", code="InvalidArgumentError", hint='pass "disk", "os" or "queued"'
    )


def check_queue(size: object, wait_seconds: object) -> tuple[int | None, float | None]:
    """The bounds of the queue of reports; None for the defaults.

    Raises:
        InvalidInput: The size is not a whole number from 1, or the wait not a number from 0.
    """
    if size is not None and (type(size) is not int or not 1 <= size <= QUEUE_SIZE_MAX):
        raise InvalidInput(f"queue_size is `{told(size)}`", hint=f"a whole number from 1 to {QUEUE_SIZE_MAX:,}")
    if wait_seconds is None:
        return size, None
    if type(wait_seconds) not in (int, float) or not 0 <= wait_seconds <= QUEUE_WAIT_S_MAX:  # type: ignore[operator]
        raise InvalidInput(f"queue_wait_seconds is `{told(wait_seconds)}`", hint=f"0 to {QUEUE_WAIT_S_MAX:,} seconds")
    return size, float(wait_seconds)  # type: ignore[arg-type]


def flush_on_termination() -> None:
    """Let SIGTERM end the process through its normal exit, which stores what is queued; unless it is handled."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: object) -> None:
    """End through `SystemExit`; where threads of the application go on after that, soon after the queue is stored."""
    del frame
    import threading

    threading.Thread(target=_end_all_the_same, args=(128 + number,), daemon=True).start()
    raise SystemExit(128 + number)


def _end_all_the_same(status: int) -> None:
    import os
    import threading

    flush_queues()
    threading.Event().wait(TERMINATION_GRACE_S)
    os._exit(status)
