"""What the client tests share: a catalog with every type of answer, a filled directory, and all its questions."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stigg_local import Stigg
from stigg_local.authority.events import ReportEvent
from stigg_local.testing import ManualClock

ROOT = Path(__file__).parents[2]
NOON = "2025-01-31T12:00:00Z"

CATALOG: dict[str, Any] = {
    "schema": 1,
    "features": [
        {"id": "feature-sso", "featureType": "Boolean"},
        {"id": "feature-audit", "featureType": "Boolean"},
        {"id": "feature-retention", "featureType": "Numeric"},
        {"id": "feature-regions", "featureType": "Enum", "enumValues": ["eu", "us", "ap"]},
        {"id": "feature-calls", "featureType": "Numeric", "meterType": "Incremental"},
        {"id": "feature-seats", "featureType": "Numeric", "meterType": "Fluctuating"},
        {"id": "feature-images", "featureType": "Numeric", "meterType": "Incremental"},
    ],
    "creditCurrencies": [{"id": "currency-ai", "displayName": "AI credits"}],
    "products": [{"id": "product-app"}, {"id": "product-sites", "multipleSubscriptions": True}],
    "plans": [
        {
            "id": "plan-app",
            "productId": "product-app",
            "pricingType": "FREE",
            "entitlements": [
                {"featureId": "feature-sso"},
                {"featureId": "feature-retention", "value": 7},
                {"featureId": "feature-regions", "enumValues": ["eu", "us"]},
                {"featureId": "feature-calls", "usageLimit": 100, "resetPeriod": "MONTH"},
                {"featureId": "feature-seats", "usageLimit": 5},
                {
                    "featureId": "feature-images",
                    "isUnlimited": True,
                    "creditRate": {"currencyId": "currency-ai", "amount": 10},
                },
            ],
        },
        {
            "id": "plan-small",
            "productId": "product-app",
            "pricingType": "FREE",
            "entitlements": [{"featureId": "feature-calls", "usageLimit": 2}],
        },
        {
            "id": "plan-endless",
            "productId": "product-app",
            "pricingType": "FREE",
            "entitlements": [{"featureId": "feature-calls", "isUnlimited": True}],
        },
        {
            "id": "plan-site",
            "productId": "product-sites",
            "pricingType": "FREE",
            "entitlements": [{"featureId": "feature-sso"}, {"featureId": "feature-calls", "usageLimit": 9}],
        },
    ],
}

# The same with what time does by itself and what raw events feed.
FULL_CATALOG: dict[str, Any] = CATALOG | {
    "features": [
        *CATALOG["features"],
        {
            "id": "feature-tokens",
            "featureType": "Numeric",
            "meterType": "Incremental",
            "meter": {"function": "SUM", "field": "tokens"},
        },
        {
            "id": "feature-users",
            "featureType": "Numeric",
            "meterType": "Incremental",
            "meter": {"function": "UNIQUE", "field": "user"},
        },
    ],
    "plans": [
        *CATALOG["plans"],
        {
            "id": "plan-trial",
            "productId": "product-app",
            "pricingType": "PAID",
            "defaultTrialConfig": {"duration": 14, "units": "DAY"},
            "prices": [{"billingPeriod": "MONTHLY", "amount": 10, "currency": "USD"}],
            "entitlements": [
                {"featureId": "feature-calls", "usageLimit": 10},
                {"featureId": "feature-tokens", "usageLimit": 1000, "resetPeriod": "MONTH"},
                {"featureId": "feature-users", "usageLimit": 100},
            ],
        },
    ],
}

CUSTOMERS = ("customer-1", "customer-2", "customer-3", "nobody")
FEATURES = tuple(feature["id"] for feature in CATALOG["features"])
GETTERS = {
    "feature-sso": "boolean",
    "feature-audit": "boolean",
    "feature-retention": "numeric",
    "feature-regions": "enum",
    "feature-calls": "metered",
    "feature-seats": "metered",
    "feature-images": "metered",
}

FALLBACKS: dict[str, Any] = {
    "entitlements_fallback": {feature: {"hasAccess": True, "usageLimit": 4242} for feature in FEATURES},
    "credit_entitlements_fallback": {"currency-ai": {"hasAccess": True, "currentBalance": 4242}},
}

Question = tuple[str, ...]
Answers = dict[Question, Any]


def fill(client: Stigg) -> Iterator[None]:
    """Customers with subscriptions, resources, promotions, counters and grants; a stop after every commit."""
    client.provision_customer("customer-1", name="One", subscription_params={"plan_id": "plan-app"})
    yield
    client.provision_customer("customer-2", name="Two", subscription_params={"plan_id": "plan-small"})
    yield
    client.provision_customer("customer-3", subscription_params=None)
    yield
    for resource in ("site-1", "site-2"):
        client.provision_subscription("customer-2", "plan-site", resource_id=resource)
        yield
        client.report_usage("customer-2", "feature-calls", len(resource), resource_id=resource)
        yield
    for value in (3, 4):
        client.report_usage("customer-1", "feature-calls", value, idempotency_key=f"key-{value}")
        yield
    client.report_usage("customer-1", "feature-seats", 5, update_behavior="SET")
    yield
    client.report_usage("customer-2", "feature-calls", 2)
    yield
    for amount in (100, 50):
        client.grant_credits("customer-1", "currency-ai", amount, priority=amount)
        yield
    client.grant_credits("customer-2", "currency-ai", 7)
    yield
    client.report_usage("customer-1", "feature-images", 6)
    yield
    client.grant_promotional_entitlements(
        "customer-3", [{"feature_id": "feature-calls", "usage_limit": 11}, {"feature_id": "feature-audit"}]
    )
    yield
    client.report_usage("customer-3", "feature-calls", 1.5)
    yield


def live(client: Stigg) -> None:
    """What is kept beside customers, counters and grants: needs the full catalog, after `fill`."""
    client.provision_customer("customer-4", subscription_params={"plan_id": "plan-trial"})
    client.report_usage("customer-4", "feature-calls", 9)
    client.reserve("customer-1", "feature-calls", 2, ttl_seconds=86_400, idempotency_key="hold-1")
    client.reserve("customer-1", None, 3, currency_id="currency-ai", ttl_seconds=86_400, idempotency_key="hold-2")
    for number in range(3):
        client.report_usage("customer-3", "feature-calls", 0.5, dimensions={"share": number / 8}, durability="queued")
    client.flush()
    embedded = client._embedded
    assert embedded is not None
    events = [
        ReportEvent(
            customer_id="customer-4",
            event_name="asked",
            idempotency_key=f"event-{number}",
            dimensions={"tokens": 10 * number, "user": f"user-{number % 3}"},
        )
        for number in range(1, 6)
    ]
    embedded.authority.events.report(events, durability="disk")
    embedded.store.write(
        lambda tx: tx.put_checkout("checkout-1", "customer-4", b"{}"), operation="begin", key="checkout-1"
    )


def ask(client: Stigg) -> Answers:
    """Every question that the filled directory can be asked, and its answer as plain values."""
    answers: Answers = {}
    for customer in CUSTOMERS:
        for feature, kind in GETTERS.items():
            for name in ("get_entitlement", f"get_{kind}_entitlement"):
                answers[customer, name, feature] = _plain(getattr(client, name)(customer, feature))
        answers[customer, "requested"] = _plain(
            client.get_metered_entitlement(customer, "feature-calls", requested_usage=50)
        )
        answers[customer, "resource"] = _plain(client.get_entitlement(customer, "feature-calls", "site-1"))
        answers[customer, "credit"] = _plain(client.get_credit_entitlement(customer, "currency-ai"))
        state = client.get_entitlements_state(customer, include_credits=True)
        answers[customer, "state"] = {
            "reason": state.access_denied_reason,
            "entitlements": [_plain(answer) for answer in state.entitlements],
        }
    return answers


def _plain(answer: Any) -> dict[str, Any]:
    plain: dict[str, Any] = answer.to_dict()
    # The time of the last change is a rebuilt customer's time of rebuilding.
    plain.pop("asOf", None)
    return plain


def wrong(truth: Answers, answers: Answers) -> dict[Question, Any]:
    """The answers that are neither true nor marked as fallback."""
    found = {}
    for question, answer in answers.items():
        if answer == truth[question]:
            continue
        if question[1] == "state":
            is_known = answer["reason"] not in (None, "Unknown") or not all(
                item["isFallback"] for item in answer["entitlements"]
            )
        else:
            is_known = not answer["isFallback"]
        if is_known:
            found[question] = (truth[question], answer)
    return found


@contextmanager
def client_of(data_dir: Path, clock: ManualClock | None = None, **arguments: Any) -> Iterator[Stigg]:
    """A client that is closed whatever happens."""
    client = Stigg(data_dir=data_dir, clock=clock, **arguments)
    try:
        yield client
    finally:
        client.close()


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process that runs `code` with this module's names and `arguments` as `args`."""
    prelude = "import os, signal, sys\nfrom tests.shell.clients import *\nargs = sys.argv[1:]\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        **options,
    )
