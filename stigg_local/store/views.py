"""Readable SQL over the stored records: temporary views.

Laws: nothing of it is stored in the file, whose schema is compared at every opening; bodies are decoded, never
verified, so that a damaged file can be looked at too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from stigg_local.core.catalog import CreditCurrency, Feature
from stigg_local.core.credit import Grant
from stigg_local.core.customer import TRIAL, CustomerSnapshot, PromotionalSource, SubscriptionSource
from stigg_local.core.hold import Hold
from stigg_local.core.ledger import LedgerEntry
from stigg_local.core.period import FOREVER_MS
from stigg_local.store.view_functions import add_functions

if TYPE_CHECKING:
    import apsw
else:
    from stigg_local.store import lazy_apsw as apsw

_FEATURE_SCALE = f"coalesce(json_extract(f.body, '$.scale'), {Feature(id='', feature_type='Numeric').scale})"
_CURRENCY_SCALE = f"coalesce(json_extract(c.body, '$.scale'), {CreditCurrency(id='').scale})"


def _json(source: str, **columns: str) -> str:
    """Columns out of a JSON text: `name='path'`, or `name='path=default'` for what is left out where it is usual.

    A name that ends in `_ms` gets its time as text before it.
    """
    parts = []
    for name, place in columns.items():
        path, _, default = place.partition("=")
        found = f"json_extract({source}, '$.{path}')"
        found = f"coalesce({found}, {default})" if default else found
        parts.append(_time(name, found) if name.endswith("_ms") else f"{found} AS {name}")
    return ", ".join(parts)


def _time(name: str, found: str) -> str:
    return f"iso({found}) AS {name.removesuffix('_ms')}_at, nullif({found}, {FOREVER_MS}) AS {name}"


def _fields(kind: type[msgspec.Struct], source: str, *inside: int) -> Callable[[str], str]:
    """How to get at a field, by its name, of a record that is stored as an array."""
    places = {name: place for place, name in enumerate(kind.__struct_fields__)}
    return lambda name: f"part({', '.join([source, *map(str, inside), str(places[name])])})"


def _feature(found: str) -> str:
    return (
        " LEFT JOIN main.catalog_item AS f"
        f" ON f.environment = t.environment AND f.kind = 'feature' AND f.id = {found} AND f.version = 1"
    )


def _currency(found: str) -> str:
    return (
        " LEFT JOIN main.catalog_item AS c ON c.environment = t.environment AND c.kind = 'creditCurrency'"
        f" AND c.id = {found} AND c.version = 1"
    )


_JOIN_FEATURE = _feature("t.feature_id")
_grant = _fields(Grant, "t.body")
_hold = _fields(Hold, "t.body")
_EVENT_BODY = "nullif(CAST(t.body AS TEXT), '')"
_entry = _fields(LedgerEntry, "t.body")
_entry_grant = _fields(Grant, "t.body", LedgerEntry.__struct_fields__.index("grant"))
_PRICING = "CASE t.kind WHEN 'plan' THEN 'FREE' ELSE 'PAID' END"
_PACKAGE = "CASE t.kind WHEN 'plan' THEN '$.plan.' ELSE '$.addon.' END"


def _package(name: str, path: str, default: str = "NULL") -> str:
    return f"coalesce(json_extract(t.body, {_PACKAGE} || '{path}'), {default}) AS {name}"


# Sources as JSON: the tag, and then the fields in their order.
_at = {name: place for place, name in enumerate(SubscriptionSource.__struct_fields__, 1)}
_PROMOTED = 1 + PromotionalSource.__struct_fields__.index("entitlement")
_START, _END = (
    "json_extract(s.value, CASE json_extract(s.value, '$[0]') WHEN 0"
    f" THEN '$[{_at[name]}]' ELSE '$[{1 + PromotionalSource.__struct_fields__.index(name)}]' END)"
    for name in ("start_ms", "end_ms")
)
_WHEN = (
    f"iso({_START}) AS start_at, {_START} AS start_ms, iso({_END}) AS end_at,"
    f" nullif({_END}, {FOREVER_MS}) AS end_ms,"
    f" {_START} <= now_ms() AND now_ms() < {_END} AS is_current"
)
_OF_SUBSCRIPTION = "CASE json_extract(s.value, '$[0]') WHEN 0 THEN"
_KIND = (
    f"{_OF_SUBSCRIPTION} CASE json_extract(s.value, '$[{_at['kind']}]') WHEN {TRIAL} THEN 'TRIAL' ELSE 'SUBSCRIPTION'"
    " END ELSE 'PROMOTIONAL' END"
)
_SOURCES = (
    "main.customer AS t,"
    f" json_each(decoded(t.snapshot), '$[{CustomerSnapshot.__struct_fields__.index('sources')}]') AS s"
)


def _measurement(measurement_id: str, value: str, behavior: str, created_ms: str, dimensions: str) -> str:
    return (
        f"{measurement_id} AS measurement_id, t.customer_id, t.feature_id, nullif(t.resource_id, '') AS resource_id,"
        f" amount({value}, {_FEATURE_SCALE}, f.id) AS value, {behavior} AS update_behavior,"
        f" iso({created_ms}) AS created_at, {created_ms} AS created_ms, iso(t.at_ms) AS recorded_at,"
        f" t.at_ms AS recorded_ms, {dimensions} AS dimensions, {value} AS raw_value, t.seq"
    )


# Name -> (select, from and where). `t` is the stored table; the environment is added to each.
_VIEWS: dict[str, tuple[str, str]] = {
    "customers": (
        "t.customer_id, "
        + _json("t.body", name="name", email="email", coupon_id="couponId")
        + ", coalesce(json_array_length(t.body, '$.subscriptions'), 0) AS subscription_count, "
        + _json("t.body", resource_ids="resourceIds", metadata="metadata")
        + ", "
        + _json("t.body", created_ms="createdMs", updated_ms="updatedMs", archived_ms="archivedMs"),
        "main.customer_record AS t WHERE 1",
    ),
    "subscriptions": (
        "t.customer_id, "
        + _json("s.value", subscription_id="id")
        + ", subscription_status(s.value) AS status, "
        + _json(
            "s.value",
            plan_id="planId",
            plan_version="planVersion",
            product_id="productId",
            resource_id="resourceId",
            billing_period="billingPeriod",
            addons="addons",
            units="units",
            start_ms="startMs",
            end_ms="endMs",
            trial_end_ms="trialEndMs",
            trial_end_behavior="trialEndBehavior",
            cancellation_ms="cancellationMs",
            cancel_reason="cancelReason",
            created_ms="createdMs",
            usage_anchor_ms="usageAnchorMs",
            billing_country_code="billingCountryCode",
            custom_features="customFeatures",
            custom_credits="customCredits",
            metadata="metadata",
        ),
        "main.customer_record AS t, json_each(t.body, '$.subscriptions') AS s WHERE 1",
    ),
    "promotional_entitlements": (
        "t.customer_id, "
        + _json(
            "s.value",
            feature_id="entitlement.featureId",
            usage_limit="entitlement.usageLimit",
            value="entitlement.value",
            is_unlimited="entitlement.isUnlimited=0",
            has_soft_limit="entitlement.hasSoftLimit=0",
            enum_values="entitlement.enumValues",
            reset_period="entitlement.resetPeriod",
            reset_period_configuration="entitlement.resetPeriodConfiguration",
            is_visible="isVisible=1",
            period="period",
            start_ms="startMs",
            end_ms="endMs",
        ),
        "main.customer_record AS t, json_each(t.body, '$.promotionalEntitlements') AS s WHERE 1",
    ),
    "sources": (
        f"t.customer_id, {_KIND} AS kind, "
        + f"{_OF_SUBSCRIPTION} json_extract(s.value, '$[{_at['subscription_id']}]') END AS subscription_id"
        f", {_OF_SUBSCRIPTION} nullif(json_extract(s.value, '$[{_at['resource_id']}]'), '') END AS resource_id"
        f", {_OF_SUBSCRIPTION} json_extract(s.value, '$[{_at['packages']}]') END AS packages"
        f", {_WHEN}",
        f"{_SOURCES} WHERE 1",
    ),
    "entitlements": (
        f"t.customer_id, json_extract(e.value, '$.featureId') AS feature_id, {_KIND} AS kind,"
        f" {_OF_SUBSCRIPTION} nullif(json_extract(s.value, '$[{_at['resource_id']}]'), '') END AS resource_id,"
        f" {_OF_SUBSCRIPTION} json_extract(s.value, '$[{_at['subscription_id']}]') END AS subscription_id,"
        " json_extract(p.value, '$[0]') AS package_id, json_extract(p.value, '$[1]') AS package_version,"
        " json_extract(p.value, '$[2]') AS quantity, "
        + _json(
            "e.value",
            usage_limit="usageLimit",
            value="value",
            is_unlimited="isUnlimited=0",
            has_soft_limit="hasSoftLimit=0",
            is_custom="isCustom=0",
            is_granted="isGranted=1",
            enum_values="enumValues",
            reset_period="resetPeriod",
            behavior="behavior='Increment'",
        )
        + f", {_WHEN}",
        # A promotion has no package and is its own entitlement.
        f"{_SOURCES}, json_each({_OF_SUBSCRIPTION} json_extract(s.value, '$[{_at['packages']}]') ELSE '[[null]]' END)"
        " AS p LEFT JOIN main.catalog_item AS c ON c.environment = t.environment AND c.kind IN ('plan', 'addon')"
        " AND c.id = json_extract(p.value, '$[0]') AND c.version = json_extract(p.value, '$[1]'),"
        f" json_each({_OF_SUBSCRIPTION} json_extract(c.body, '$.' || c.kind || '.entitlements')"
        f" ELSE json_array(json_extract(s.value, '$[{_PROMOTED}]')) END) AS e WHERE 1",
    ),
    "usage": (
        "t.customer_id, t.feature_id, nullif(t.resource_id, '') AS resource_id,"
        f" amount(t.value, {_FEATURE_SCALE}, f.id) AS used, iso(t.from_ms) AS from_at, t.from_ms,"
        f" iso(t.to_ms) AS to_at, nullif(t.to_ms, {FOREVER_MS}) AS to_ms,"
        " t.from_ms <= now_ms() AND now_ms() < t.to_ms AS is_current,"
        " t.value AS raw_value, t.seq",
        f"main.usage_counter AS t{_JOIN_FEATURE} WHERE 1",
    ),
    "measurements": (
        _measurement("t.measurement_id", "t.value", "t.behavior", "t.created_ms", "decoded(nullif(t.body, x''))"),
        f"main.measurement AS t{_JOIN_FEATURE} WHERE 1",
    ),
    "credit_grants": (
        f"t.grant_id, t.customer_id, {_grant('currency_id')} AS currency_id,"
        f" nullif({_grant('resource_id')}, '') AS resource_id, {_grant('grant_type')} AS grant_type,"
        f" amount({_grant('amount')}, {_CURRENCY_SCALE}, c.id) AS amount,"
        f" amount({_grant('consumed')}, {_CURRENCY_SCALE}, c.id) AS consumed,"
        f" amount({_grant('amount')} - {_grant('consumed')}, {_CURRENCY_SCALE}, c.id) AS remaining,"
        f" {_grant('priority')} AS priority, "
        + ", ".join(_time(name, _grant(name)) for name in ("effective_ms", "expire_ms", "created_ms", "voided_ms"))
        + f", {_grant('cost')} AS cost, nullif({_grant('source')}, '') AS source, t.seq",
        f"main.credit_grant AS t{_currency(_grant('currency_id'))} WHERE 1",
    ),
    "ledger": (
        f"t.customer_id, t.seq, t.ord, {_entry('type')} AS type,"
        f" amount({_entry('amount')}, {_CURRENCY_SCALE}, c.id) AS amount,"
        f" {_entry_grant('currency_id')} AS currency_id,"
        f" iso({_entry('at_ms')}) AS at, {_entry('at_ms')} AS at_ms,"
        f" {_entry_grant('id')} AS grant_id, {_entry_grant('grant_type')} AS grant_type,"
        f" amount({_entry_grant('amount')} - {_entry_grant('consumed')}, {_CURRENCY_SCALE}, c.id) AS remaining_after,"
        f" nullif({_entry('feature_id')}, '') AS feature_id, nullif({_entry('measurement_id')}, '') AS measurement_id",
        f"main.ledger AS t{_currency(_entry_grant('currency_id'))} WHERE 1",
    ),
    "features": (
        "t.id AS feature_id, "
        + _json(
            "t.body",
            feature_type="featureType",
            meter_type="meterType='None'",
            display_name="displayName",
            units="units",
            enum_values="enumValues",
            metadata="metadata",
        )
        + f", {_FEATURE_SCALE.replace('f.body', 't.body')} AS scale",
        "main.catalog_item AS t WHERE t.kind = 'feature'",
    ),
    "products": (
        "t.id AS product_id, "
        + _json(
            "t.body", display_name="displayName", multiple_subscriptions="multipleSubscriptions=0", settings="settings"
        ),
        "main.catalog_item AS t WHERE t.kind = 'product'",
    ),
    "packages": (
        "t.kind, t.id AS package_id, t.version, t.version = max(t.version) OVER (PARTITION BY t.kind, t.id) AS"
        f" is_latest, {_package('product_id', 'productId')}, {_package('display_name', 'displayName')},"
        f" {_package('pricing_type', 'pricingType', _PRICING)},"
        f" {_package('parent_plan_id', 'parentPlanId')},"
        f" coalesce(json_array_length(t.body, {_PACKAGE} || 'entitlements'), 0) AS entitlement_count,"
        f" coalesce(json_array_length(t.body, {_PACKAGE} || 'prices'), 0) AS price_count, t.seq",
        "main.catalog_item AS t WHERE t.kind IN ('plan', 'addon')",
    ),
    "package_entitlements": (
        "t.kind, t.id AS package_id, t.version, "
        + _json(
            "s.value",
            feature_id="featureId",
            usage_limit="usageLimit",
            value="value",
            is_unlimited="isUnlimited=0",
            has_soft_limit="hasSoftLimit=0",
            is_custom="isCustom=0",
            is_granted="isGranted=1",
            reset_period="resetPeriod",
            enum_values="enumValues",
            behavior="behavior='Increment'",
            credit_rate="creditRate",
        ),
        f"main.catalog_item AS t, json_each(t.body, {_PACKAGE} || 'entitlements') AS s"
        " WHERE t.kind IN ('plan', 'addon')",
    ),
    "credit_currencies": (
        "t.id AS currency_id, "
        + _json("t.body", display_name="displayName", symbol="symbol")
        + f", {_CURRENCY_SCALE.replace('c.body', 't.body')} AS scale",
        "main.catalog_item AS t WHERE t.kind = 'creditCurrency'",
    ),
    "catalog_files": (
        "t.name, t.hash, iso(t.applied_ms) AS applied_at, t.applied_ms, t.seq",
        "main.catalog_file AS t WHERE 1",
    ),
    "idempotency_keys": (
        "t.operation, t.key, t.customer_id, iso(t.at_ms) AS at, t.at_ms, decoded(t.reply) AS reply",
        "main.idempotency AS t WHERE 1",
    ),
    "events": (
        "t.seq, t.ord, t.type, nullif(t.customer_id, '') AS customer_id, "
        + _json(_EVENT_BODY, subscription_id="subscriptionId", feature_id="featureId", data="data")
        + ", iso(t.at_ms) AS at, t.at_ms, t.actor",
        "main.audit AS t WHERE 1",
    ),
    "usage_events": (
        "t.customer_id, nullif(t.resource_id, '') AS resource_id, t.event_name, t.idempotency_key,"
        " decoded(nullif(t.body, x'')) AS dimensions, iso(t.created_ms) AS created_at, t.created_ms,"
        " iso(t.at_ms) AS recorded_at, t.at_ms AS recorded_ms, t.seq",
        # What a compaction folded is no event any more.
        "main.usage_event AS t WHERE t.created_ms >= 0",
    ),
    "holds": (
        f"t.hold_id, t.customer_id, nullif({_hold('resource_id')}, '') AS resource_id,"
        f" nullif({_hold('feature_id')}, '') AS feature_id, nullif({_hold('currency_id')}, '') AS currency_id,"
        f" CASE {_hold('feature_id')} WHEN '' THEN amount({_hold('amount')}, {_CURRENCY_SCALE}, c.id)"
        f" ELSE amount({_hold('amount')}, {_FEATURE_SCALE}, f.id) END AS amount,"
        f" amount({_hold('cost')}, {_CURRENCY_SCALE}, c.id) AS credits, {_time('start_ms', _hold('start_ms'))},"
        f" {_time('expire_ms', 't.expire_ms')},"
        f" {_hold('start_ms')} <= now_ms() AND now_ms() < t.expire_ms AS is_current, t.seq",
        f"main.hold AS t{_feature(_hold('feature_id'))}{_currency(_hold('currency_id'))} WHERE 1",
    ),
    "due_boundaries": (
        "t.customer_id, iso(t.due_ms) AS due_at, t.due_ms, t.due_ms <= now_ms() AS is_due, t.seq",
        "main.due AS t WHERE 1",
    ),
}

# What more there is in a view, from a table that a file of an older version does not have.
_MORE: dict[str, tuple[str, str]] = {
    "measurements": (
        _measurement("p.value ->> 0", "p.value ->> 2", "p.value ->> 1", "p.value ->> 3", "p.value -> 4"),
        # Of a pack that cannot be read any more there is one line, and its columns are empty.
        "main.measurement_pack AS t JOIN json_each(iif(json_valid(t.body), t.body, '[[]]')) AS p"
        f"{_JOIN_FEATURE} WHERE 1",
    ),
}

VIEWS = tuple(_VIEWS)
_STORED = re.compile(r"\bmain\.(\w+)")


def add_views(connection: apsw.Connection, environment: str, now_ms: int) -> tuple[str, ...]:
    """Give a connection the readable views and their functions, for as long as it is open.

    Returns:
        Their names: `VIEWS`, in a file of an older version without those of tables that it does not have yet.
    """

    add_functions(connection, now_ms)
    place = apsw.format_sql_value(environment)
    stored = {row[0] for row in connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")}
    known = []
    for name, view in _VIEWS.items():
        parts = [part for part in (view, _MORE.get(name)) if part and stored.issuperset(_STORED.findall(part[1]))]
        if view in parts:
            text = " UNION ALL ".join(
                f"SELECT {columns} FROM {rest} AND t.environment = {place}" for columns, rest in parts
            )
            connection.execute(f"CREATE TEMP VIEW {name} AS {text}", can_cache=False)
            known.append(name)
    return tuple(known)
