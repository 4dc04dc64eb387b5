"""Everything that is kept of one customer, as JSON can hold it: for the person's own copy."""

from typing import Any

import msgspec

from stigg_local.authority.audit import Audit
from stigg_local.authority.numbers import load_grants
from stigg_local.authority.run import Runner
from stigg_local.core.customer import Customer
from stigg_local.core.customer_result import customer_result
from stigg_local.core.ledger import LedgerEntry
from stigg_local.core.lifecycle import advance
from stigg_local.core.period import FOREVER_MS, to_text
from stigg_local.core.quantity import from_raw
from stigg_local.core.result import grant_result
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription_result import subscription_result
from stigg_local.store.event_body import dimensions_of
from stigg_local.store.tx import Tx

EVENTS_MAX = 100_000
_decode_entry = msgspec.msgpack.Decoder(LedgerEntry).decode


def export(runner: Runner, customer_id: str) -> dict[str, Any]:
    """The record, subscriptions, promotions, usage, credits and events of a customer.

    Raises:
        NotFound: `CustomerNotFound`.
    """

    def work(tx: Tx) -> dict[str, Any]:
        catalog = runner.catalog(tx)
        customer = advance(runner.customer(tx, customer_id), catalog, to_ms=tx.now_ms).customer
        return {
            "customer": _record(customer, tx.now_ms),
            "subscriptions": [
                subscription_result(customer, item.id, catalog, now_ms=tx.now_ms).to_dict()
                for item in customer.subscriptions
            ],
            "usage": _usage(tx, catalog, customer_id),
            "measurements": _measurements(tx, catalog, customer_id),
            "rawEvents": _raw_events(tx, customer_id),
            "creditGrants": [
                grant_result(
                    grant,
                    customer_id=customer_id,
                    scale=_currency_scale(catalog, grant.currency_id),
                    now_ms=tx.now_ms,
                ).to_dict()
                for grant in load_grants(tx, customer_id)
            ],
            "creditLedger": _ledger(tx, catalog, customer_id),
        }

    exported = runner.store.read(work)
    events = Audit(runner).page(after=None, limit=EVENTS_MAX, customer_id=customer_id, types=None, wait_s=0)
    return exported | {"events": [event.to_dict() for event in events]}


def _record(customer: Customer, now_ms: int) -> dict[str, Any]:
    return customer_result(customer, now_ms=now_ms).to_dict() | {
        "resourceIds": list(customer.resource_ids),
        "experiments": msgspec.to_builtins(list(customer.experiments)),
    }


def _usage(tx: Tx, catalog: Catalog, customer_id: str) -> list[dict[str, Any]]:
    return [
        {
            "featureId": feature_id,
            "resourceId": resource_id or None,
            "from": to_text(from_ms),
            "to": None if to_ms == FOREVER_MS else to_text(to_ms),
            "usage": from_raw(value, _feature_scale(catalog, feature_id)),
        }
        for resource_id, feature_id, from_ms, to_ms, value in tx.counters(customer_id)
    ]


def _measurements(tx: Tx, catalog: Catalog, customer_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for resource_id, feature_id in sorted(tx.has_measurements(customer_id)):
        scale = _feature_scale(catalog, feature_id)
        found += [
            {
                "featureId": feature_id,
                "resourceId": resource_id or None,
                "updateBehavior": row.behavior,
                "value": from_raw(row.value, scale),
                "createdAt": to_text(row.created_ms),
                "dimensions": dimensions_of(row.body),
            }
            for row in tx.measurements(customer_id, resource_id, feature_id, 0, FOREVER_MS)
        ]
    return found


def _raw_events(tx: Tx, customer_id: str) -> list[dict[str, Any]]:
    return [
        {
            "eventName": item.event_name,
            "idempotencyKey": item.idempotency_key,
            "resourceId": resource_id or None,
            "timestamp": to_text(item.created_ms),
            "dimensions": dimensions_of(item.body),
        }
        for resource_id in tx.event_resources(customer_id)
        for item in tx.usage_events(customer_id, resource_id, 0, FOREVER_MS)
    ]


def _ledger(tx: Tx, catalog: Catalog, customer_id: str) -> list[dict[str, Any]]:
    entries = [_decode_entry(row.body) for row in tx.ledger(customer_id)]
    return [
        {
            "type": entry.type,
            "amount": from_raw(entry.amount, _currency_scale(catalog, entry.grant.currency_id)),
            "at": to_text(entry.at_ms),
            "grantId": entry.grant.id,
            "currencyId": entry.grant.currency_id,
        }
        for entry in entries
    ]


def _feature_scale(catalog: Catalog, feature_id: str) -> int:
    feature = catalog.features.get(feature_id)
    return 0 if feature is None else feature.scale


def _currency_scale(catalog: Catalog, currency_id: str) -> int:
    currency = catalog.currencies.get(currency_id)
    return 0 if currency is None else currency.scale
