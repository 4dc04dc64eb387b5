"""What is answered when there is nothing to answer from: fallback values, and the denial without one.

A fallback never overrides an authoritative "not entitled"; who may use one is decided by the caller. A fallback
that grants without a limit grants whatever is requested. Source: semantics §11.3, §20.22, §20.23.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from stigg_local.core.answer import (
    ANSWERS,
    BOOLEAN,
    CREDIT,
    ENUM,
    METERED,
    NUMERIC,
    BooleanEntitlement,
    CreditEntitlement,
    Entitlement,
    EnumEntitlement,
    MeteredEntitlement,
    NumericEntitlement,
)
from stigg_local.core.ids import plain, told
from stigg_local.core.nearest import nearest
from stigg_local.core.quantity import shown, to_decimal
from stigg_local.core.reason import AccessDeniedReason
from stigg_local.core.sources import CurrencyRef, FeatureRef
from stigg_local.errors import InvalidInput

_FALLBACK, _DEFAULT = "fallback", "default"


class Fallback(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One fallback value, in the seed's words; a number is None where it was not given."""

    has_access: bool
    value: int | float | None = None
    usage_limit: int | float | None = None
    is_unlimited: bool = False
    has_soft_limit: bool = False
    enum_values: tuple[str, ...] | None = None
    current_balance: int | float | None = None
    total_granted: int | float | None = None
    total_consumed: int | float | None = None


class Fallbacks(Struct, frozen=True):
    """All configured fallback values: of features by id and of credits by currency."""

    features: dict[str, Fallback] = {}
    credits: dict[str, Fallback] = {}


# What a fallback of the other section may say, and this one may not, for it would never be looked at.
FOREIGN = {
    "features": ("current_balance", "total_granted", "total_consumed"),
    "credits": ("value", "usage_limit", "is_unlimited", "enum_values"),
}
# Keys that mean a field under another name of the field's own words.
OTHER_KEYS = {"remaining": "current_balance", "hasUnlimitedUsage": "is_unlimited", "isGranted": "has_access"}

_KEYS: dict[str, str] = {}
for _attribute, _key in zip(Fallback.__struct_fields__, Fallback.__struct_encode_fields__, strict=True):
    _KEYS[_attribute] = _KEYS[_key] = _attribute
_KEYS |= OTHER_KEYS
# Numbers that may be below 0.
SIGNED = frozenset({"current_balance"})
_BOOLEANS = {"has_access", "is_unlimited", "has_soft_limit"}


def parse_fallback(value: object, *, where: str) -> Fallback:
    """A fallback value from a mapping with the seed's keys, camel or snake case.

    Args:
        value: The mapping, or a `Fallback`.
        where: What to call it in an error, for example `entitlements_fallback[feature-seats]`.

    Raises:
        InvalidInput: Not a mapping, an unknown key (with the nearest known one), a value of another type,
            `hasAccess` missing.
    """
    if isinstance(value, Fallback):
        return value
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} is `{told(value)}`, not a mapping", hint='like {"hasAccess": True}')
    fields: dict[str, Any] = {}
    for key, item in value.items():
        attribute = _KEYS.get(key) if isinstance(key, str) else None
        if attribute is None:
            near = nearest(str(key), _KEYS)
            raise InvalidInput(
                f"{where} has the unknown key `{told(key)}`",
                hint=f"did you mean `{near}`" if near else None,
            )
        fields[attribute] = _checked(attribute, item, f"{where}.{key}")
    if "has_access" not in fields:
        raise InvalidInput(f"{where} does not say `hasAccess`", hint="add `hasAccess`: true or false")
    return Fallback(**fields)


def parse_fallbacks(values: Mapping[str, object] | None, *, where: str) -> dict[str, Fallback]:
    """Fallback values by id.

    Raises:
        InvalidInput: As `parse_fallback`, or not a mapping.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{where} is `{told(values)}`, not a mapping", hint="map ids to fallback values")
    return {_text(key, where): parse_fallback(value, where=f"{where}[{key}]") for key, value in values.items()}


def _text(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"{where} has the key `{told(key)}`, not text", hint="map ids to fallback values")
    return plain(key)


def _checked(attribute: str, item: object, where: str) -> object:
    if attribute in _BOOLEANS:
        if not isinstance(item, bool):
            raise InvalidInput(f"{where} is `{told(item)}`, not true or false")
        return item
    if attribute == "enum_values":
        if item is None:
            return None
        if isinstance(item, str | bytes) or not isinstance(item, list | tuple | set | frozenset):
            raise InvalidInput(f"{where} is `{told(item)}`, not a list of values")
        if not all(isinstance(value, str) for value in item):
            raise InvalidInput(f"{where} holds something that is not text")
        return tuple(plain(value) for value in item)
    if item is None:
        return None
    number = shown(item, name=where)
    if number < 0 and attribute not in SIGNED:
        raise InvalidInput(f"{where} is `{told(item)}`, below 0", hint="0 or more")
    return number


def fallback_answer(
    fallback: Fallback | None,
    *,
    kind: str | None,
    feature: FeatureRef | None,
    currency: CurrencyRef | None,
    requested_usage: Any,
    requested_values: tuple[str, ...],
    reason: AccessDeniedReason | None,
    item_id: str = "",
) -> Entitlement:
    """The answer from a fallback value, or the denial where there is none.

    Args:
        fallback: Per-call before configured; None where neither exists.
        kind: Type of the answer; None (the generic getter without a catalog) to infer it from the value.
        feature: What is known of the feature.
        currency: What is known of the currency.
        requested_usage: Echoed, and compared with the fallback's limit.
        requested_values: Echoed, and compared with the fallback's values.
        reason: An authoritative reason that stays also where the fallback grants, as `FeatureNotFound` does.
        item_id: What was asked for; where nothing else is known of it, a fallback's answer names it all the same.
    """
    kind = kind or _inferred(fallback)
    if item_id and fallback is not None and feature is None and currency is None:
        if kind == CREDIT:
            currency = CurrencyRef(item_id, None, None)
        else:
            feature = _inferred_ref(item_id, kind)
    has_access, denied = _decide(fallback, kind, requested_usage, requested_values)
    if reason is None and not has_access:
        reason = denied
    source = _DEFAULT if fallback is None else _FALLBACK
    head = (has_access, reason, True, feature, source, None, None)
    given = fallback or Fallback(False)
    match kind:
        case "NUMERIC":
            value = given.value if given.value is not None else given.usage_limit
            return NumericEntitlement(*head, value, given.is_unlimited)
        case "METERED":
            return MeteredEntitlement(
                *head,
                _limit(given),
                given.is_unlimited,
                given.has_soft_limit,
                requested_usage=requested_usage,
            )
        case "ENUM":
            return EnumEntitlement(*head, given.enum_values or (), requested_values)
        case "CREDIT":
            consumed = given.total_consumed or 0
            granted = given.total_granted
            balance = _balance(given) or 0
            return CreditEntitlement(
                *head,
                balance,
                balance + consumed if granted is None else granted,
                consumed,
                given.has_soft_limit,
                currency,
                requested_usage=requested_usage,
            )
    return BooleanEntitlement(*head)


def _limit(fallback: Fallback) -> int | float | None:
    return fallback.value if fallback.usage_limit is None else fallback.usage_limit


def _balance(fallback: Fallback) -> int | float | None:
    """The credits that a value stands for, however it says so; None where it does not limit them."""
    if fallback.current_balance is not None:
        return fallback.current_balance
    if fallback.total_granted is not None:
        return fallback.total_granted - (fallback.total_consumed or 0)
    return _limit(fallback)


def _inferred_ref(feature_id: str, kind: str) -> FeatureRef:
    """The feature as far as the type of a fallback value tells."""
    feature_type = {BOOLEAN: "Boolean", ENUM: "Enum"}.get(kind, "Numeric")
    return FeatureRef(feature_id, feature_type, "Incremental" if kind == METERED else "None", "", "", kind == METERED)


def _inferred(fallback: Fallback | None) -> str:
    if fallback is None:
        return BOOLEAN
    if fallback.enum_values is not None:
        return ENUM
    if fallback.value is not None:
        return NUMERIC
    if fallback.current_balance is not None or fallback.total_granted is not None:
        return CREDIT
    return METERED if fallback.usage_limit is not None or fallback.is_unlimited else BOOLEAN


def _decide(
    fallback: Fallback | None, kind: str, requested_usage: Any, requested_values: tuple[str, ...]
) -> tuple[bool, AccessDeniedReason | None]:
    if fallback is None or not fallback.has_access:
        return False, AccessDeniedReason.Unknown
    if kind == METERED and not fallback.is_unlimited and not fallback.has_soft_limit:
        limit = _limit(fallback)
        if limit is not None and to_decimal(requested_usage, name="requested_usage") > to_decimal(limit, name="limit"):
            return False, AccessDeniedReason.RequestedUsageExceedsLimit
    credits = _balance(fallback) if kind == CREDIT and not fallback.has_soft_limit else None
    if credits is not None and not fallback.is_unlimited:
        wanted = to_decimal(requested_usage, name="requested_usage")
        balance = to_decimal(credits, name="current_balance")
        if (wanted > balance) if wanted > 0 else (balance <= 0):
            return False, AccessDeniedReason.InsufficientCredits
    if kind == ENUM and fallback.enum_values is not None and not set(requested_values) <= set(fallback.enum_values):
        return False, AccessDeniedReason.RequestedValuesMismatch
    return True, None


assert set(ANSWERS) == {BOOLEAN, NUMERIC, METERED, ENUM, CREDIT}, "every type has a fallback shape"
