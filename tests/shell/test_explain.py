"""`explain` of the client and the command: every way to yes applied, and one customer read by a person."""

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import stigg_local
from stigg_local import Stigg
from stigg_local.cli.main import main
from stigg_local.core.answer import Entitlement
from stigg_local.core.explanation import Explanation, Way
from stigg_local.explain_calls import explain
from stigg_local.testing import ManualClock
from tests.shell.test_model import GETTERS, REQUESTED, Pair
from tests.strategies import CURRENCY, CUSTOMERS, FEATURES, LIVES, SITES, Step


def asked(client: Stigg, kind: str | None, arguments: dict[str, Any]) -> tuple[Entitlement, Explanation]:
    """The getter's answer and the explanation of it."""
    arguments = dict(arguments)
    name = "get_entitlement" if kind is None else f"get_{kind.lower()}_entitlement"
    answer: Entitlement = getattr(client, name)(**arguments)
    if "currency_id" in arguments:
        arguments["feature_id"] = arguments.pop("currency_id")
    return answer, explain(client, kind, **arguments)


def wrong(answer: Entitlement, explanation: Explanation) -> list[str]:
    """What of an explanation does not fit the answer that it is of."""
    found = []
    if explanation.entitlement != answer or explanation.error is not None:
        found.append(f"explains {explanation.entitlement} ({explanation.error})")
    if answer.has_access and explanation.ways:
        found.append("ways to a yes that is there already")
    if any(not way.entitlement.has_access for way in explanation.ways):
        found.append("a way to no")
    winners = [source for source in explanation.sources if source.wins]
    if len(winners) > 1 or (winners and winners[0] is not explanation.winner):
        found.append("more than one winner")
    gives = winners[0].gives if winners else None
    limit = getattr(answer, "usage_limit", getattr(answer, "value", None))
    if gives is not None and gives.is_granted and limit != gives.limit and answer.type != "CREDIT":
        found.append(f"the winner gives {gives.limit} and the answer {limit}")
    if answer.has_access and not winners and answer.type != "CREDIT":
        found.append("access from nowhere")
    if explanation.credits is not None and answer.type == "CREDIT":
        left = sum(grant.remaining for grant in explanation.credits.grants if grant.state == "IN_FORCE")
        if round(left - answer.current_balance, 6):  # type: ignore[attr-defined]
            found.append(f"grants of {left} make a balance of {answer}")
    json.loads(explanation.to_json())
    assert str(explanation)
    return found


def becomes_yes(client: Stigg, explanation: Explanation, way: Way) -> bool:
    """Apply a way to a copy of the client's directory, and ask again; the answer must be the one foretold."""
    assert client._embedded is not None
    client._embedded.store.tick()
    with TemporaryDirectory(prefix="stigg-way-") as directory:
        copy = Path(directory) / "copy"
        shutil.copytree(client._embedded.data_dir, copy)
        clock = ManualClock(explanation.now or "")
        with Stigg(data_dir=copy, clock=clock) as other:
            other._fallbacks = client._fallbacks
            return applied(other, clock, explanation, way)


def applied(client: Stigg, clock: ManualClock, explanation: Explanation, way: Way) -> bool:
    """Do what a way says, and ask again."""
    question = explanation.question
    request = {"requested_usage": question.requested_usage, "requested_values": question.requested_values}
    if way.at is not None:
        clock.set(way.at)
    elif way.kind == "LESS":
        request = {
            "requested_usage": way.requested_usage or 0,
            "requested_values": way.requested_values or (),
        }
    else:
        getattr(client, str(way.call))(**way.arguments)
    # A fallback of the call itself is among the arguments of the call that the way names.
    request["fallback"] = way.arguments.get("fallback") if way.kind == "LESS" else None
    answer = explain(client, question.type, question.customer_id, question.feature_id, question.resource_id, **request)
    return answer.entitlement.has_access and _same(answer.entitlement, way.entitlement)


def _same(one: Entitlement, other: Entitlement) -> bool:
    """Equal up to the instant of the last change, which is now."""
    return {**one.to_dict(), "asOf": None} == {**other.to_dict(), "asOf": None}


def questions(client: Stigg, requested: float) -> Iterator[Explanation]:
    for customer_id in (*CUSTOMERS, "nobody"):
        for resource_id in (None, SITES[0]):
            for item in (*FEATURES, CURRENCY):
                request: dict[str, Any] = {}
                if GETTERS[item] in ("metered", "credit"):
                    request["requested_usage"] = requested
                if item == "regions":
                    request["requested_values"] = ("eu", "ap")
                arguments = {"customer_id": customer_id, "feature_id": item, "resource_id": resource_id}
                answer, explanation = asked(client, None, arguments | request)
                assert [] == wrong(answer, explanation)
                yield explanation


def live(life: list[Step], requested: float, every: int) -> None:
    """A life; at its end every question is explained, and every n-th way is applied to a copy."""
    with TemporaryDirectory(prefix="stigg-explain-") as directory:
        pair = Pair(Path(directory) / "data")
        try:
            pair.step({"type": "provisionCustomer", "customerId": CUSTOMERS[0]})
            for step in life:
                pair.step(step)
            count = 0
            for explanation in questions(pair.client, requested):
                for way in explanation.ways:
                    count += 1
                    if count % every == 0:
                        assert becomes_yes(pair.client, explanation, way), (explanation.question, way)
        finally:
            pair.client.close()


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(LIVES, REQUESTED)
def test_ways_lead_to_yes_after_a_life(life: list[Step], requested: float) -> None:
    """Whatever happened before: waiting, asking for less, add-ons, plans, credits and promotions do what they say."""
    live(life, requested, every=7)


@pytest.mark.stress
@settings(max_examples=120, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
@given(LIVES, REQUESTED, st.integers(1, 7))
@pytest.mark.timeout(1200)
def test_ways_lead_to_yes_after_many_lives(life: list[Step], requested: float, every: int) -> None:
    """The same at length."""
    live(life, requested, every)


# ------------------------------------------------------------------ one customer, read by a person


EXAMPLE = Path(stigg_local.__file__).parent / "cli/example/catalog.toml"


@pytest.fixture
def acme() -> Iterator[tuple[Stigg, ManualClock]]:
    clock = ManualClock("2025-01-31T10:00:00Z")
    with Stigg(catalog=EXAMPLE, clock=clock) as client:
        client.provision_customer("acme", subscription_params={"plan_id": "plan-revvenu-basic"})
        client.report_usage("acme", "feature-api-calls", 95)
        yield client, clock


def test_the_ways_are_the_nearest_ones(acme: tuple[Stigg, ManualClock]) -> None:
    """One unit more, one millisecond earlier or one unit of the limit less is still a no."""
    client, clock = acme
    explanation = client.explain("acme", "feature-api-calls", requested_usage=10)
    ways = {way.kind: way for way in explanation.ways}
    assert ["WAIT", "LESS", "PLAN", "PROMOTION"] == list(ways)
    assert (5, 105) == (ways["LESS"].requested_usage, ways["PROMOTION"].limit)
    assert not client.get_metered_entitlement("acme", "feature-api-calls", requested_usage=5.000001).has_access
    assert ways["WAIT"].at is not None
    clock.set(ways["WAIT"].at - timedelta(milliseconds=1))
    assert not client.get_metered_entitlement("acme", "feature-api-calls", requested_usage=10).has_access
    clock.advance(milliseconds=1)
    assert client.get_metered_entitlement("acme", "feature-api-calls", requested_usage=10).has_access


def test_an_addon_comes_with_all_that_it_needs_in_turn() -> None:
    calls = {"id": "calls", "featureType": "Numeric", "meterType": "Incremental"}
    price = {"billingModel": "FLAT_FEE", "billingPeriod": "MONTHLY", "amount": "9", "currency": "USD"}
    chain = [
        {"id": f"addon-{number}", "productId": "app", "dependencies": [f"addon-{number + 1}"] if number < 3 else []}
        for number in range(1, 4)
    ]
    catalog = {
        "schema": 1,
        "features": [calls, {"id": "flag", "featureType": "Boolean"}],
        "products": [{"id": "app"}],
        "plans": [
            {
                "id": "plan",
                "productId": "app",
                "pricingType": "PAID",
                "prices": [price],
                "compatibleAddonIds": [addon["id"] for addon in chain],
                "entitlements": [{"featureId": "calls", "usageLimit": 5}],
            }
        ],
        "addons": [
            chain[0] | {"entitlements": [{"featureId": "calls", "usageLimit": 10}]},
            *(addon | {"entitlements": [{"featureId": "flag"}]} for addon in chain[1:]),
        ],
    }
    with Stigg(catalog=catalog) as client:
        client.provision_customer("acme", subscription_params={"plan_id": "plan", "billing_period": "MONTHLY"})
        found = client.explain("acme", "calls", requested_usage=6)
        (way,) = (way for way in found.ways if way.kind == "ADDON")
        assert {"addon-1", "addon-2", "addon-3"} == {item["addon_id"] for item in way.arguments["addons"]}
        client.provision_subscription(**way.arguments)
        assert client.get_metered_entitlement("acme", "calls", requested_usage=6).has_access


@pytest.mark.parametrize("requested", [10**20, 10**40, 1e300])
def test_a_request_beyond_every_limit_is_explained(acme: tuple[Stigg, ManualClock], requested: float) -> None:
    client, _ = acme
    answer = client.get_metered_entitlement("acme", "feature-api-calls", requested_usage=requested)
    assert not answer.has_access
    assert answer == client.explain("acme", "feature-api-calls", requested_usage=requested).entitlement


def test_nothing_is_changed_by_explaining(acme: tuple[Stigg, ManualClock]) -> None:
    """Ways are tried on a copy: the file's version stays, and so does every answer."""
    client, _ = acme
    before = client.status().version, [item.to_dict() for item in client.get_entitlements("acme")]
    client.explain("acme", "feature-api-calls", requested_usage=10)
    client.explain("acme", "currency-ai-credits", requested_usage=10)
    client.explain("nobody", "feature-api-calls")
    assert before == (client.status().version, [item.to_dict() for item in client.get_entitlements("acme")])
    assert client.get_entitlement("nobody", "feature-api-calls").access_denied_reason == "CustomerNotFound"


def test_the_answer_is_the_object_that_the_getter_returns(acme: tuple[Stigg, ManualClock]) -> None:
    client, _ = acme
    asked = client.get_entitlement("acme", "feature-api-calls", requested_usage=10)
    assert client.explain("acme", "feature-api-calls", requested_usage=10).entitlement is asked
    assert client.explain("acme", "feature-sso").entitlement is client.get_entitlement("acme", "feature-sso")


def test_credits_are_listed_in_burn_order(acme: tuple[Stigg, ManualClock]) -> None:
    """What is spent first stands first; what cannot be spent yet stands last and is marked."""
    client, _ = acme
    for amount, fields in (
        (3, {"priority": 1}),
        (2, {"expire_at": "2025-03-01T00:00:00Z"}),
        (9, {"effective_at": "2025-02-02T00:00:00Z"}),
    ):
        client.grant_credits("acme", "currency-ai-credits", amount, **fields)
    explanation = client.explain("acme", "currency-ai-credits", requested_usage=8)
    assert explanation.credits is not None
    assert [(2, "IN_FORCE"), (3, "IN_FORCE"), (9, "FUTURE")] == [
        (grant.amount, grant.state) for grant in explanation.credits.grants
    ]
    ways = {way.kind: way for way in explanation.ways}
    assert (5, 3) == (ways["LESS"].requested_usage, ways["CREDITS"].amount)
    assert ways["WAIT"].to_dict()["at"] == "2025-02-02T00:00:00.000Z"


def test_offline_the_fallbacks_are_the_sources(tmp_path: Path) -> None:
    """The call's goes before the file's, and that before the dictionary's."""
    file = tmp_path / "fallback.toml"
    file.write_text("schema = 1\n[features.calls]\nhasAccess = true\nusageLimit = 2\n")
    with Stigg(
        offline=True, fallback_file=file, entitlements_fallback={"calls": {"hasAccess": True, "usageLimit": 1}}
    ) as client:
        found = client.explain("anybody", "calls", requested_usage=2)
        assert (True, [("file", True), ("dictionary", False)]) == (
            found.entitlement.has_access,
            [(source.origin, source.wins) for source in found.sources],
        )
        assert "file" in str(found)
        given = client.explain("anybody", "calls", fallback={"hasAccess": False})
        assert (False, "call", ()) == (given.entitlement.has_access, given.sources[0].origin, given.ways)
        assert () == client.explain("anybody", "unknown").sources


def test_a_fallback_that_grants_less_says_how_much() -> None:
    fallbacks = {
        "calls": {"hasAccess": True, "usageLimit": 10},
        "regions": {"hasAccess": True, "enumValues": ["eu", "us"]},
        "none": {"hasAccess": True, "usageLimit": 0},
        "denied": {"hasAccess": False, "usageLimit": 10},
    }
    credits = {"credits": {"hasAccess": True, "currentBalance": 2.5}}
    with Stigg(offline=True, entitlements_fallback=fallbacks, credit_entitlements_fallback=credits) as client:
        for feature, asked, less in (
            ("calls", {"requested_usage": 11}, {"requested_usage": 10}),
            ("credits", {"requested_usage": 3}, {"requested_usage": 2.5}),
            ("regions", {"requested_values": ["ap", "eu"]}, {"requested_values": ["eu"]}),
        ):
            explanation = client.explain("anybody", feature, **asked)
            (way,) = explanation.ways
            assert ("LESS", None) == (way.kind, explanation.hint)
            assert {"customer_id": "anybody", "feature_id": feature, **less} == way.arguments
            assert client.get_entitlement(**way.arguments).has_access
            assert not client.get_entitlement("anybody", feature, **asked).has_access
            json.loads(explanation.to_json())
        for feature in ("none", "denied", "unknown"):
            assert () == client.explain("anybody", feature, requested_usage=11).ways
        own = {"has_access": True, "usage_limit": 4}
        (way,) = client.explain("anybody", "calls", requested_usage=6, fallback=own).ways
        assert (4, 2) == (way.requested_usage, way.units_less)
        assert client.get_entitlement(**way.arguments).has_access
        json.loads(way.to_json())


def test_the_command_draws_a_tree_and_exits_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STIGG_LOCAL_CLOCK", "2025-01-31T10:00:00Z")
    with Stigg(catalog=EXAMPLE, data_dir=tmp_path / "d", clock=ManualClock("2025-01-31T10:00:00Z")) as client:
        client.provision_customer("acme", subscription_params={"plan_id": "plan-revvenu-basic"})
    where = ["--data-dir", str(tmp_path / "d")]
    assert 0 == main(["explain", "acme", "feature-api-calls", "--requested", "101", *where])
    shown = capsys.readouterr().out
    assert "├─ wait until" not in shown
    assert "ask for 100 or less" in shown
    assert 0 == main(["explain", "acme", "feature-api-calls", "--type", "metered", "--json", *where])
    assert [] == json.loads(capsys.readouterr().out)["ways"]
    assert 2 == main(["explain", "acme", "feature-api-calls", "--value", "a", "--type", "metered", *where])
    capsys.readouterr()
    assert 0 == main(["explain", "acme", "feature-regions", "--value", "eu", "--value", "mars", "--json", *where])
    assert ["eu", "mars"] == json.loads(capsys.readouterr().out)["question"]["requestedValues"]


def test_a_promotion_that_helps_counts_in_the_window_that_the_plan_counts_in() -> None:
    """Of a calendar month, so that what was used in the last one has not to be given once more."""
    entitlement = {
        "featureId": "calls",
        "usageLimit": 100,
        "resetPeriod": "MONTH",
        "resetPeriodConfiguration": "StartOfTheMonth",
    }
    catalog = {
        "schema": 1,
        "features": [{"id": "calls", "featureType": "Numeric", "meterType": "Incremental"}],
        "products": [{"id": "product"}],
        "plans": [{"id": "plan", "productId": "product", "pricingType": "FREE", "entitlements": [entitlement]}],
    }
    clock = ManualClock("2025-01-31T10:00:00Z")
    with Stigg(catalog=catalog, clock=clock) as client:
        client.provision_customer("c", subscription_params={"plan_id": "plan"})
        client.report_usage("c", "calls", 60)
        clock.set("2025-02-10T00:00:00Z")
        client.report_usage("c", "calls", 100)
        ways = client.explain("c", "calls", requested_usage=1).ways
        (way,) = [way for way in ways if way.kind == "PROMOTION"]
        (given_,) = (way.arguments or {})["entitlements"]
        assert (101, "MONTH", "StartOfTheMonth") == (
            way.limit,
            given_["reset_period"],
            given_["reset_period_configuration"],
        )
