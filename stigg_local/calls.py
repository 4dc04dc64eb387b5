"""Arguments of the client's writing calls, checked for their shape and turned into the authority's commands."""

from collections.abc import Mapping
from typing import Any

from stigg_local.authority.authority import GrantCredits, ProvisionCustomer, ReportUsage
from stigg_local.core import command as shape
from stigg_local.core.command import check_text
from stigg_local.core.ids import Unset, check_id, is_text, plain, told
from stigg_local.core.period import to_ms
from stigg_local.core.quantity import check_range, to_decimal
from stigg_local.core.result import ReportUsageResult
from stigg_local.core.words import CreditGrantType, UsageUpdateBehavior
from stigg_local.errors import InvalidInput

PRIORITY_MAX = 1_000_000
DIMENSIONS_MAX = 100
# What JSON readers elsewhere hold exactly.
DIMENSION_MAX = 2**53


def customer_command(
    customer_id: object,
    *,
    name: object,
    email: object,
    coupon_id: object,
    subscription: object,
    metadata: object,
) -> ProvisionCustomer:
    """The command of `Stigg.provision_customer`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    customer = check_id(customer_id, "customer_id")
    ask: Any = subscription
    if subscription is not None and not isinstance(subscription, Unset):
        found = shape.fields(subscription, shape.SUBSCRIPTION_FIELDS, "subscription_params", required=("plan_id",))
        ask = shape.provision_subscription(customer, found)

    def patch(value: object, where: str) -> Any:
        return value if isinstance(value, Unset) else check_text(value, where)

    return ProvisionCustomer(
        customer_id=customer,
        name=patch(name, "name"),
        email=patch(email, "email"),
        coupon_id=patch(coupon_id, "coupon_id"),
        metadata=metadata if isinstance(metadata, Unset) else shape.check_metadata(metadata),
        subscription=ask,
    )


def credits_command(
    customer_id: object,
    currency_id: object,
    amount: object,
    *,
    grant_type: object,
    priority: object,
    effective_at: object,
    expire_at: object,
    cost: object,
    resource_id: object,
) -> GrantCredits:
    """The command of `Stigg.grant_credits`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    kind = shape.check_word(grant_type, CreditGrantType, "grant_type")
    if kind not in ("PAID", "PROMOTIONAL"):
        raise InvalidInput(
            f"grant_type is `{kind}`, which only the engine makes",
            code="InvalidArgumentError",
            hint="PAID or PROMOTIONAL",
        )
    rank = shape.check_count(priority, "priority")
    if not 0 <= rank <= PRIORITY_MAX:
        raise InvalidInput(f"priority is `{rank}`", code="InvalidArgumentError", hint=f"0 to {PRIORITY_MAX}")
    check_range(amount, name="amount")
    if isinstance(cost, Mapping):
        found = shape.fields(cost, ("amount", "currency"), "cost", required=("amount", "currency"))
        paid = f"{to_decimal(found['amount'], name='cost.amount')} {check_text(found['currency'], 'cost.currency')}"
    else:
        paid = "" if cost is None else str(to_decimal(cost, name="cost"))
    return GrantCredits(
        customer_id=check_id(customer_id, "customer_id"),
        currency_id=check_id(currency_id, "currency_id"),
        amount=amount,
        grant_type=kind,
        priority=rank,
        effective_ms=None if effective_at is None else to_ms(effective_at, name="effective_at"),
        expire_ms=None if expire_at is None else to_ms(expire_at, name="expire_at"),
        cost=paid or None,
        resource_id=None if resource_id is None else check_id(resource_id, "resource_id"),
    )


def usage_command(
    customer_id: object,
    feature_id: object,
    value: object,
    *,
    resource_id: object,
    behavior: object,
    created_at: object,
    dimensions: object,
) -> ReportUsage:
    """The command of `Stigg.report_usage`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    check_range(value, name="value")
    created_ms = None if created_at is None else to_ms(created_at, name="created_at")
    if created_ms is not None and created_ms < 0:
        raise InvalidInput(
            f"created_at is `{told(created_at)}`, before 1970",
            code="InvalidArgumentError",
            hint="stamp a report when it happens",
        )
    return ReportUsage(
        customer_id=check_id(customer_id, "customer_id"),
        feature_id=check_id(feature_id, "feature_id"),
        value=value,
        behavior=shape.check_word(behavior, UsageUpdateBehavior, "update_behavior"),
        resource_id=None if resource_id is None else check_id(resource_id, "resource_id"),
        created_ms=created_ms,
        dimensions=_dimensions(dimensions),
    )


def unreported() -> ReportUsageResult:
    """What reporting gives where nothing is kept, as offline."""
    return ReportUsageResult(
        measurement_id="", current_usage=0, usage_period_start_ms=None, usage_period_end_ms=None, durability="none"
    )


def _dimensions(value: object) -> dict[str, str | int | float | bool] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or len(value) > DIMENSIONS_MAX:
        raise InvalidInput(
            f"dimensions is `{told(value)}`, not a mapping of at most {DIMENSIONS_MAX} names",
            code="InvalidArgumentError",
        )
    for name, item in value.items():
        is_plain = is_text(item) or (
            isinstance(item, int | float) and item == item and -DIMENSION_MAX <= item <= DIMENSION_MAX
        )
        if not is_text(name) or not is_plain:
            raise InvalidInput(
                f"dimensions[{told(name)}] is `{told(item)}`",
                code="InvalidArgumentError",
                hint="names are text; values are text, numbers or booleans",
            )
    return {plain(name): plain(item) if isinstance(item, str) else item for name, item in value.items()}
