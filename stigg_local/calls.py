"""Arguments of the client's writing calls, checked for their shape and turned into the authority's commands."""

from collections.abc import Mapping
from typing import Any

from stigg_local.authority.usage import GrantCredits, ReportUsage
from stigg_local.core import command as shape
from stigg_local.core.command import check_text
from stigg_local.core.customer_change import PatchCustomer, ProvisionCustomer
from stigg_local.core.event import EVENT_TYPES
from stigg_local.core.ids import UNSET, Unset, check_id, is_text, optional_id, plain, told
from stigg_local.core.meter import Dimension
from stigg_local.core.nearest import nearest
from stigg_local.core.period import to_ms
from stigg_local.core.quantity import check_range, to_decimal
from stigg_local.core.result import ReportUsageResult
from stigg_local.core.words import CreditGrantType, UsageUpdateBehavior
from stigg_local.errors import InvalidInput

PRIORITY_MAX = 1_000_000
IMPORT_MAX = 1_000
PAGE_MAX = 1_000
WAIT_S_MAX = 3_600
CUSTOMER_FIELDS = ("customer_id", "name", "email", "coupon_id", "metadata")
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
    patch = patch_command(customer_id, name=name, email=email, coupon_id=coupon_id, metadata=metadata)
    ask: Any = subscription
    if subscription is not None and not isinstance(subscription, Unset):
        found = shape.fields(subscription, shape.SUBSCRIPTION_FIELDS, "subscription_params", required=("plan_id",))
        ask = shape.provision_subscription(patch.customer_id, found)
    return ProvisionCustomer(
        customer_id=patch.customer_id,
        name=patch.name,
        email=patch.email,
        coupon_id=patch.coupon_id,
        metadata=patch.metadata,
        subscription=ask,
    )


def patch_command(
    customer_id: object, *, name: object, email: object, coupon_id: object, metadata: object
) -> PatchCustomer:
    """What a call changes of a customer: what is UNSET stays.

    Raises:
        InvalidInput: An argument has another shape.
    """

    def patch(value: object, where: str) -> Any:
        return value if isinstance(value, Unset) else check_text(value, where)

    return PatchCustomer(
        customer_id=check_id(customer_id, "customer_id"),
        name=patch(name, "name"),
        email=patch(email, "email"),
        coupon_id=patch(coupon_id, "coupon_id"),
        metadata=metadata if isinstance(metadata, Unset) else shape.check_metadata(metadata),
    )


def import_commands(customers: object) -> tuple[PatchCustomer, ...]:
    """The customers of `Stigg.import_customer_bulk`.

    Raises:
        InvalidInput: A shape is wrong, or there are none or too many; the message names the item and the key.
    """

    def parse(item: object, where: str) -> PatchCustomer:
        found = shape.fields(item, CUSTOMER_FIELDS, where, required=("customer_id",))
        given = {name: found.get(name, UNSET) for name in CUSTOMER_FIELDS[1:]}
        return patch_command(found["customer_id"], **given)

    commands = shape.items(customers, "customers", parse, at_most=IMPORT_MAX)
    if not commands:
        raise InvalidInput("customers is empty", code="InvalidArgumentError", hint="import at least one")
    return commands


def named_ids(value: object, name: str) -> tuple[str, ...]:
    """One id or a list of ids.

    Raises:
        InvalidInput: Something else.
    """
    return shape.items((value,) if isinstance(value, str) else value, name, check_id)


def page_limit(value: object) -> int:
    """How many items a page holds at most: 1 to 1,000.

    Raises:
        InvalidInput: Another number.
    """
    limit = shape.check_count(value, "limit")
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidInput(f"limit is `{limit}`", code="InvalidArgumentError", hint=f"1 to {PAGE_MAX}")
    return limit


def event_types(value: object) -> tuple[str, ...] | None:
    """Types of events, or None for all.

    Raises:
        InvalidInput: Not a list, or a type that there is none of; the hint names the nearest.
    """
    if value is None:
        return None

    def parse(item: object, where: str) -> str:
        if not isinstance(item, str) or item not in EVENT_TYPES:
            near = nearest(told(item), EVENT_TYPES)
            raise InvalidInput(
                f"{where} is `{told(item)}`, not a type of event",
                code="InvalidArgumentError",
                hint=f"did you mean `{near}`" if near else f"one of {', '.join(EVENT_TYPES)}",
            )
        return item

    return shape.items(value, "types", parse)


def wait_time(value: object) -> float:
    """Seconds to wait: 0 to 3,600.

    Raises:
        InvalidInput: Something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= WAIT_S_MAX:
        raise InvalidInput(
            f"wait_seconds is `{told(value)}`", code="InvalidArgumentError", hint=f"0 to {WAIT_S_MAX} seconds"
        )
    return float(value)


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
        resource_id=optional_id(resource_id, "resource_id"),
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
    return ReportUsage(
        customer_id=check_id(customer_id, "customer_id"),
        feature_id=check_id(feature_id, "feature_id"),
        value=value,
        behavior=shape.check_word(behavior, UsageUpdateBehavior, "update_behavior"),
        resource_id=optional_id(resource_id, "resource_id"),
        created_ms=stamp(created_at, "created_at"),
        dimensions=check_dimensions(dimensions),
    )


def unreported() -> ReportUsageResult:
    """What reporting gives where nothing is kept, as offline."""
    return ReportUsageResult(
        measurement_id="", current_usage=0, usage_period_start_ms=None, usage_period_end_ms=None, durability="none"
    )


def stamp(value: object, name: str, what: str = "a report") -> int | None:
    """When something is said to have happened; None where nothing is said.

    Raises:
        InvalidInput: It is no instant, or one before 1970.
    """
    stamp_ms = None if value is None else to_ms(value, name=name)
    if stamp_ms is not None and stamp_ms < 0:
        raise InvalidInput(
            f"{name} is `{told(value)}`, before 1970",
            code="InvalidArgumentError",
            hint=f"stamp {what} when it happens",
        )
    return stamp_ms


def check_dimensions(
    value: object, where: str = "dimensions", *, size_max: int | None = None
) -> dict[str, Dimension] | None:
    """Names with text, numbers or booleans, or None.

    Args:
        size_max: How many characters they may have together; None for any number.

    Raises:
        InvalidInput: Something else; it names the dimension.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or len(value) > DIMENSIONS_MAX:
        raise InvalidInput(
            f"{where} is `{told(value)}`, not a mapping of at most {DIMENSIONS_MAX} names",
            code="InvalidArgumentError",
        )
    kept: dict[str, Dimension] = {}
    size = 0
    for name, item in value.items():
        if not is_text(name):
            raise InvalidInput(
                f"{where} has the name `{told(name)}`", code="InvalidArgumentError", hint="names are text"
            )
        if isinstance(item, str) and is_text(item):
            kept[plain(name)] = plain(item)
            size += len(item)
        elif type(item) is bool or (type(item) in (int, float) and -DIMENSION_MAX <= item <= DIMENSION_MAX):
            kept[plain(name)] = item
        elif isinstance(item, int | float) and -DIMENSION_MAX <= item <= DIMENSION_MAX:
            # Of a subclass, as NumPy has one, the number counts.
            kept[plain(name)] = float.__add__(item, 0.0) if isinstance(item, float) else int(item)
        else:
            raise InvalidInput(
                f"{where}.{told(name)} is `{told(item)}`, of another type",
                code="InvalidArgumentError",
                hint="values are text, numbers or booleans",
            )
        size += len(name)
    if size_max is not None and size > size_max:
        raise InvalidInput(
            f"{where} has {size:,} characters", code="InvalidArgumentError", hint=f"up to {size_max:,} fit"
        )
    return kept
