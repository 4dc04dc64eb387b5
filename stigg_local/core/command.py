"""Arguments of calls: ids, keys, words and nested mappings, checked for their shape and turned into commands.

A mapping may use snake case or the seed's camel case; an unknown key is an error that names the nearest known one.
What the ids stand for is checked by the rules, not here.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from stigg_local.core.catalog import FeatureGroup, PackageEntitlement
from stigg_local.core.customer import CustomCredit, CustomFeature
from stigg_local.core.ids import check_id, is_text, optional_id, plain, told
from stigg_local.core.nearest import nearest
from stigg_local.core.period import to_ms
from stigg_local.core.promotional import GrantPromotional
from stigg_local.core.provisioning import ProvisionSubscription, TrialOverride
from stigg_local.core.quantity import shown, to_decimal
from stigg_local.core.words import (
    BillingPeriod,
    PromotionalEntitlementPeriod,
    ResetPeriod,
    ResetPeriodConfiguration,
    ScheduleStrategy,
    SubscriptionBillingCycleAnchor,
    TrialEndBehavior,
)
from stigg_local.errors import InvalidInput, NotFound

ITEMS_MAX = 100
METADATA_MAX = 50
# The largest count that a float holds exactly.
COUNT_MAX = 2**53


@lru_cache(maxsize=512)
def _value_of(words: type[StrEnum], text: str) -> str:
    return str(words(text).value)


def check_word(value: object, words: type[StrEnum], name: str) -> str:
    """A word of an enumeration, by its member, its value or an alias.

    Raises:
        InvalidInput: Another word; the hint names the nearest.
    """
    try:
        # An enumeration that is asked for anything else would write it out, however long or deep it is.
        return _value_of(words, value if isinstance(value, str) else "")
    except ValueError:
        known = [member.value for member in words]
        near = nearest(told(value), known)
        raise InvalidInput(
            f"{name} is `{told(value)}`",
            code="InvalidArgumentError",
            hint=f"did you mean `{near}`" if near else f"one of {', '.join(known)}",
        ) from None


def check_text(value: object, name: str) -> str | None:
    """Free text of at most 10,000 characters, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or not is_text(value) or "\0" in value:
        raise InvalidInput(f"{name} is `{told(value)}`", code="InvalidArgumentError", hint="pass text")
    return plain(value)


def check_bool(value: object, name: str) -> bool:
    """True or False and nothing else."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} is `{told(value)}`", code="InvalidArgumentError", hint="pass True or False")
    return value


def check_metadata(value: object, name: str = "metadata") -> dict[str, str] | None:
    """A mapping of text to text, or None.

    Raises:
        InvalidInput: Anything else (`InvalidMetadataError`).
    """
    if value is None:
        return None
    if isinstance(value, Mapping) and len(value) > METADATA_MAX:
        raise InvalidInput(
            f"{name} has {len(value)} entries", code="InvalidMetadataError", hint=f"at most {METADATA_MAX}"
        )
    if not isinstance(value, Mapping) or not all(is_text(key) and is_text(item) for key, item in value.items()):
        raise InvalidInput(
            f"{name} is not a mapping of text to text",
            code="InvalidMetadataError",
            hint='like {"key": "value"}',
        )
    return {plain(key): plain(item) for key, item in value.items()}


def check_count(value: object, name: str) -> int:
    """A whole number; what it may be is the rule's matter."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -COUNT_MAX <= value <= COUNT_MAX
        or int(value) != value
    ):
        raise InvalidInput(f"{name} is `{told(value)}`", code="InvalidQuantity", hint="pass a whole number")
    return int(value)


def fields(value: object, known: Iterable[str], where: str, required: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of a nested argument by their snake-case names.

    Args:
        value: A mapping with snake-case or camel-case keys, or a struct.
        known: Snake-case names.
        where: What to call the argument in an error.
        required: Names that must be there.

    Raises:
        InvalidInput: Not a mapping, an unknown key, a required one missing.
    """
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{where} is `{told(value)}`", code="InvalidArgumentError", hint="pass a mapping")
    known = tuple(known)
    names = _spellings(known)
    found: dict[str, Any] = {}
    for key, item in value.items():
        known_name = names.get(key) if isinstance(key, str) else None
        if known_name is None:
            near = nearest(str(key), names)
            raise InvalidInput(
                f"{where} has the unknown key `{told(key)}`",
                code="InvalidArgumentError",
                hint=f"did you mean `{near}`" if near else f"it takes {', '.join(known)}",
            )
        found[known_name] = item
    for name in required:
        if found.get(name) is None:
            raise InvalidInput(f"{where} does not say `{name}`", code="InvalidArgumentError", hint=f"add `{name}`")
    return found


@cache
def _spellings(known: tuple[str, ...]) -> dict[str, str]:
    """Each name by both of its spellings."""
    return {spelling: name for name in known for spelling in (name, camel(name))}


def canonical(value: object) -> object:
    """The same for the same arguments, in whatever order and spelling: 5 and 5.0, one key before or after another."""
    if value is None or type(value) is str:
        return value
    if type(value) is int and -COUNT_MAX < value < COUNT_MAX:
        return str(value)
    if isinstance(value, msgspec.Struct):
        return type(value).__name__, [(name, canonical(getattr(value, name))) for name in value.__struct_fields__]
    if isinstance(value, Mapping):
        return sorted((str(key), canonical(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = to_decimal(value, name="value")
        return str(shown(number)) if abs(number) < 2**53 else format(number, "f")
    return value


def camel(name: str) -> str:
    """The camel-case spelling of a snake-case name."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def items(
    value: object, where: str, parse: Callable[[object, str], Any], *, at_most: int = ITEMS_MAX
) -> tuple[Any, ...]:
    """A list argument, each item parsed with its own place in the error."""
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidInput(f"{where} is `{told(value)}`", code="InvalidArgumentError", hint="pass a list")
    # No more than needed to know that it is too many: the iterable may have no end.
    listed = list(islice(value, at_most + 1))
    if len(listed) > at_most:
        raise InvalidInput(
            f"{where} has more than {at_most} items",
            code="InvalidArgumentError",
            hint=f"at most {at_most} at once",
        )
    return tuple(parse(item, f"{where}[{index}]") for index, item in enumerate(listed))


SUBSCRIPTION_FIELDS = (
    "plan_id",
    "billing_period",
    "resource_id",
    "billable_features",
    "addons",
    "entitlements",
    "billing_country_code",
    "metadata",
    "skip_trial",
    "billing_cycle_anchor",
    "start_date",
    "promotion_code",
    "coupon_id",
    "trial_override",
    "schedule_strategy",
    "paying_customer_id",
)


def provision_subscription(customer_id: str, arguments: Mapping[str, Any]) -> ProvisionSubscription:
    """The command from a call's arguments, those of `SUBSCRIPTION_FIELDS`; absent ones take their defaults."""
    features, credits = _custom(arguments.get("entitlements") or ())
    period, resource = arguments.get("billing_period"), arguments.get("resource_id")
    start, coupon = arguments.get("start_date"), arguments.get("coupon_id")
    strategy, payer = arguments.get("schedule_strategy"), arguments.get("paying_customer_id")
    anchor = check_word(
        arguments.get("billing_cycle_anchor") or "UNCHANGED", SubscriptionBillingCycleAnchor, "billing_cycle_anchor"
    )
    return ProvisionSubscription(
        customer_id=check_id(customer_id, "customer_id"),
        plan_id=check_id(arguments.get("plan_id"), "plan_id"),
        billing_period=None if period is None else check_word(period, BillingPeriod, "billing_period"),
        resource_id=optional_id(resource, "resource_id"),
        addons=items(arguments.get("addons"), "addons", addon_item),
        units=items(arguments.get("billable_features"), "billable_features", unit_item),
        custom_features=features,
        custom_credits=credits,
        billing_country_code=check_text(arguments.get("billing_country_code"), "billing_country_code"),
        metadata=check_metadata(arguments.get("metadata")),
        skip_trial=check_bool(arguments.get("skip_trial", False), "skip_trial"),
        billing_cycle_anchor="NOW" if anchor == "NOW" else "UNCHANGED",
        start_ms=None if start is None else to_ms(start, name="start_date"),
        promotion_code=check_text(arguments.get("promotion_code"), "promotion_code"),
        coupon_id=optional_id(coupon, "coupon_id"),
        trial_override=_trial_override(arguments.get("trial_override")),
        schedule_strategy=None if strategy is None else check_word(strategy, ScheduleStrategy, "schedule_strategy"),  # type: ignore[arg-type]
        paying_customer_id=optional_id(payer, "paying_customer_id"),
    )


def _trial_override(value: object) -> TrialOverride | None:
    if value is None:
        return None
    where = "trial_override"
    found = fields(value, ("is_trial", "trial_end_date", "trial_end_behavior"), where, required=("is_trial",))
    end, behavior = found.get("trial_end_date"), found.get("trial_end_behavior")
    return TrialOverride(
        is_trial=check_bool(found["is_trial"], f"{where}.is_trial"),
        trial_end_ms=None if end is None else to_ms(end, name=f"{where}.trial_end_date"),
        trial_end_behavior=None
        if behavior is None
        else check_word(behavior, TrialEndBehavior, f"{where}.trial_end_behavior"),  # type: ignore[arg-type]
    )


def addon_item(value: object, where: str) -> tuple[str, int]:
    """`{"addon_id", "quantity"}` of a list argument."""
    found = fields(value, ("addon_id", "quantity"), where, required=("addon_id",))
    quantity = found.get("quantity")
    return check_id(found["addon_id"], f"{where}.addon_id"), check_count(
        1 if quantity is None else quantity, f"{where}.quantity"
    )


def unit_item(value: object, where: str) -> tuple[str, int]:
    """`{"feature_id", "quantity"}` of a list argument."""
    found = fields(value, ("feature_id", "quantity"), where, required=("feature_id", "quantity"))
    return check_id(found["feature_id"], f"{where}.feature_id"), check_count(found["quantity"], f"{where}.quantity")


def _custom(value: object) -> tuple[dict[str, CustomFeature], tuple[CustomCredit, ...]]:
    features: dict[str, CustomFeature] = {}
    credits: list[CustomCredit] = []

    def parse(item: object, where: str) -> None:
        found = fields(item, ("feature", "credit"), where)
        if (feature := found.get("feature")) is not None:
            part = fields(
                feature,
                ("feature_id", "usage_limit", "is_unlimited", "has_unlimited_usage"),
                f"{where}.feature",
                required=("feature_id",),
            )
            limit = part.get("usage_limit")
            is_unlimited = part.get("is_unlimited") or part.get("has_unlimited_usage") or False
            number = None if limit is None else shown(limit, name=f"{where}.feature.usage_limit")
            if (number is None) == (not is_unlimited) or (number is not None and number < 0):
                raise InvalidInput(
                    f"{where}.feature states neither a usage_limit of 0 or more nor is_unlimited, or both",
                    code="InvalidArgumentError",
                    hint="state one of the two",
                )
            feature_id = check_id(part["feature_id"], f"{where}.feature.feature_id")
            features[feature_id] = CustomFeature(usage_limit=number, is_unlimited=bool(is_unlimited))
        if (credit := found.get("credit")) is not None:
            names = ("custom_currency_id", "currency_id", "amount", "cadence")
            part = fields(credit, names, f"{where}.credit", required=("amount", "cadence"))
            cadence = str(part["cadence"])
            amount = shown(part["amount"], name=f"{where}.credit.amount")
            if cadence not in ("MONTH", "YEAR") or amount <= 0:
                raise InvalidInput(
                    f"{where}.credit is `{amount}` each `{cadence[:20]}`",
                    code="InvalidArgumentError",
                    hint="an amount above 0, and MONTH or YEAR",
                )
            currency = part.get("custom_currency_id") or part.get("currency_id")
            credits.append(
                CustomCredit(
                    currency_id=check_id(currency, f"{where}.credit.custom_currency_id"),
                    amount=amount,
                    cadence=cadence,
                )
            )

    items(value, "entitlements", parse)
    return features, tuple(credits)


_PROMOTIONAL_FIELDS = tuple(
    "feature_id value usage_limit is_unlimited has_unlimited_usage has_soft_limit enum_values period custom_end_date"
    " reset_period reset_period_configuration is_visible".split()
)


def promotional_grants(value: object, *, groups: Mapping[str, FeatureGroup]) -> tuple[GrantPromotional, ...]:
    """The promotional entitlements of a call; a feature group stands for each of its features.

    Raises:
        InvalidInput: A shape is wrong; the message names the item and the key.
        NotFound: There is no such feature group (`FeatureGroupNotFoundError`).
    """
    found: list[GrantPromotional] = []
    for listed in items(value, "entitlements", lambda item, where: _grouped(item, where, groups)):
        found += listed
    if not found:
        raise InvalidInput("entitlements is empty", code="InvalidArgumentError", hint="grant at least one")
    return tuple(found)


def _grouped(value: object, where: str, groups: Mapping[str, FeatureGroup]) -> list[GrantPromotional]:
    found = fields(value, (*_PROMOTIONAL_FIELDS, "feature_group_id"), where)
    group_id = found.pop("feature_group_id", None)
    if group_id is None:
        return [_promotional(found, where)]
    if found.get("feature_id") is not None:
        raise InvalidInput(
            f"{where} names both a feature and a group", code="InvalidArgumentError", hint="name one of the two"
        )
    group = groups.get(check_id(group_id, f"{where}.feature_group_id"))
    if group is None:
        near = nearest(told(group_id), groups)
        raise NotFound(
            f"feature group `{told(group_id)}` does not exist",
            code="FeatureGroupNotFoundError",
            hint=f"did you mean `{near}`" if near else "add it to the catalog's featureGroups",
        )
    return [
        replace(_promotional(found | {"feature_id": feature_id}, where), group_id=group.id)
        for feature_id in group.feature_ids
    ]


def _promotional(value: object, where: str) -> GrantPromotional:
    found = fields(value, _PROMOTIONAL_FIELDS, where, required=("feature_id",))
    number = found.get("value") if found.get("usage_limit") is None else found.get("usage_limit")
    reset, configuration = found.get("reset_period"), found.get("reset_period_configuration")
    end = found.get("custom_end_date")
    default = "LIFETIME" if end is None else "CUSTOM"
    period = check_word(found.get("period") or default, PromotionalEntitlementPeriod, f"{where}.period")
    if end is not None and period != "CUSTOM":
        raise InvalidInput(
            f"{where} has a custom_end_date and the period `{period}`",
            code="InvalidArgumentError",
            hint="custom_end_date goes with period CUSTOM",
        )
    values = found.get("enum_values")
    if values is not None:
        values = items(values, f"{where}.enum_values", check_id)
    unlimited = found.get("is_unlimited") or found.get("has_unlimited_usage") or False
    entitlement: dict[str, Any] = {
        "feature_id": check_id(found["feature_id"], f"{where}.feature_id"),
        "usage_limit": None if number is None else shown(number, name=f"{where}.usage_limit"),
        "is_unlimited": check_bool(unlimited, f"{where}.is_unlimited"),
        "has_soft_limit": check_bool(found.get("has_soft_limit") or False, f"{where}.has_soft_limit"),
        "enum_values": values,
        "reset_period": None if reset is None else check_word(reset, ResetPeriod, f"{where}.reset_period"),
        "reset_period_configuration": None
        if configuration is None
        else check_word(configuration, ResetPeriodConfiguration, f"{where}.reset_period_configuration"),
    }
    return GrantPromotional(
        entitlement=PackageEntitlement(**entitlement),
        period=period,
        custom_end_ms=None if end is None else to_ms(end, name=f"{where}.custom_end_date"),
        is_visible=check_bool(found.get("is_visible", True), f"{where}.is_visible"),
    )
