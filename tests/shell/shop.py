"""What the tests of the life cycle share: a shop with every kind of plan, clients on it, and what they ask often."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stigg_local import Stigg
from stigg_local.core.subscription_result import SubscriptionResult
from stigg_local.testing import ManualClock, ScriptedPayments

T0 = "2025-01-31T10:00:00Z"
ADMIN = {"success_url": "https://app.example/ok", "cancel_url": "https://app.example/no"}


def price(amount: str, period: str = "MONTHLY", **further: Any) -> dict[str, Any]:
    return {"billingPeriod": period, "billingModel": "FLAT_FEE", "amount": amount, "currency": "USD"} | further


SHOP: dict[str, Any] = {
    "schema": 1,
    "features": [
        {"id": "feature-sso", "featureType": "Boolean"},
        {"id": "feature-audit", "featureType": "Boolean"},
        {"id": "feature-calls", "featureType": "Numeric", "meterType": "Incremental"},
        {"id": "feature-seats", "featureType": "Numeric", "meterType": "Fluctuating"},
        {"id": "feature-regions", "featureType": "Enum", "enumValues": ["eu", "us"]},
        {
            "id": "feature-logins",
            "featureType": "Numeric",
            "meterType": "Incremental",
            "meter": {"function": "UNIQUE", "field": "who"},
        },
    ],
    "featureGroups": [
        {"id": "group-security", "featureIds": ["feature-sso", "feature-audit"]},
        {"id": "group-all", "featureIds": ["feature-sso", "feature-seats"]},
    ],
    "creditCurrencies": [{"id": "currency-ai", "displayName": "AI credits"}],
    "products": [
        {"id": "product-app", "displayName": "App"},
        {"id": "product-sites", "multipleSubscriptions": True},
        {
            "id": "product-late",
            "settings": {
                "downgradeTime": "END_OF_BILLING_PERIOD",
                "subscriptionCancellationTime": "END_OF_BILLING_PERIOD",
                "subscriptionEndSetup": "DOWNGRADE_TO_FREE",
                "downgradePlanId": "plan-late-free",
            },
        },
    ],
    "plans": [
        {
            "id": "plan-free",
            "productId": "product-app",
            "pricingType": "FREE",
            "entitlements": [
                {"featureId": "feature-calls", "usageLimit": 10, "resetPeriod": "MONTH"},
                {"featureId": "feature-logins", "isUnlimited": True},
            ],
        },
        {
            "id": "plan-starter",
            "productId": "product-app",
            "pricingType": "PAID",
            "entitlements": [{"featureId": "feature-calls", "usageLimit": 100, "resetPeriod": "MONTH"}],
            "compatibleAddonIds": ["addon-calls", "addon-base", "addon-top", "addon-annual"],
            "prices": [price("20"), price("200", "ANNUALLY")],
        },
        {
            "id": "plan-pro",
            "productId": "product-app",
            "pricingType": "PAID",
            "entitlements": [
                {"featureId": "feature-calls", "usageLimit": 1000, "resetPeriod": "MONTH"},
                {"featureId": "feature-sso"},
            ],
            "compatibleAddonIds": ["addon-calls"],
            "prices": [price("50"), price("500", "ANNUALLY"), price("45", billingCountryCode="DE", currency="EUR")],
        },
        {
            "id": "plan-seats",
            "productId": "product-app",
            "pricingType": "PAID",
            "entitlements": [{"featureId": "feature-seats"}],
            "prices": [
                {
                    "billingPeriod": "MONTHLY",
                    "billingModel": "PER_UNIT",
                    "featureId": "feature-seats",
                    "unitAmount": "10",
                    "currency": "USD",
                    "minUnits": 1,
                    "maxUnits": 50,
                }
            ],
        },
        {
            "id": "plan-trial",
            "productId": "product-app",
            "pricingType": "PAID",
            "entitlements": [{"featureId": "feature-calls", "usageLimit": 5000, "resetPeriod": "MONTH"}],
            "prices": [price("30")],
            "defaultTrialConfig": {"duration": 14, "units": "DAY", "trialEndBehavior": "CONVERT_TO_PAID"},
        },
        {
            "id": "plan-custom",
            "productId": "product-app",
            "pricingType": "CUSTOM",
            "entitlements": [{"featureId": "feature-seats", "isCustom": True}],
        },
        {"id": "plan-draft", "productId": "product-app", "pricingType": "FREE", "status": "DRAFT"},
        {
            "id": "plan-site",
            "productId": "product-sites",
            "pricingType": "FREE",
            "entitlements": [{"featureId": "feature-sso"}],
        },
        {
            "id": "plan-late-free",
            "productId": "product-late",
            "pricingType": "FREE",
            "entitlements": [{"featureId": "feature-seats", "usageLimit": 1}],
        },
        {
            "id": "plan-late",
            "productId": "product-late",
            "pricingType": "PAID",
            "entitlements": [{"featureId": "feature-seats", "usageLimit": 10}],
            "prices": [price("20")],
        },
        {
            "id": "plan-later",
            "productId": "product-late",
            "pricingType": "PAID",
            "entitlements": [{"featureId": "feature-seats", "usageLimit": 100}],
            "prices": [price("60")],
        },
    ],
    "addons": [
        {
            "id": "addon-calls",
            "productId": "product-app",
            "pricingType": "PAID",
            "maxQuantity": 3,
            "entitlements": [{"featureId": "feature-calls", "usageLimit": 50}],
            "prices": [price("5"), price("50", "ANNUALLY")],
        },
        {"id": "addon-base", "productId": "product-app", "pricingType": "PAID", "prices": [price("1")]},
        {
            "id": "addon-top",
            "productId": "product-app",
            "pricingType": "PAID",
            "dependencies": ["addon-base"],
            "prices": [price("1")],
        },
        {
            "id": "addon-annual",
            "productId": "product-app",
            "pricingType": "PAID",
            "prices": [price("9", "ANNUALLY")],
        },
    ],
    "coupons": [
        {"id": "coupon-half", "name": "Half", "type": "PERCENTAGE", "percentOff": "50"},
        {"id": "coupon-old", "name": "Old", "type": "PERCENTAGE", "percentOff": "10", "status": "ARCHIVED"},
    ],
    "promotionCodes": [{"code": "HALF", "couponId": "coupon-half"}],
}


class Shop:
    """A client on the shop with a clock moved by hand and a payment provider with a script."""

    def __init__(
        self,
        *outcomes: Any,
        data_dir: Path | None = None,
        catalog: dict[str, Any] | None = None,
        provider: Any = "script",
        clock: ManualClock | None = None,
    ) -> None:
        self.clock = clock or ManualClock(T0)
        self.payments = ScriptedPayments(outcomes)
        self.client = Stigg(
            catalog=catalog or SHOP,
            data_dir=data_dir,
            clock=self.clock,
            payment_provider=self.payments if provider == "script" else provider,
        )

    def __enter__(self) -> "Shop":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def customer(self, customer_id: str = "customer-1") -> str:
        self.client.provision_customer(customer_id, subscription_params=None)
        return customer_id

    def buy(self, plan_id: str = "plan-pro", customer_id: str = "customer-1", **arguments: Any) -> SubscriptionResult:
        """A subscription of a paid plan, whatever became of its payment."""
        arguments.setdefault("billing_period", "MONTHLY")
        found = self.client.provision_subscription(customer_id, plan_id, **arguments)
        assert found.status == "Success"
        assert found.subscription is not None
        return found.subscription

    def subscription(self, subscription_id: str) -> SubscriptionResult:
        return self.client.get_subscription(subscription_id)

    def limit(self, customer_id: str = "customer-1", feature_id: str = "feature-calls") -> Any:
        return self.client.get_metered_entitlement(customer_id, feature_id).usage_limit

    def types(self, customer_id: str = "customer-1") -> list[str]:
        """The types of a customer's events, in order."""
        return [event.type for event in self.client.get_events(customer_id=customer_id, limit=1000)]


class Asking(ScriptedPayments):
    """A provider that does something while it is asked to collect."""

    def __init__(self, act: Callable[[Any], object]) -> None:
        super().__init__()
        self._act = act

    def collect(self, invoice: Any, checkout_options: Any = None) -> Any:
        self._act(invoice)
        return super().collect(invoice, checkout_options)
