"""`reserve` and the hold that it gives: settled with what was used, released, or over by itself."""

from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stigg_local.core.answer import MeteredEntitlement
from stigg_local.core.hold import TTL_S_DEFAULT
from stigg_local.core.period import to_datetime, to_text
from stigg_local.errors import NotAllowed, StiggError
from stigg_local.getters import Quantity
from stigg_local.writing import Writing

if TYPE_CHECKING:
    from stigg_local.core.answer import Entitlement
    from stigg_local.core.consume_result import ReleaseResult, ReservationRow, ReserveResult, SettleResult
    from stigg_local.core.words import AccessDeniedReason


class Hold:
    """A reservation, or the refusal of one. As a context manager it is released at the end, unless it was settled.

    Attributes:
        allowed: Whether it is held.
        access_denied_reason: Why it is not; None where it is.
        id: Names it in any process: `client.settle(hold_id, actual)`; None where it was refused.
        entitlement: As it stood after; the denial where it was refused.
    """

    __slots__ = ("_calls", "_expire_ms", "_is_over", "access_denied_reason", "allowed", "entitlement", "id")

    def __init__(self, calls: "ReserveCalls", made: "ReserveResult") -> None:
        hold = made.hold
        self._calls = calls
        self._is_over = hold is None
        self._expire_ms = None if hold is None else hold.expire_ms
        self.allowed: bool = hold is not None
        self.access_denied_reason: AccessDeniedReason | None = made.access_denied_reason
        self.id: str | None = None if hold is None else hold.id
        self.entitlement: Entitlement = made.entitlement

    @property
    def expires_at(self) -> datetime | None:
        """When it is over by itself, exclusive; None where it was refused."""
        return to_datetime(self._expire_ms)

    def settle(self, actual: Quantity, *, durability: str | None = None) -> "SettleResult":
        """Record what was used, less or more than was held, and give the rest back.

        Raises:
            NotAllowed: It was refused (`ReservationRefused`).
            IdempotencyConflict: It was settled with another amount.
        """
        result = self._calls.settle(self._known_id(), actual, durability=durability)
        self._is_over = True
        return result

    def release(self) -> "ReleaseResult":
        """Give it back; where it was settled, released or is over nothing happens.

        Raises:
            NotAllowed: It was refused (`ReservationRefused`).
        """
        result = self._calls.release(self._known_id())
        self._is_over = True
        return result

    def to_dict(self) -> dict[str, Any]:
        """The reservation as JSON can hold it."""
        result: dict[str, Any] = {"allowed": self.allowed, "id": self.id}
        reason = self.access_denied_reason
        result["accessDeniedReason"] = None if reason is None else reason.value
        result["expiresAt"] = to_text(self._expire_ms)
        return result | {"entitlement": self.entitlement.to_dict()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_over:
            return
        try:
            self.release()
        except StiggError:
            # What left the block says more than this does, and the hold is over by itself before long.
            if kind is None:
                raise

    def __repr__(self) -> str:
        if self.id is None:
            return f"Hold(refused: {self.access_denied_reason})"
        return f"Hold({self.id!r}, expires_at={to_text(self._expire_ms)})"

    def _known_id(self) -> str:
        if self.id is None:
            raise NotAllowed(
                f"the reservation was refused: {self.access_denied_reason}",
                code="ReservationRefused",
                hint="look at `.allowed` first",
            )
        return self.id


class ReserveCalls(Writing):
    """Reservations."""

    def reserve(
        self,
        customer_id: str,
        feature_id: str | None = None,
        amount: Quantity = 1,
        *,
        currency_id: str | None = None,
        resource_id: str | None = None,
        ttl_seconds: float = TTL_S_DEFAULT,
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> Hold:
        """Hold an upper bound before the work, and settle with what it really took.

        What is held counts in every check and shows as `reserved_usage`; held credits count as consumed. It belongs
        to the window of its start. A holder that dies holds nothing for longer than `ttl_seconds`.

        Args:
            customer_id: The customer.
            feature_id: A metered feature; with a credit rate its credits are held too.
            amount: The most that may be used, in units, or in credits with `currency_id`.
            currency_id: Hold credits alone, instead of a feature.
            resource_id: The resource whose usage it will be.
            ttl_seconds: How long it lives, at most a day (`core.hold.TTL_S_MAX`).
            durability: "disk": on return it survives a power cut; "os": a killed process.
            idempotency_key: The same key with the same arguments gives the same hold; it is the hold's id.

        Returns:
            A `Hold`. A refusal is one, too: `.allowed` is False, `.access_denied_reason` says why.

        Raises:
            InvalidInput: The amount is not above 0, `ttl_seconds` too long, or both or neither of feature and
                currency are named.
            NotAllowed: The feature is fed by raw events, or there are too many holds (`TooManyReservations`).
            IdempotencyConflict: The key was used with other arguments.
        """
        from stigg_local.consume_arguments import reserve_command
        from stigg_local.core.ids import check_id

        embedded = self._authority("reserve")
        command = reserve_command(
            customer_id,
            feature_id,
            amount,
            currency_id=currency_id,
            resource_id=resource_id,
            ttl_seconds=ttl_seconds,
        )
        key = None if idempotency_key is None else check_id(idempotency_key, "idempotency_key")
        made = embedded.authority.reservations.reserve(command, key=key, durability=self._level(durability))
        if made.hold is not None:
            self._entitlements_changed(customer_id)
        return Hold(self, made)

    def settle(
        self,
        hold_id: str,
        actual: Quantity,
        *,
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> "SettleResult":
        """Record what was used of a reservation, from any process, and give the rest back.

        It is settled once: a repeat with the same amount returns the first result. More than was held, and anything
        after its end, is recorded like a report, in the window of its start.

        Args:
            hold_id: `hold.id`.
            actual: What was used, 0 or more.
            durability: "disk": on return it survives a power cut; "os": a killed process.
            idempotency_key: Not needed: the hold's id is one.

        Returns:
            `.held` (what was still held), `.is_late`, `.entitlement` (as it stands after), `.measurement_id`.

        Raises:
            NotFound: `ReservationNotFound`.
            IdempotencyConflict: It was settled with another amount.
        """
        from stigg_local.consume_arguments import settle_command

        embedded = self._authority("settle")
        command = settle_command(hold_id, actual)
        result = embedded.authority.reservations.settle(
            command, key=idempotency_key, durability=self._level(durability)
        )
        if result.measurement_id is not None and self._listeners.has("usageUpdated"):
            entitlement = result.entitlement
            used = entitlement.current_usage if isinstance(entitlement, MeteredEntitlement) else actual
            self._listeners.usage_updated(entitlement, used)
        return result

    def get_reservations(self, customer_id: str) -> "tuple[ReservationRow, ...]":
        """What is held for a customer now, soonest over first: `.id, .feature_id, .amount, .credits, .expires_at`.

        Raises:
            NotFound: `CustomerNotFound`.
        """
        customer_id, _, _ = self._checked_ids(customer_id, "", None)
        return self._authority("get_reservations").authority.reservations.held(customer_id)

    def release(self, hold_id: str, *, idempotency_key: str | None = None) -> "ReleaseResult":
        """Give a reservation back, from any process; one that was settled or has ended is left alone.

        Raises:
            NotFound: `ReservationNotFound`.
        """
        from stigg_local.consume_arguments import release_command

        embedded = self._authority("release")
        result = embedded.authority.reservations.release(release_command(hold_id), key=idempotency_key)
        if result.released:
            self._entitlements_changed(result.customer_id)
        return result
