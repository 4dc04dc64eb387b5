"""What listeners are told, and telling them; an exception in one is logged once and stops nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stigg_local.core.answer import Entitlement
from stigg_local.core.event import EVENT_TYPES
from stigg_local.core.ids import told
from stigg_local.core.nearest import nearest
from stigg_local.errors import InvalidInput

if TYPE_CHECKING:
    from stigg_local.core.event_result import EventResult

CHANGES = ("entitlementsUpdated", "usageUpdated")
EVENTS = (*CHANGES, *EVENT_TYPES)

Listener = Callable[[Any], object]


class EntitlementsUpdated(Struct, frozen=True):
    """What `entitlementsUpdated` listeners get."""

    customer_id: str
    entitlements: list[Entitlement]


class UsageUpdated(Struct, frozen=True):
    """What `usageUpdated` listeners get; `usage` is the usage of the current window in reported units."""

    entitlement: Entitlement
    usage: int | float


class Listeners:
    """The listeners of one client."""

    def __init__(self) -> None:
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._failed: set[int] = set()

    def add(self, event: str, listener: Listener) -> None:
        """Add a listener; once more is one call more.

        Raises:
            InvalidInput: An unknown event, or something that cannot be called.
        """
        if told(event) not in EVENTS:
            near = nearest(told(event), EVENTS)
            raise InvalidInput(
                f"there is no event `{told(event)}`",
                hint=f"did you mean `{near}`" if near else f"one of {', '.join(EVENTS)}",
            )
        if not callable(listener):
            raise InvalidInput("the listener cannot be called", hint="pass a function of one argument")
        self._listeners[event] = (*self._listeners.get(event, ()), listener)

    def remove(self, event: str, listener: Listener) -> None:
        """Remove one such listener, if there is one."""
        if event not in EVENTS:
            return
        kept = list(self._listeners.get(event, ()))
        if listener in kept:
            kept.remove(listener)
        self._listeners[event] = tuple(kept)

    def has(self, event: str) -> bool:
        """True where somebody listens."""
        return bool(self._listeners.get(event))

    def entitlements_updated(self, customer_id: str, entitlements: list[Entitlement]) -> None:
        """Tell of a customer whose entitlements changed."""
        self._tell("entitlementsUpdated", EntitlementsUpdated(customer_id, entitlements))

    def usage_updated(self, entitlement: Entitlement, usage: int | float) -> None:
        """Tell of usage that changed."""
        self._tell("usageUpdated", UsageUpdated(entitlement, usage))

    def event(self, event: "EventResult") -> None:
        """Tell of a change of state."""
        self._tell(event.type, event)

    def _tell(self, event: str, data: object) -> None:
        for listener in self._listeners.get(event, ()):
            try:
                listener(data)
            except Exception:
                if id(listener) not in self._failed:
                    self._failed.add(id(listener))
                    from stigg_local.log import logger

                    logger().exception("listener failed", event_name=event, listener=repr(listener))
