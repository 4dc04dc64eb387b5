"""Calls about raw events, many reports at once, and how usage went."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stigg_local.writing import Instant, Writing

if TYPE_CHECKING:
    from stigg_local.core.result import ReportUsageResult
    from stigg_local.core.usage_result import ReportEventsResult, UsageHistory


class EventCalls(Writing):
    """Raw events, bulk reports and the history of usage."""

    def report_event(
        self, event: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, durability: str | None = None
    ) -> "ReportEventsResult":
        """Keep raw events and count them with every meter of the catalog that lets them in.

        An event names no feature: the filters of the features' meters say what it feeds, which may be several or
        none. It counts in the window of its own time, whether or not the customer is entitled to anything then. An
        event that is there already is ignored: the same customer, resource, event name and idempotency key, and the
        same timestamp where one is given. Several events are taken as a whole or refused as a whole.

        Two warnings go with every report of usage:

        1. Report only after what is used exists in your application.
        2. Let the customer make no further resource before this call has returned: that is the acknowledgement.

        For features without a meter `consume` and `reserve` see to both: they check and record in one step, so
        nothing is made beyond a limit, and what is never made is given back.

        Args:
            event: One event, or up to 1,000: `customer_id`, `event_name`, `idempotency_key`, and where there are
                any, `resource_id`, `dimensions` (text, numbers and booleans by name) and `timestamp` (aware datetime
                or ISO-8601; default: now, stamped once).
            durability: "disk": on return it survives a power cut; "os": a killed process.

        Returns:
            `.accepted`, `.duplicates`, `.durability`. An offline client keeps nothing: "none".

        Raises:
            NotFound: `CustomerNotFound` or `CustomerResourceNotFound`.
            InvalidInput: A key is missing or unknown, a dimension is of another type (its key is named), or an event
                lies in the future or before the time from when on events are kept.
            StoreError: The disk failed; the same events can be reported again safely.
        """
        from stigg_local.event_arguments import event_commands, unkept

        self._check_open()
        commands = event_commands(event)
        level = self._level(durability)
        if self._embedded is None:
            return unkept()
        result, reported = self._embedded.authority.events.report(commands, durability=level)
        if self._listeners.has("usageUpdated"):
            for customer_id, resource_id, feature_id in reported.changed:
                self._usage_changed(customer_id, feature_id, resource_id or None)
        return result

    def report_events(
        self, events: Sequence[Mapping[str, Any]] | Mapping[str, Any], *, durability: str | None = None
    ) -> "ReportEventsResult":
        """The same as `report_event`, which also takes several events."""
        return self.report_event(events, durability=durability)

    def report_usage_bulk(
        self,
        usages: Sequence[Mapping[str, Any]],
        *,
        durability: str | None = None,
        idempotency_key: str | None = None,
    ) -> "list[ReportUsageResult]":
        """Record up to 100 usage reports in one transaction: all of them, or none.

        Args:
            usages: Each with the arguments of `report_usage` by name: `customer_id`, `feature_id`, `value`, and where
                given `resource_id`, `update_behavior`, `created_at`, `dimensions`, `idempotency_key`.
            durability: As for `report_usage`, "queued" excepted.
            idempotency_key: The whole call's; the same key with the same reports counts once.

        Returns:
            What `report_usage` gives, for each report in order.

        Raises:
            NotFound, NotAllowed, InvalidInput, IdempotencyConflict: As `report_usage`; nothing was recorded.
        """
        from stigg_local.event_arguments import bulk_commands

        embedded = self._authority("report_usage_bulk")
        commands, keys = bulk_commands(usages)
        level = self._level(durability)
        if not commands:
            return []
        results = embedded.authority.usage.report_bulk(commands, key=idempotency_key, keys=keys, durability=level)
        if self._listeners.has("usageUpdated"):
            for customer_id, feature_id, resource_id in sorted(
                {(item.customer_id, item.feature_id, item.resource_id or "") for item in commands}
            ):
                self._usage_changed(customer_id, feature_id, resource_id or None)
        return results

    def get_usage_history(
        self,
        customer_id: str,
        feature_id: str,
        resource_id: str | None = None,
        *,
        start_date: Instant,
        end_date: Instant | None = None,
    ) -> "UsageHistory":
        """How usage of a metered feature went, in the windows that were in force.

        Args:
            customer_id: An existing customer.
            feature_id: A metered feature.
            resource_id: The resource whose usage it is.
            start_date, end_date: From when until when, both inclusive; the default end is now.

        Returns:
            `.points` (`timestamp`, `value`, `is_reset_point`): the usage after each change and at each reset, each
            holding until the next; where something was counted already, the first is at `start_date`. `.markers`
            (`timestamp`, `type`: `PERIODIC_RESET` or `SUBSCRIPTION_CHANGE_RESET`). Of a time whose log was compacted
            there is nothing to tell.

        Raises:
            NotFound: `CustomerNotFound`, `CustomerResourceNotFound` or `FeatureNotFound`.
            NotAllowed: The feature is not metered.
            InvalidInput: The end is before the start.
        """
        from stigg_local.event_arguments import history_command

        embedded = self._authority("get_usage_history")
        ask = history_command(customer_id, feature_id, resource_id, start_date, end_date)
        return embedded.authority.history.usage(ask)

    def _usage_changed(self, customer_id: str, feature_id: str, resource_id: str | None) -> None:
        entitlement = self.get_metered_entitlement(customer_id, feature_id, resource_id)
        self._listeners.usage_updated(entitlement, entitlement.current_usage)
