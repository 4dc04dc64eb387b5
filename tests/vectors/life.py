"""Running life vectors: names for what a step made, and the levels of the model and of the client.

Both levels answer in the same flat shape, so that one `expect` serves them.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from stigg_local import Stigg, StiggError
from stigg_local.core.payment import Invoice, PaymentOutcome
from stigg_local.testing import ManualClock
from tests.lifecycle.model import LifeModel
from tests.vectors.runner import GETTERS, catalog_path, differences, snake

# Keys whose values are data of the user and keep their spelling.
OPAQUE = ("metadata",)


class LifeLevel(Protocol):
    """Where the steps of a life vector run: names and arguments in snake case, answers in camel case."""

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]: ...

    def check(self, get: str, arguments: dict[str, Any]) -> Any: ...

    def close(self) -> None: ...


def snaked(value: Any) -> Any:
    """Arguments with their keys in snake case, at every depth."""
    if isinstance(value, Mapping):
        return {snake(key): item if key in OPAQUE else snaked(item) for key, item in value.items()}
    return [snaked(item) for item in value] if isinstance(value, list) else value


def run_life(vector: Mapping[str, Any], make: Callable[[ManualClock], LifeLevel]) -> None:
    """Run the steps of a life vector at a level."""
    clock = ManualClock(vector["steps"][0]["at"])
    level = make(clock)
    names: dict[str, str] = {}
    try:
        for number, step in enumerate(vector["steps"]):
            clock.set(step["at"])
            _run_step(level, step, names, f"step {number} at {step['at']}")
    finally:
        level.close()


def _run_step(level: LifeLevel, step: Mapping[str, Any], names: dict[str, str], where: str) -> None:
    code = step.get("raises")
    what = _named(step.get("do") or step["check"], names)
    try:
        if "do" in step:
            name = what.pop("type")
            answer = level.do(name if "." in name else snake(name), snaked(what))
        else:
            answer = level.check(what.pop("get"), snaked(what))
    except StiggError as error:
        if code == error.code:
            assert error.message
            return
        raise AssertionError(f"{where}: {what} raised {error}") from error
    assert code is None, f"{where}: {what} did not raise {code}"
    if "as" in step:
        names[step["as"]] = (answer.get("subscription") or answer)["id"]
    if "asUrl" in step:
        names[step["asUrl"]] = answer["checkoutUrl"]
    if "expect" in step:
        wrong = compared(_named(step["expect"], names), answer, step["at"])
        assert not wrong, f"{where}: {step.get('do') or step.get('check')}: {wrong} in {answer}"


def _named(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _named(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value[1:]] if isinstance(value, str) and value.startswith("$") else value


def compared(expected: Any, actual: Any, at: str) -> list[str]:
    """What of `expect` does not hold: of a mapping only its keys count, of a list the length and each item."""
    if isinstance(expected, list):
        if len(expected) != len(actual):
            return [f"{len(expected)} expected, {len(actual)} found"]
        pairs = enumerate(zip(expected, actual, strict=True))
        return [f"{place}: {item}" for place, (one, other) in pairs for item in differences(one, other, at)]
    return differences(expected, actual, at)


def by_start(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Subscriptions in the order in which vectors list them."""
    return sorted(found, key=lambda item: (item["startDate"], item["planId"]))


class ModelLevel:
    """The independent model."""

    def __init__(self, vector: Mapping[str, Any], clock: ManualClock) -> None:
        self.model = LifeModel(catalog_path(vector["catalog"]), clock, vector.get("payments"))

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if "catalog" in arguments:
            arguments["catalog"] = catalog_path(arguments["catalog"])
        return self.model.do(name, arguments)

    def check(self, get: str, arguments: dict[str, Any]) -> Any:
        answer = self.model.check(get, arguments)
        return by_start(answer) if get in ("subscriptions", "active_subscriptions") else answer

    def close(self) -> None:
        """Nothing is open."""


class RecordingPayments:
    """A provider that plays a script of outcomes, PAID after it, and keeps what it was asked to collect."""

    def __init__(self, script: list[str]) -> None:
        self._script = list(script)
        self.charges: list[dict[str, Any]] = []
        self.billing_infos: list[Any] = []

    def sync_customer(self, customer_id: str, billing_info: Any) -> None:
        self.billing_infos.append((customer_id, billing_info))

    def collect(self, invoice: Invoice, checkout_options: Any = None) -> PaymentOutcome:
        self.charges.append(
            {"amount": float(invoice.amount), "currency": invoice.currency, "reason": str(invoice.reason)}
        )
        outcome = self._script.pop(0) if self._script else "PAID"
        number = len(self.charges)
        return PaymentOutcome(
            outcome=outcome,
            billing_id=f"billing-{number}",
            checkout_url=f"https://pay.example/{number}" if outcome == "CHECKOUT" else None,
            payment_url=f"https://pay.example/{number}" if outcome in ("ACTION_REQUIRED", "FAILED") else None,
            error_message="no sufficient funds" if outcome == "FAILED" else None,
        )

    def resolve_promotion_code(self, code: str) -> Any:
        return None


class ClientLifeLevel:
    """The public client."""

    def __init__(
        self,
        catalog: Path | Mapping[str, Any],
        clock: ManualClock,
        script: list[str] | None = None,
        **arguments: Any,
    ) -> None:
        self.payments = None if script is None else RecordingPayments(script)
        if self.payments is not None:
            arguments["payment_provider"] = self.payments
        self.client = Stigg(catalog=catalog, clock=clock, **arguments)

    def do(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        client = self.client
        if name == "apply_catalog":
            catalog = arguments["catalog"]
            source = catalog_path(catalog) if isinstance(catalog, str) else catalog
            client.catalog.apply(source, migrate=arguments.get("migrate", "new"))
            return {}
        if name == "payments.settle":
            subject, outcome = arguments.pop("subject"), arguments.pop("outcome")
            client.payments.settle(subject, outcome, **arguments)
            return {}
        if name == "tick":
            client.tick()
            return {}
        found = getattr(client, name)(**arguments)
        if not hasattr(found, "to_dict"):
            return {}
        answer = dict(found.to_dict())
        if answer.get("subscription"):
            answer["subscription"] = flat_subscription(answer["subscription"])
        return flat_subscription(answer) if "planId" in answer else answer

    def check(self, get: str, arguments: dict[str, Any]) -> Any:
        client = self.client
        if get in GETTERS:
            name = "get_entitlement" if get == "entitlement" else f"get_{get}_entitlement"
            return dict(getattr(client, name)(**arguments).to_dict())
        if get == "payments":
            assert self.payments is not None
            return self.payments.charges
        if get == "customer":
            return flat_customer(client.get_customer(**arguments).to_dict())
        if get == "subscription":
            return flat_subscription(client.get_subscription(**arguments).to_dict())
        if get == "subscriptions":
            return by_start([flat_subscription(item.to_dict()) for item in client.get_subscriptions(**arguments)])
        if get == "active_subscriptions":
            found = client.get_active_subscriptions_list(**arguments)
            return by_start([{**item, "planId": item["plan"]["refId"]} for item in (sub.to_dict() for sub in found)])
        if get == "paywall":
            return [flat_plan(plan) for plan in client.get_paywall(**arguments).to_dict()["plans"]]
        assert get in ("coupons", "products"), get
        return [item.to_dict() for item in getattr(client, f"get_{get}")()]

    def close(self) -> None:
        self.client.close()


def flat_subscription(found: dict[str, Any]) -> dict[str, Any]:
    """A subscription with its subtotal as a number and its waiting updates counted."""
    total = found.get("totalPrice") or {}
    amount = (total.get("subTotal") or {}).get("amount")
    updates = found.get("scheduledUpdates") or []
    # One change that waits is a row for each kind of what it changes.
    statuses = [
        status for status, _ in {(item["scheduleStatus"], item.get("scheduledExecutionTime")) for item in updates}
    ]
    return {
        **found,
        "addonIds": sorted(found.get("addonIds") or []),
        "subTotal": float(amount) if isinstance(amount, int | float | Decimal) else amount,
        "scheduled": statuses.count("Scheduled"),
        "pendingPayment": statuses.count("PendingPayment"),
    }


def flat_customer(found: dict[str, Any]) -> dict[str, Any]:
    """A customer with the ids of the features that promotions give."""
    promotions = found.get("promotionalEntitlements") or []
    ids = [(item.get("feature") or {}).get("id") or item.get("featureId") for item in promotions]
    return {**found, "promotionalFeatures": sorted(ids)}


def flat_plan(found: dict[str, Any]) -> dict[str, Any]:
    """A plan of the paywall with ids instead of whole entitlements and add-ons."""

    def features(name: str) -> list[str]:
        return sorted(item["feature"]["id"] for item in found[name])

    return {
        **found,
        "own": features("entitlements"),
        "inherited": features("inheritedEntitlements"),
        "addons": [item["id"] for item in found["compatibleAddons"]],
        "hasTrial": found["defaultTrialConfig"] is not None,
        "prices": len(found["pricePoints"]),
    }
