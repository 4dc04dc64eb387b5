"""A line of a file as a command: what each kind of line may hold, and the call that it becomes.

Laws: nothing is written but by the calls of the client; a line with the id that an export gave it has that id in its
key, and where the directory holds it already, it is left aside.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from stigg_local.client import Stigg
from stigg_local.core.command import SUBSCRIPTION_FIELDS, fields
from stigg_local.core.customer import Customer
from stigg_local.core.ids import check_id, told
from stigg_local.core.period import to_text
from stigg_local.core.quantity import EXACT
from stigg_local.errors import InvalidInput
from stigg_local.event_arguments import REPORT_FIELDS
from stigg_local.store.digest import content_hash
from stigg_local.store.known import has_grant, has_measurement
from stigg_local.store.tx import Tx

Row = dict[str, Any]

NUMBER_LENGTH_MAX = 100
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LIVE = ("ACTIVE", "IN_TRIAL", "NOT_STARTED")
_GRANTED = (None, "PROMOTIONAL", "PAID")
_decode_customer = msgspec.json.Decoder(Customer).decode

_CUSTOMER_FIELDS = ("customer_id", "name", "email", "coupon_id", "metadata", "idempotency_key", "subscription_params")
_PROMOTION_FIELDS = (
    "customer_id",
    "feature_id",
    "usage_limit",
    "value",
    "is_unlimited",
    "has_soft_limit",
    "enum_values",
    "reset_period",
    "reset_period_configuration",
    "is_visible",
    "period",
    "custom_end_date",
    "idempotency_key",
)
_CREDIT_FIELDS = (
    "customer_id",
    "currency_id",
    "amount",
    "grant_type",
    "priority",
    "effective_at",
    "expire_at",
    "cost",
    "resource_id",
    "idempotency_key",
)
# What `db export` writes beside what a command takes: known, and left aside.
_CUSTOMER_REST = (
    "subscription_count resource_ids created_at created_ms updated_at updated_ms archived_at archived_ms".split()
)
_SUBSCRIPTION_REST = (
    "subscription_id plan_version product_id start_at start_ms end_at end_ms trial_end_at trial_end_ms"
    " trial_end_behavior cancellation_at cancellation_ms cancel_reason created_at created_ms usage_anchor_at"
    " usage_anchor_ms".split()
)
_PROMOTION_REST = "start_at start_ms end_at end_ms".split()
_CREDIT_REST = (
    "grant_id consumed remaining effective_ms expire_ms created_at created_ms voided_at voided_ms source seq".split()
)
_USAGE_REST = "measurement_id created_ms recorded_at recorded_ms raw_value seq".split()
_JSON_FIELDS = frozenset(
    "metadata subscription_params addons billable_features entitlements dimensions units custom_features"
    " custom_credits enum_values".split()
)
_FLAGS = frozenset("skip_trial is_unlimited has_soft_limit is_visible".split())
_NUMBERS = frozenset("amount priority usage_limit value".split())
_TRUTH: dict[object, bool] = {1: True, 0: False, "1": True, "0": False, "true": True, "false": False}
# Of a subscription, in a customer's line.
_PLAN_FIELDS = tuple(name for name in SUBSCRIPTION_FIELDS if name != "metadata")


# A line as a command. Each returns whether there was anything to do. -------------------------------------------------


def _customer(client: Stigg, row: Row, key: str) -> bool:
    found = _known(row, (*_CUSTOMER_FIELDS, *_PLAN_FIELDS), _CUSTOMER_REST, "the line", ("customer_id",))
    if row.get("archived_ms") is not None:
        return False
    plan = {name: found.pop(name) for name in _PLAN_FIELDS if name in found}
    asked = found.pop("subscription_params", None)
    if plan:
        if asked is not None:
            raise InvalidInput("the line says its plan twice", hint="plan_id or subscription_params")
        asked = plan
    client.provision_customer(
        found.pop("customer_id"),
        subscription_params=asked,
        idempotency_key=found.pop("idempotency_key", key),
        **found,
    )
    return True


def _subscription(client: Stigg, row: Row, key: str) -> bool:
    names = ("customer_id", "idempotency_key", "status", "units", "custom_features", "custom_credits")
    required = ("customer_id", "plan_id")
    found = _known(row, (*SUBSCRIPTION_FIELDS, *names), _SUBSCRIPTION_REST, "the line", required)
    status = found.pop("status", None)
    if status is not None and status not in _LIVE:
        return False
    if status == "ACTIVE":
        # What was its trial is over.
        found.setdefault("skip_trial", True)
    units = found.pop("units", None)
    if units is not None:
        found["billable_features"] = [
            {"feature_id": name, "quantity": count} for name, count in _mapping(units, "units").items()
        ]
    if isinstance(found.get("addons"), list):
        found["addons"] = [
            {name: value for name, value in addon.items() if name != "version"} if isinstance(addon, dict) else addon
            for addon in found["addons"]
        ]
    custom = _custom(found.pop("custom_features", None), found.pop("custom_credits", None))
    if custom:
        found["entitlements"] = [*found.get("entitlements", ()), *custom]
    customer, plan = found.pop("customer_id"), found.pop("plan_id")
    if row.get("subscription_id") is not None:
        subscription = check_id(row["subscription_id"], "subscription_id")
        if _is_there(client, lambda tx: tx.subscription_owner(subscription) is not None):
            return False
        key = f"import:{subscription}"
    chosen = found.pop("idempotency_key", key)
    client.provision_subscription(customer, plan, idempotency_key=chosen, **found)
    return True


def _custom(features: object, credits: object) -> list[dict[str, Any]]:
    """The values of a custom plan as the call takes them."""
    found: list[dict[str, Any]] = [
        {"feature": {"feature_id": name, **_mapping(value, "custom_features")}}
        for name, value in _mapping(features or {}, "custom_features").items()
    ]
    if isinstance(credits, list):
        found += [{"credit": _mapping(item, "custom_credits")} for item in credits]
    return found


def _promotion(client: Stigg, row: Row, key: str) -> bool:
    found = _known(row, _PROMOTION_FIELDS, _PROMOTION_REST, "the line", ("customer_id", "feature_id"))
    customer = check_id(found.pop("customer_id"), "customer_id")
    feature = check_id(found["feature_id"], "feature_id")
    start_ms, end_ms = _whole(row.get("start_ms")), _whole(row.get("end_ms"))
    if end_ms is not None and "custom_end_date" not in found:
        if _is_there(client, lambda tx: end_ms <= tx.now_ms):
            return False
        # An export says when it ends, not how long it was to run.
        found |= {"custom_end_date": to_text(end_ms), "period": "CUSTOM"}
    if start_ms is not None:
        if _is_there(client, lambda tx: _has_promotion(tx, customer, feature, start_ms)):
            return False
        key = f"import:{content_hash(json.dumps([customer, feature]).encode())[:32]}:{start_ms}"
    chosen = found.pop("idempotency_key", key)
    client.grant_promotional_entitlements(customer, [found], idempotency_key=chosen)
    return True


def _credit(client: Stigg, row: Row, key: str) -> bool:
    found = _known(row, _CREDIT_FIELDS, _CREDIT_REST, "the line", ("customer_id", "currency_id", "amount"))
    if row.get("voided_ms") is not None or row.get("source") or found.get("grant_type") not in _GRANTED:
        # Void, or what the subscription or the overdraft of its customer makes again.
        return False
    customer = check_id(found.pop("customer_id"), "customer_id")
    if row.get("grant_id") is not None:
        grant = check_id(row["grant_id"], "grant_id")
        if _is_there(client, lambda tx: has_grant(tx, customer, grant)):
            return False
        key = f"import:{grant}"
        if row.get("remaining") is not None:
            # Reports from before the new subscriptions burn nothing: what was burnt must not come back.
            found["amount"] = _value("amount", row["remaining"])
            if isinstance(found["amount"], int | float | Decimal) and found["amount"] <= 0:
                return False
    cost = found.pop("cost", None)
    if isinstance(cost, str):
        amount, _, currency = cost.partition(" ")
        cost = {"amount": _number(amount, "cost"), "currency": currency} if currency else _number(amount, "cost")
    client.grant_credits(
        customer,
        found.pop("currency_id"),
        found.pop("amount"),
        cost=cost,
        idempotency_key=found.pop("idempotency_key", key),
        **found,
    )
    return True


def _usage(client: Stigg, row: Row, key: str) -> bool:
    if "from_ms" in row or "from_at" in row:
        raise InvalidInput("that is a counter, not a report", hint="`db export measurements` has the reports")
    required = ("customer_id", "feature_id", "value")
    found = _known(row, REPORT_FIELDS, _USAGE_REST, "the line", required)
    customer, feature = (check_id(found.pop(name), name) for name in ("customer_id", "feature_id"))
    resource = None if found.get("resource_id") is None else check_id(found["resource_id"], "resource_id")
    if row.get("measurement_id") is not None:
        measurement, seq = check_id(row["measurement_id"], "measurement_id"), _whole(row.get("seq"))
        place = (customer, resource or "", feature)
        if seq is not None and _is_there(client, lambda tx: has_measurement(tx, *place, seq, measurement)):
            return False
        key = f"import:{measurement}"
    if isinstance(dimensions := found.get("dimensions"), Mapping):
        found["dimensions"] = {
            name: float(value) if isinstance(value, Decimal) else value for name, value in dimensions.items()
        }
    client.report_usage(
        customer,
        feature,
        found.pop("value"),
        idempotency_key=found.pop("idempotency_key", key),
        **found,
    )
    return True


KINDS: dict[str, Callable[[Stigg, Row, str], bool]] = {
    "customers": _customer,
    "subscriptions": _subscription,
    "promotions": _promotion,
    "credits": _credit,
    "usage": _usage,
}


def _is_there(client: Stigg, ask: Callable[[Tx], bool]) -> bool:
    """Whether the directory holds what a line is the export of."""
    embedded = client._embedded
    return embedded is not None and embedded.store.read(ask)


def _has_promotion(tx: Tx, customer_id: str, feature_id: str, start_ms: int) -> bool:
    body = tx.customer_record(customer_id)
    if body is None:
        return False
    given = _decode_customer(body).promotional_entitlements
    return any(item.entitlement.feature_id == feature_id and item.start_ms == start_ms for item in given)


def _known(row: Row, names: Iterable[str], rest: Iterable[str], where: str, required: Iterable[str]) -> Row:
    """The fields that a line gives, by their snake-case names; what is null or of an export alone is left out."""
    names, rest = tuple(names), frozenset(rest) - frozenset(names)
    found = fields({name: value for name, value in row.items() if name not in rest}, names, where, required)
    return {name: _value(name, value) for name, value in found.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    """A value as the call takes it: JSON out of a cell that holds a text of it, a word for a truth value."""
    if name in _JSON_FIELDS and isinstance(value, str):
        try:
            return json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{name} is `{told(value)}`, not JSON") from error
    if name in _FLAGS and not isinstance(value, bool):
        return _TRUTH.get(value.lower() if isinstance(value, str) else value, value)
    if name in _NUMBERS and isinstance(value, str):
        return _number(value, name)
    return value


def _number(text: str, name: str) -> int | Decimal:
    if len(text) > NUMBER_LENGTH_MAX or not _NUMBER.fullmatch(text):
        raise InvalidInput(f"{name} is `{told(text)}`, not a number", hint="for example 5 or 0.25")
    value = Decimal(text)
    return int(value) if value == value.to_integral_value(context=EXACT) else value


def _whole(value: object) -> int | None:
    """A number of an export, whichever format it came through; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) < NUMBER_LENGTH_MAX:
        return int(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} is `{told(value)}`, not a mapping")
    return value
