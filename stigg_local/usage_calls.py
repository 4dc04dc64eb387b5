"""Calls about usage and credits."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stigg_local.consume_calls import ConsumeCalls
from stigg_local.event_calls import EventCalls
from stigg_local.getters import Quantity
from stigg_local.reserve_calls import ReserveCalls
from stigg_local.writing import Instant, flush_on_termination, report_durability_level

if TYPE_CHECKING:
    from stigg_local.core.result import (
        CreditGrantResult,
        ReportUsageResult,
    )
    from stigg_local.embedded import Embedded
    from stigg_local.queued_calls import Desk


class UsageCalls(EventCalls, ConsumeCalls, ReserveCalls):
    """Usage and credits."""

    _desk: "Desk | None"
    _queue_size: int | None
    _queue_wait_s: float | None

    def grant_credits(
        self,
        customer_id: str,
        currency_id: str,
        amount: Quantity,
        *,
        grant_type: str = "PROMOTIONAL",
        priority: int = 0,
        effective_at: Instant | None = None,
        expire_at: Instant | None = None,
        cost: Any = None,
        resource_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> "CreditGrantResult":
        """Add credits to a wallet; a debt is settled from them first.

        Args:
            customer_id: An existing customer.
            currency_id: A credit currency of the catalog.
            amount: Credits, above 0.
            grant_type: PROMOTIONAL or PAID.
            priority: 0 is spent first.
            effective_at, expire_at: Aware datetime or ISO-8601; the expiry is exclusive, None for never.
            cost: What was paid for it.
            resource_id: The wallet's resource.
            idempotency_key: The same key with the same arguments returns the first result.

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `CustomCurrencyNotFound`.
            InvalidInput: For example `ExpireAtMustBeLaterThanEffectiveAtError`.
        """
        from stigg_local.calls import credits_command

        command = credits_command(
            customer_id,
            currency_id,
            amount,
            grant_type=grant_type,
            priority=priority,
            effective_at=effective_at,
            expire_at=expire_at,
            cost=cost,
            resource_id=resource_id,
        )
        result = self._authority("grant_credits").authority.usage.grant_credits(command, key=idempotency_key)
        self._entitlements_changed(customer_id)
        return result

    def report_usage(
        self,
        customer_id: str,
        feature_id: str,
        value: Quantity,
        *,
        resource_id: str | None = None,
        update_behavior: str = "DELTA",
        created_at: Instant | None = None,
        dimensions: Mapping[str, Any] | None = None,
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> "ReportUsageResult":
        """Record usage that happened, beyond a limit too; the next read on this host shows it.

        A feature with a credit rate charges the wallet in the same transaction.

        Args:
            customer_id: An existing customer.
            feature_id: A metered feature that the customer is entitled to.
            value: The change of usage or, with SET, the new usage; in reported units.
            resource_id: The resource whose usage it is.
            update_behavior: DELTA or SET.
            created_at: When it happened, if not now; it counts in the window of that time.
            dimensions: Attributes kept with the measurement: text, numbers or booleans by name.
            durability: "disk": on return it survives a power cut; "os": a killed process; "queued": it returns at
                once, is seen by this process at once, and is stored within moments, in the order of the calls. What
                only storing can find out is in `status().last_error` then.
            idempotency_key: The same key with the same arguments counts once and returns the first result.

        Returns:
            `.measurement_id`, `.current_usage`, `.usage_period_start`, `.usage_period_end`, `.next_reset_date`,
            `.durability`. An offline client keeps nothing: an empty `.measurement_id`, and "none".

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `FeatureNotFound`.
            NotAllowed: Not entitled (`NoFeatureEntitlementInSubscription`, `NoActiveSubscriptionForCustomer`), not
                metered, or fluctuating usage below 0 (`UsageMeasurementDiffOutOfRangeError`).
            InvalidInput: The value is no number that the feature's scale can hold.
            IdempotencyConflict: The key was used with other arguments.
            UsageQueueFull: The queue has no room and got none in time; nothing was taken in.
            StoreError: The disk failed; with the same `idempotency_key` the call can be repeated safely.
        """
        if (self._report_durability if durability is None else durability) == "queued" and self._embedded is not None:
            desk = self._desk or self._open_desk(self._embedded)
            result = desk.report(
                customer_id, feature_id, value, resource_id, update_behavior, created_at, dimensions, idempotency_key
            )
            if self._listeners.has("usageUpdated"):
                self._tell_usage(customer_id, feature_id, resource_id, result)
            return result
        from stigg_local.calls import unreported, usage_command

        self._check_open()
        level = self._report_durability if durability is None else report_durability_level(durability)
        command = usage_command(
            customer_id,
            feature_id,
            value,
            resource_id=resource_id,
            behavior=update_behavior,
            created_at=created_at,
            dimensions=dimensions,
        )
        if self._embedded is None:
            return unreported()
        result = self._embedded.authority.usage.report(command, key=idempotency_key, durability=level)
        if self._listeners.has("usageUpdated"):
            self._tell_usage(customer_id, feature_id, resource_id, result)
        return result

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every report that is queued now is stored.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            StoreError: Not everything was in time; it stays queued, and the message has the cause.
        """
        self._check_open()
        if self._embedded is not None and self._embedded.store.queue is not None:
            self._embedded.store.queue.flush(timeout)

    def _open_desk(self, embedded: "Embedded") -> "Desk":
        from stigg_local.queued_calls import Desk

        self._check_open()
        flush_on_termination()
        self._desk = Desk(embedded, size=self._queue_size, wait_s=self._queue_wait_s)
        return self._desk

    def _tell_usage(
        self, customer_id: str, feature_id: str, resource_id: str | None, result: "ReportUsageResult"
    ) -> None:
        entitlement = self.get_metered_entitlement(customer_id, feature_id, resource_id)
        self._listeners.usage_updated(entitlement, result.current_usage)
