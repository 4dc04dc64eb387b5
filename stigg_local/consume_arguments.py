"""Arguments of the calls that consume and reserve, checked for their shape and turned into commands."""

from typing import Any

from stigg_local.authority.consumption import Consume
from stigg_local.authority.credits import ConsumeCredits, VoidGrant
from stigg_local.authority.reservations import Release, Reserve, Settle
from stigg_local.calls import check_dimensions
from stigg_local.core.hold import check_ttl
from stigg_local.core.ids import check_id, optional_id, told
from stigg_local.core.quantity import check_range, to_decimal
from stigg_local.errors import InvalidInput

SCOPES = ("host", "global")


def consume_command(
    customer_id: object,
    feature_id: object,
    value: object,
    *,
    currency_id: object,
    resource_id: object,
    dimensions: object,
    scope: object,
) -> Consume:
    """The command of `Stigg.consume`.

    Raises:
        InvalidInput: An argument has another shape, or it does not say what is used.
    """
    feature, currency = _item(feature_id, currency_id)
    if scope not in SCOPES:
        raise InvalidInput(f"scope is `{told(scope)}`", code="InvalidArgumentError", hint='"host" or "global"')
    if dimensions is not None and currency:
        raise InvalidInput(
            "dimensions belong to usage of a feature, and credits alone are consumed",
            code="InvalidArgumentError",
            hint="leave dimensions out",
        )
    return Consume(
        customer_id=check_id(customer_id, "customer_id"),
        feature_id=feature,
        currency_id=currency,
        value=_above_zero(value, "value"),
        resource_id=optional_id(resource_id, "resource_id"),
        dimensions=check_dimensions(dimensions),
    )


def reserve_command(
    customer_id: object,
    feature_id: object,
    amount: object,
    *,
    currency_id: object,
    resource_id: object,
    ttl_seconds: object,
) -> Reserve:
    """The command of `Stigg.reserve`.

    Raises:
        InvalidInput: An argument has another shape, or it does not say what is held.
    """
    feature, currency = _item(feature_id, currency_id)
    return Reserve(
        customer_id=check_id(customer_id, "customer_id"),
        feature_id=feature,
        currency_id=currency,
        value=_above_zero(amount, "amount"),
        ttl_ms=check_ttl(ttl_seconds),
        resource_id=optional_id(resource_id, "resource_id"),
    )


def settle_command(hold_id: object, actual: object) -> Settle:
    """The command of `Stigg.settle`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    check_range(actual, name="actual")
    if to_decimal(actual, name="actual") < 0:
        raise InvalidInput(
            f"actual is `{told(actual)}`, below 0",
            code="InvalidArgumentError",
            hint="settle with what was used, 0 for nothing",
        )
    return Settle(hold_id=check_id(hold_id, "hold_id"), actual=actual)


def release_command(hold_id: object) -> Release:
    """The command of `Stigg.release`."""
    return Release(hold_id=check_id(hold_id, "hold_id"))


def consume_credits_command(
    customer_id: object, currency_id: object, amount: object, *, resource_id: object
) -> ConsumeCredits:
    """The command of `Stigg.consume_credits`.

    Raises:
        InvalidInput: An argument has another shape.
    """
    return ConsumeCredits(
        customer_id=check_id(customer_id, "customer_id"),
        currency_id=check_id(currency_id, "currency_id"),
        amount=_above_zero(amount, "amount"),
        resource_id=optional_id(resource_id, "resource_id"),
    )


def void_command(grant_id: object) -> VoidGrant:
    """The command of `Stigg.void_credit_grant`; a recurring grant's id is made of others, and so longer than one."""
    if not isinstance(grant_id, str) or not grant_id.isprintable() or not 0 < len(grant_id) <= 1000:
        raise InvalidInput(f"grant_id is `{told(grant_id)}`", code="InvalidArgumentError", hint="pass a grant's id")
    return VoidGrant(grant_id=grant_id)


def _item(feature_id: object, currency_id: object) -> tuple[str, str]:
    """The feature or the currency; exactly one of them."""
    if (feature_id is None) == (currency_id is None):
        raise InvalidInput(
            "neither a feature nor a currency is named"
            if feature_id is None
            else "a feature and a currency are named",
            code="InvalidArgumentError",
            hint="pass feature_id, whose credit rate is charged by itself, or currency_id for credits alone",
        )
    if feature_id is not None:
        return check_id(feature_id, "feature_id"), ""
    return "", check_id(currency_id, "currency_id")


def _above_zero(value: object, name: str) -> Any:
    check_range(value, name=name)
    if to_decimal(value, name=name) <= 0:
        raise InvalidInput(
            f"{name} is `{told(value)}`, not above 0",
            code="InvalidArgumentError",
            hint="what is given back is reported with a negative value",
        )
    return value
