"""Arguments of the calls about subscriptions, checked for their shape and turned into commands.

What is absent is UNSET, what is None clears; dates are aware datetimes or ISO-8601 text.
"""

from collections.abc import Mapping
from typing import Any

from stigg_local.core.cancel import CancelSubscription
from stigg_local.core.command import (
    addon_item,
    check_bool,
    check_metadata,
    check_text,
    check_word,
    items,
    unit_item,
)
from stigg_local.core.ids import Unset, check_id, told
from stigg_local.core.migrate import MigrateToLatest
from stigg_local.core.period import to_ms
from stigg_local.core.schedule import CancelScheduledUpdates
from stigg_local.core.update import UpdateSubscription
from stigg_local.core.words import (
    BillingPeriod,
    ScheduleStrategy,
    SubscriptionBillingCycleAnchor,
    SubscriptionCancellationAction,
    SubscriptionCancellationTime,
    SubscriptionMigrationTime,
    SubscriptionScheduleStatus,
)
from stigg_local.errors import InvalidInput

RESOURCES_MAX = 100


def update_command(subscription_id: object, arguments: Mapping[str, Any]) -> UpdateSubscription:
    """The command of `Stigg.update_subscription`; arguments that are UNSET stay so.

    Raises:
        InvalidInput: An argument has another shape.
    """
    found: dict[str, Any] = {"subscription_id": check_id(subscription_id, "subscription_id")}
    given = {name: value for name, value in arguments.items() if not isinstance(value, Unset)}
    if "addons" in given:
        found["addons"] = items(given["addons"], "addons", addon_item)
    if "billable_features" in given:
        found["units"] = items(given["billable_features"], "billable_features", unit_item)
    if "metadata" in given:
        found["metadata"] = check_metadata(given["metadata"])
    if "promotion_code" in given:
        found["promotion_code"] = check_text(given["promotion_code"], "promotion_code")
    if "billing_period" in given:
        period = given["billing_period"]
        found["billing_period"] = None if period is None else check_word(period, BillingPeriod, "billing_period")
    for name, field in (("cancellation_date", "cancellation_ms"), ("trial_end_date", "trial_end_ms")):
        if name in given:
            found[field] = None if given[name] is None else to_ms(given[name], name=name)
    anchor = given.get("billing_cycle_anchor") or "UNCHANGED"
    found["billing_cycle_anchor"] = check_word(anchor, SubscriptionBillingCycleAnchor, "billing_cycle_anchor")
    if given.get("schedule_strategy") is not None:
        found["schedule_strategy"] = check_word(given["schedule_strategy"], ScheduleStrategy, "schedule_strategy")
    return UpdateSubscription(**found)


def cancel_command(
    subscription_id: object, *, cancellation_time: object, end_date: object, prorate: object, action: object
) -> CancelSubscription:
    """The command of `Stigg.cancel_subscription`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    found: dict[str, Any] = {
        "subscription_id": check_id(subscription_id, "subscription_id"),
        "action": check_word(action, SubscriptionCancellationAction, "action"),
        "prorate": None if prorate is None else check_bool(prorate, "prorate"),
        "end_ms": None if end_date is None else to_ms(end_date, name="end_date"),
    }
    if cancellation_time is not None:
        found["cancellation_time"] = check_word(cancellation_time, SubscriptionCancellationTime, "cancellation_time")
    return CancelSubscription(**found)


def cancel_scheduled_command(subscription_id: object, status: object) -> CancelScheduledUpdates:
    """The command of `Stigg.cancel_subscription_scheduled_updates`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    known = check_word(status, SubscriptionScheduleStatus, "status")
    if known not in ("Scheduled", "PendingPayment"):
        raise InvalidInput(
            f"status is `{known}`, which nothing that waits has",
            code="InvalidArgumentError",
            hint="Scheduled or PendingPayment",
        )
    return CancelScheduledUpdates(
        subscription_id=check_id(subscription_id, "subscription_id"),
        status=known,  # type: ignore[arg-type]
    )


def migrate_command(subscription_id: object, migration_time: object) -> MigrateToLatest:
    """The command of `Stigg.migrate_subscription_to_latest`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    known = check_word(migration_time, SubscriptionMigrationTime, "subscription_migration_time")
    return MigrateToLatest(
        subscription_id=check_id(subscription_id, "subscription_id"),
        migration_time=known,  # type: ignore[arg-type]
    )


def resource_ids(value: object) -> tuple[str, ...] | None:
    """One resource id or up to 100 of them; None for none.

    Raises:
        InvalidInput: Too many, or something else (`InvalidArgumentError`).
    """
    if value is None:
        return None
    if isinstance(value, str):
        return (check_id(value, "resource_id"),)
    if not isinstance(value, list | tuple | set | frozenset) or not value:
        raise InvalidInput(
            f"resource_id is `{told(value)}`, neither an id nor a list of ids", code="InvalidArgumentError"
        )
    if len(value) > RESOURCES_MAX:
        raise InvalidInput(
            f"resource_id has {len(value)} ids", code="InvalidArgumentError", hint=f"at most {RESOURCES_MAX} at once"
        )
    return tuple(dict.fromkeys(check_id(item, f"resource_id[{index}]") for index, item in enumerate(value)))
