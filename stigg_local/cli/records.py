"""Customers, subscriptions and promotions as a person reads them: lines and tables."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stigg_local.cli.output import Output, Tone
from stigg_local.cli.words import amount, instant

if TYPE_CHECKING:
    from stigg_local.core.customer_result import CustomerResult
    from stigg_local.core.page import Page
    from stigg_local.core.result import PromotionalResult
    from stigg_local.core.subscription_result import (
        Money,
        ScheduledUpdateResult,
        SlimSubscription,
        SubscriptionResult,
    )

_TONES: dict[str, Tone] = {
    "ACTIVE": "good",
    "IN_TRIAL": "good",
    "NOT_STARTED": "title",
    "PAYMENT_PENDING": "bad",
    "CANCELED": "dim",
    "EXPIRED": "dim",
}
SUBSCRIPTION_HEADER = ("id", "status", "starts", "ends", "plan", "resource", "costs")
PROMOTION_HEADER = ("feature", "gives", "period", "starts", "ends")


def fields(out: Output, rows: Iterable[tuple[str, str]]) -> None:
    """Names and their texts, one a line; what is empty is left out."""
    out.fields([row for row in rows if row[1]])


def more(out: Output, page: "Page[Any]", option: str = "--cursor") -> None:
    """Where the next page begins, if there is one."""
    if page.next is not None:
        out.note(f"there are more: {option} {page.next}")


# Words ------------------------------------------------------------------------------------------------------------


def minute(value: datetime | None) -> str:
    """An instant to the minute; nothing for none."""
    return "" if value is None else instant(value)


def day(value: datetime | None) -> str:
    """The day of an instant, in UTC; nothing for none."""
    return "" if value is None else value.strftime("%Y-%m-%d")


def money(value: "Money") -> str:
    """An amount and its currency."""
    return f"{price(value.amount)} {value.currency}"


def price(value: Decimal) -> str:
    """An amount with two digits, or all where there are more."""
    plain = f"{value:,f}"
    whole, _, digits = plain.partition(".")
    digits = digits.rstrip("0")
    return f"{whole}.{digits.ljust(2, '0')}" if digits else whole


def counted(items: Iterable[tuple[str, int]]) -> str:
    """Ids and how many of each."""
    return ", ".join(f"{name} {count:,}" for name, count in items)


def mapping(value: Mapping[str, str] | None) -> str:
    """Metadata as it is typed."""
    return ", ".join(f"{name}={text}" for name, text in (value or {}).items())


def promotion_value(item: "PromotionalResult") -> str:
    """What a promotion gives."""
    if item.enum_values is not None:
        text = ", ".join(item.enum_values)
    elif item.usage_limit is not None:
        text = amount(item.usage_limit)
    else:
        text = "unlimited" if item.is_unlimited else "yes"
    text += ", soft limit" if item.has_soft_limit else ""
    return text + (f" each {item.reset_period}" if item.reset_period else "")


# Customers --------------------------------------------------------------------------------------------------------


def show_customer(out: Output, customer: "CustomerResult") -> None:
    """A customer, with the promotions in force."""
    out.line(customer.id, "title")
    experiment = customer.experiment_info
    fields(
        out,
        (
            ("name", customer.name or ""),
            ("e-mail", customer.email or ""),
            ("coupon", customer.coupon_id or ""),
            ("metadata", mapping(customer.metadata)),
            ("experiment", "" if experiment is None else f"{experiment.group_name} ({experiment.name})"),
            ("created", minute(customer.created_at)),
            ("updated", minute(customer.updated_at)),
        ),
    )
    if customer.promotional_entitlements:
        out.line("promotional entitlements")
        promotion_table(out, customer.promotional_entitlements)


def customer_row(customer: "CustomerResult") -> tuple[str, ...]:
    """A customer in a list."""
    return (
        customer.id,
        customer.name or "",
        customer.email or "",
        customer.coupon_id or "",
        day(customer.created_at),
        mapping(customer.metadata),
    )


def promotion_table(out: Output, promotions: Iterable["PromotionalResult"]) -> None:
    """Promotions, one a line."""
    rows = [
        (
            item.feature_id,
            promotion_value(item),
            item.period,
            day(item.start_date),
            "never" if item.end_date is None else day(item.end_date),
        )
        for item in promotions
    ]
    out.table(PROMOTION_HEADER, rows, indent=2)


# Subscriptions ----------------------------------------------------------------------------------------------------


def show_subscription(out: Output, subscription: "SubscriptionResult") -> None:
    """A subscription, with what waits for its time."""
    out.line(f"{subscription.id}  {subscription.status}", _TONES.get(subscription.status))
    period = subscription.current_billing_period_start, subscription.current_billing_period_end
    invoice, experiment = subscription.latest_invoice, subscription.experiment_info
    coupon = subscription.coupon_id or ""
    fields(
        out,
        (
            ("customer", subscription.customer_id),
            ("plan", f"{subscription.plan_id}, version {subscription.plan_version}"),
            ("resource", "" if subscription.resource is None else subscription.resource.id),
            ("costs", _costs(subscription)),
            ("undiscounted", _before_discount(subscription)),
            ("units", counted((item.feature_id, item.quantity) for item in subscription.billable_features or ())),
            ("add-ons", counted((item.id, item.quantity) for item in subscription.addons)),
            ("discount", f"{coupon} ({subscription.promotion_code})" if subscription.promotion_code else coupon),
            ("paid by", subscription.paying_customer_id or ""),
            (
                "invoice",
                "" if invoice is None else _joined(invoice.status, invoice.payment_url, invoice.error_message),
            ),
            ("starts", minute(subscription.start_date)),
            ("trial ends", minute(subscription.trial_end_date)),
            ("period", " to ".join(minute(end) for end in period if end is not None)),
            ("cancelled for", minute(subscription.cancellation_date)),
            ("ends", minute(subscription.effective_end_date)),
            ("ended by", subscription.cancel_reason or ""),
            ("experiment", "" if experiment is None else f"{experiment.group_name} ({experiment.name})"),
            ("metadata", mapping(subscription.metadata)),
        ),
    )
    if subscription.scheduled_updates:
        out.line("waiting")
        rows = [_update_row(update) for update in subscription.scheduled_updates]
        out.table(("kind", "status", "when", "change"), rows, indent=2)


def show_one(out: Output, subscription: "SubscriptionResult") -> int:
    """A subscription as the whole answer of a command; returns the exit code."""
    if out.as_json:
        out.json(subscription.to_dict())
    else:
        show_subscription(out, subscription)
    return 0


def subscription_row(subscription: "SubscriptionResult") -> tuple[str, ...]:
    """A subscription in a list."""
    return (
        subscription.id,
        subscription.status,
        day(subscription.start_date),
        day(subscription.effective_end_date),
        subscription.plan_id,
        "" if subscription.resource is None else subscription.resource.id,
        _costs(subscription),
    )


def slim_row(subscription: "SlimSubscription") -> tuple[str, ...]:
    """A subscription in force in a list."""
    return (
        subscription.subscription_id,
        subscription.status,
        day(subscription.start_date),
        day(subscription.effective_end_date),
        subscription.plan.ref_id,
        "" if subscription.resource is None else subscription.resource.resource_id,
        _costs(subscription),
    )


def _costs(subscription: "SubscriptionResult | SlimSubscription") -> str:
    total = subscription.total_price
    if total is None:
        return subscription.pricing_type
    return _joined(money(total.total), subscription.billing_period, separator=" ")


def _before_discount(subscription: "SubscriptionResult") -> str:
    total = subscription.total_price
    return "" if total is None or total.total == total.sub_total else money(total.sub_total)


def _update_row(update: "ScheduledUpdateResult") -> Sequence[str]:
    changes = _joined(
        update.plan_id,
        update.billing_period,
        counted((item.feature_id, item.quantity) for item in update.billable_features or ()),
        None if update.addons is None else counted((item.id, item.quantity) for item in update.addons) or "no add-ons",
    )
    when = minute(update.scheduled_execution_time)
    return update.subscription_schedule_type, update.schedule_status, when, changes


def _joined(*texts: str | None, separator: str = ", ") -> str:
    return separator.join(text for text in texts if text)
