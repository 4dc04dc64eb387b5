"""A subject and the model, given the same commands and asked the same questions."""

from copy import deepcopy
from itertools import pairwise, zip_longest
from typing import Any

from stigg_local import StiggError
from stigg_local.testing import ManualClock
from tests.lifecycle.model import LifeModel
from tests.lifecycle.worlds import FEATURES
from tests.vectors.life import LifeLevel

CUSTOMERS = ("ann", "bob")
# Keys are kept for 90 days at least; a command that is older may be a new one.
KEYS_LIVE_SECONDS = 89 * 86_400
SITES = ("site-1", "site-2")
SHOWN = (
    "planId",
    "status",
    "pricingType",
    "startDate",
    "effectiveEndDate",
    "cancelReason",
    "trialEndDate",
    "cancellationDate",
    "billingPeriod",
    "currentBillingPeriodStart",
    "currentBillingPeriodEnd",
    "addonIds",
    "subTotal",
    "scheduled",
    "pendingPayment",
    "metadata",
)
ANSWERED = ("hasAccess", "accessDeniedReason", "usageLimit", "currentUsage", "usagePeriodStart", "usagePeriodEnd")


def _key(sub: dict[str, Any]) -> tuple[str, ...]:
    return sub["startDate"], sub["planId"], str(sub.get("metadata")), str(sub.get("effectiveEndDate"))


def _shown(sub: dict[str, Any]) -> dict[str, Any]:
    shown = {key: sub.get(key) for key in SHOWN}
    if sub["pricingType"] == "CUSTOM":
        # A contract may name a billing period, and no period runs.
        shown["billingPeriod"] = None
    return shown


class Pair:
    """Both sides of every comparison; `problems` that are found raise at once."""

    def __init__(self, catalog: dict[str, Any], clock: ManualClock, subject: LifeLevel) -> None:
        self.clock = clock
        self.subject = subject
        self.model = LifeModel(catalog, clock)
        self.done: list[tuple[float, str, dict[str, Any], dict[str, Any]]] = []
        self.count = 0

    # ------------------------------------------------------------------ commands

    def command(self, name: str, /, **arguments: Any) -> str | None:
        """Do it at both: the same refusal or none; a refusal changes nothing. Returns the code."""
        self.count += 1
        arguments["idempotency_key"] = f"key-{self.count}"
        sub_id = arguments.get("subscription_id")
        other = deepcopy(arguments)
        if sub_id is not None:
            other["subscription_id"] = self.model_id(sub_id)
        expected = self._code(lambda: self.model.do(name, other))
        before = self.dump(self.subject)
        result: dict[str, Any] = {}

        def act() -> None:
            result.update(self.subject.do(name, deepcopy(arguments)))

        found = self._code(act)
        assert expected == found, f"{name} {arguments}: the model says {expected}, the subject {found}"
        if found is None:
            self.done.append((self.clock.time(), name, arguments, result))
        else:
            after = self.dump(self.subject)
            assert before == after, f"{name} {arguments} failed with {found} and left a trace"
        return found

    def again(self, place: int) -> None:
        """The same command with its key: the same result, and nothing changes."""
        known = [item[1:] for item in self.done if self.clock.time() - item[0] < KEYS_LIVE_SECONDS]
        if not known:
            return
        name, arguments, result = known[place % len(known)]
        customer = arguments.get("customer_id")
        if customer is not None and self.model.state.people[customer].is_archived:
            return
        before = self.dump(self.subject)
        repeated = self.subject.do(name, deepcopy(arguments))
        assert result.get("id") == repeated.get("id"), f"{name} {arguments} with its key again"
        assert before == self.dump(self.subject), f"{name} {arguments} changed something the second time"

    def tick(self) -> None:
        """Nothing may change but the time at which it is written."""
        before = self.dump(self.subject)
        self.subject.do("tick", {})
        assert before == self.dump(self.subject), "a tick changed an answer"

    def publish(self, catalog: dict[str, Any], migrate: str) -> None:
        """Another edition at both."""
        for side in (self.model, self.subject):
            side.do("apply_catalog", {"catalog": catalog, "migrate": migrate})

    @staticmethod
    def _code(call: Any) -> str | None:
        try:
            call()
        except StiggError as error:
            return error.code
        return None

    # ------------------------------------------------------------------ who is who

    def living(self) -> list[str]:
        """Customers that exist and are not archived."""
        people = self.model.state.people
        return [name for name in CUSTOMERS if name in people and not people[name].is_archived]

    def subs(self, customer: str) -> list[str]:
        """The subject's subscription ids of a customer."""
        found = self.subject.check("subscriptions", {"customer_id": customer})
        return [sub["id"] for sub in sorted(found, key=_key)]

    def model_id(self, sub_id: str) -> str:
        """The model's id of a subject's subscription: the one in the same place of the same order."""
        for customer in self.living():
            ids = self.subs(customer)
            if sub_id in ids:
                others = sorted(self.model.check("subscriptions", {"customer_id": customer}), key=_key)
                return str(others[ids.index(sub_id)]["id"])
        return sub_id

    # ------------------------------------------------------------------ comparison

    def dump(self, side: Any) -> dict[str, Any]:
        """Everything that a side says of every customer, in comparable form."""
        found: dict[str, Any] = {}
        for customer in CUSTOMERS:
            try:
                person = side.check("customer", {"customer_id": customer})
            except StiggError as error:
                found[customer] = error.code
            else:
                found[customer] = {key: person.get(key) for key in ("name", "metadata", "promotionalFeatures")}
                subs = sorted(side.check("subscriptions", {"customer_id": customer}), key=_key)
                found[customer]["subscriptions"] = [_shown(sub) for sub in subs]
            for resource in (None, *SITES):
                for feature in FEATURES:
                    get = "boolean" if feature == "sso" else "metered"
                    arguments: dict[str, Any] = {"customer_id": customer, "feature_id": feature}
                    if resource is not None:
                        arguments["resource_id"] = resource
                    if get == "metered":
                        arguments["requested_usage"] = 1
                    answer = side.check(get, arguments)
                    is_counted = answer["hasAccess"] or answer["accessDeniedReason"] == "RequestedUsageExceedsLimit"
                    keys = ANSWERED if is_counted else ANSWERED[:2]
                    found[f"{customer}/{resource}/{feature}"] = {key: answer.get(key) for key in keys}
        return found

    def agree(self) -> None:
        """Both say the same of everything, and the subject keeps the laws."""
        expected, found = self.dump(self.model), self.dump(self.subject)
        for key, value in expected.items():
            assert value == found[key], f"{key}:\n{_difference(value, found[key])}"
        for customer in self.living():
            check_laws(self.subject.check("subscriptions", {"customer_id": customer}), self.model, customer)


def _difference(expected: Any, found: Any) -> str:
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return f"model   {expected}\nsubject {found}"
    wrong = {key: (value, found.get(key)) for key, value in expected.items() if value != found.get(key)}
    pairs: Any = wrong.pop("subscriptions", None)
    text = "".join(f"{key}: model {one}, subject {other}\n" for key, (one, other) in wrong.items())
    if pairs is not None:
        empty: dict[str, Any] = {}
        for one, other in zip_longest(pairs[0], pairs[1], fillvalue=empty):
            if one != other:
                text += f"model   {one}\nsubject {other}\n"
                text += f"keys    {[key for key in SHOWN if one.get(key) != other.get(key)]}\n"
    return text


def check_laws(subs: list[dict[str, Any]], model: LifeModel, customer: str) -> None:
    """One non-trial and one trial at most; no overlap of non-trial periods, no gap where one replaced another."""
    places: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for sub in subs:
        product = model.state.shelf.plans[sub["planId"]]["productId"]
        places.setdefault((product, (sub.get("resource") or {}).get("id")), []).append(sub)
    for place, found in places.items():
        statuses = [sub["status"] for sub in found]
        assert statuses.count("ACTIVE") <= 1, (customer, place, found)
        assert statuses.count("IN_TRIAL") <= 1, (customer, place, found)
        periods = sorted(period for sub in found if (period := _paid_period(sub)) is not None)
        for (_, end), (start, _) in pairwise(periods):
            assert end <= start, (customer, place, periods)
        # A period of no length counts too: it may have ended at its first millisecond.
        starts = {sub.get("trialEndDate") or sub["startDate"] for sub in found}
        for sub in found:
            if sub.get("cancelReason") == "UpgradeOrDowngrade" and _paid_period(sub) is not None:
                assert sub["effectiveEndDate"] in starts, (customer, place, sub, "ends before another starts")


def _paid_period(sub: dict[str, Any]) -> tuple[str, str] | None:
    """When it is in force outside a trial; None where it never was."""
    start = sub.get("trialEndDate") or sub["startDate"]
    end = sub.get("effectiveEndDate") or "9999"
    if sub["status"] in ("NOT_STARTED", "IN_TRIAL") or end <= start:
        return None
    return start, end
