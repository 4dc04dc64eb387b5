"""The log of events: one event for each change of state, written with it, told once, in order, across processes."""

import threading
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from stigg_local import InvalidInput, NotAllowed, Stigg
from stigg_local.testing import ManualClock
from tests.shell.clients import start
from tests.shell.shop import SHOP, Shop

CREATED = "customer.created"


def told(shop: Shop, customer_id: str = "customer-1") -> list[tuple[str, str, str]]:
    """(type, instant, actor) of a customer's events."""
    return [
        (event.type, event.to_dict()["timestamp"], event.actor)
        for event in shop.client.get_events(customer_id=customer_id, limit=1000)
    ]


def test_each_command_tells_its_change_once() -> None:
    """What a call added to the log, call by call."""
    with Shop(provider=None) as shop:
        client, seen = shop.client, 0

        def added() -> list[str]:
            nonlocal seen
            types = shop.types()
            new, seen = types[seen:], len(types)
            return new

        client.provision_customer("customer-1", name="Ann", subscription_params=None)
        assert [CREATED] == added()
        client.provision_customer("customer-1", name="Ann", subscription_params=None)
        assert [] == added()
        client.update_customer("customer-1", email="ann@example.com")
        assert ["customer.updated"] == added()
        first = shop.buy("plan-free", billing_period=None)
        assert ["subscription.created"] == added()
        trial = shop.buy("plan-trial")
        assert ["subscription.created", "trial.started"] == sorted(added())
        bought = shop.buy("plan-trial")
        assert [
            "subscription.canceled",
            "subscription.canceled",
            "subscription.created",
            "trial.converted",
        ] == sorted(added())
        ended = {first.id, trial.id}
        assert ended == {
            event.subscription_id
            for event in client.get_events(customer_id="customer-1")
            if event.type == "subscription.canceled"
        }
        client.update_subscription(bought.id, metadata={"a": "b"})
        assert ["subscription.updated"] == added()
        site = client.provision_subscription("customer-1", "plan-site", resource_id="site-1").subscription
        assert site is not None
        assert ["subscription.created"] == added()
        client.transfer_subscription(site.id, "site-2")
        assert ["subscription.updated"] == added()
        client.cancel_subscription(site.id, cancellation_time="IMMEDIATE")
        assert ["subscription.canceled"] == added()
        client.grant_promotional_entitlements("customer-1", [{"feature_id": "feature-sso"}])
        assert ["promotional_entitlement.granted"] == added()
        client.grant_promotional_entitlements("customer-1", [{"feature_id": "feature-sso"}])
        assert ["promotional_entitlement.updated"] == added()
        client.revoke_promotional_entitlements("customer-1", "feature-sso")
        assert ["promotional_entitlement.revoked"] == added()
        client.archive_customer("customer-1")
        assert ["subscription.canceled", "customer.deleted"] == added()


def test_scheduled_changes_are_told_when_asked_for_and_when_they_happen() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        made = shop.buy("plan-later")
        shop.buy("plan-late")
        shop.client.cancel_subscription_scheduled_updates(made.id)
        shop.buy("plan-late")
        shop.clock.set("2025-02-28T10:00:00Z")
        shop.client.tick()
        found = told(shop)
        assert [
            (CREATED, "application"),
            ("subscription.created", "application"),
            ("subscription.updated", "application"),
            ("subscription.updated", "application"),
            ("subscription.updated", "application"),
            ("subscription.updated", "system"),
        ] == [(kind, actor) for kind, _, actor in found]
        assert "2025-02-28T10:00:00.000Z" == found[-1][1]


def test_a_command_that_fails_tells_nothing() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        with pytest.raises(NotAllowed):
            shop.client.provision_subscription("customer-1", "plan-free", addons=[{"addon_id": "addon-calls"}])
        assert [CREATED] == shop.types()


def test_a_repeat_tells_nothing() -> None:
    heard: list[Any] = []
    with Shop(provider=None) as shop:
        shop.client.add_listener(CREATED, heard.append)
        for _ in range(2):
            shop.client.provision_customer("customer-1", subscription_params=None, idempotency_key="key-1")
        assert [CREATED] == shop.types()
        assert 1 == len(heard)


def test_time_is_told_with_its_own_instants_after_a_long_sleep() -> None:
    """A trial's end, promotions' ends, a planned end and the free plan after it, all at once and each in its place."""
    with Shop(provider=None) as shop:
        shop.customer()
        shop.client.grant_promotional_entitlements(
            "customer-1",
            [
                {"feature_id": "feature-sso", "period": "ONE_WEEK"},
                {"feature_id": "feature-audit", "period": "ONE_MONTH"},
            ],
        )
        shop.buy("plan-trial")
        late = shop.buy("plan-late")
        shop.client.cancel_subscription(late.id)
        before = len(told(shop))
        shop.clock.set("2025-06-01T00:00:00Z")
        shop.client.tick()
        shop.client.tick()
        assert [
            ("promotional_entitlement.expired", "2025-02-07T10:00:00.000Z", "system"),
            ("trial.converted", "2025-02-14T10:00:00.000Z", "system"),
            ("promotional_entitlement.expired", "2025-02-28T10:00:00.000Z", "system"),
            ("subscription.canceled", "2025-02-28T10:00:00.000Z", "system"),
            ("subscription.created", "2025-02-28T10:00:00.000Z", "system"),
        ] == sorted(told(shop)[before:], key=lambda item: (item[1], item[0]))
        assert [item[1] for item in told(shop)] == sorted(item[1] for item in told(shop))
        assert 1 == shop.limit(feature_id="feature-seats")


def test_a_command_after_a_long_sleep_tells_what_time_did_first() -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        made = shop.buy("plan-trial")
        shop.clock.set("2025-03-01T00:00:00Z")
        shop.client.update_subscription(made.id, metadata={"a": "b"})
        assert ["trial.converted", "subscription.updated"] == shop.types()[-2:]
        shop.client.tick()
        assert ["trial.converted", "subscription.updated"] == shop.types()[-2:]


@pytest.mark.parametrize("params", [None, {"plan_id": "plan-site", "resource_id": "site-1"}])
def test_a_patch_after_a_long_sleep_is_told_after_what_time_did(params: Any) -> None:
    with Shop(provider=None) as shop:
        shop.customer()
        shop.buy("plan-trial")
        shop.clock.set("2025-03-01T00:00:00Z")
        shop.client.provision_customer("customer-1", name="Ann", subscription_params=params)
        new = ["trial.converted", "customer.updated", *(["subscription.created"] if params else [])]
        assert new == shop.types()[-len(new) :]


def test_listeners_by_type_get_what_the_log_holds() -> None:
    heard: list[Any] = []
    changed: list[str] = []
    with Shop(provider=None) as shop:
        for kind in (CREATED, "subscription.created", "trial.converted"):
            shop.client.add_listener(kind, heard.append)
        shop.client.add_listener("entitlementsUpdated", lambda data: changed.append(data.customer_id))
        shop.customer()
        made = shop.buy("plan-trial")
        changed.clear()
        shop.clock.set("2025-02-14T10:00:00Z")
        shop.client.tick()
        assert ["customer-1"] == changed
        assert [CREATED, "subscription.created", "trial.converted"] == [event.type for event in heard]
        assert ["application", "application", "system"] == [event.actor for event in heard]
        assert made.id == heard[2].subscription_id
        assert {"planId": "plan-trial"}.items() <= heard[1].data.items()
        logged = [event.to_dict() for event in shop.client.get_events(types=[CREATED, "subscription.created"])]
        assert [{key: value for key, value in event.items() if key != "id"} for event in logged] == [
            event.to_dict() for event in heard[:2]
        ]


def test_a_listener_that_raises_stops_nothing() -> None:
    heard: list[str] = []
    with Shop(provider=None) as shop:
        shop.client.add_listener(CREATED, lambda _: 1 / 0)
        shop.client.add_listener(CREATED, lambda event: heard.append(event.customer_id))
        shop.customer()
        assert ["customer-1"] == heard
        with pytest.raises(InvalidInput, match="no event") as caught:
            shop.client.add_listener("customer.craeted", heard.append)
        assert "did you mean `customer.created`" == caught.value.hint


def test_pages_go_on_from_where_they_ended() -> None:
    with Shop(provider=None) as shop:
        found, cursor, pages = [], shop.client.get_events(limit=1000).next, 0
        for number in range(25):
            shop.customer(f"customer-{number}")
        while page := list(got := shop.client.get_events(cursor=cursor, limit=10)):
            found += page
            cursor, pages = got.next, pages + 1
        assert ([f"customer-{number}" for number in range(25)], 3) == ([event.customer_id for event in found], pages)
        assert 25 == len({event.id for event in found})
        only = shop.client.get_events(customer_id="customer-7", types=[CREATED])
        assert ["customer-7"] == [event.customer_id for event in only]
        for wrong in ("x", "1", "1.x", "-1.0"):
            with pytest.raises(InvalidInput):
                shop.client.get_events(cursor=wrong)


def test_publishing_tells_what_of_the_catalog_changed() -> None:
    with Shop(provider=None) as shop:
        told = Counter(event.type for event in shop.client.get_events(limit=1000))
        shown = shop.client.catalog.show()
        assert {f"{kind}.created": len(shown[f"{kind}s"]) for kind in ("feature", "product", "plan")} == {
            kind: number for kind, number in told.items() if kind.partition(".")[0] in ("feature", "product", "plan")
        }
        cursor = shop.client.get_events(limit=1000).next
        assert () == shop.client.catalog.apply(SHOP).changes
        assert [] == list(shop.client.get_events(cursor=cursor))

        other = deepcopy(SHOP)
        other["plans"][0]["displayName"] = "Another name"
        other["features"].append({"id": "feature-new", "featureType": "Boolean"})
        heard: list[str] = []
        shop.client.add_listener("plan.updated", lambda event: heard.append(event.data["id"]))
        shop.client.catalog.apply(other)
        (new, plan) = shop.client.get_events(cursor=cursor)
        assert ("feature.created", "feature-new", None) == (new.type, new.feature_id, new.customer_id)
        assert ("plan.updated", {"id": other["plans"][0]["id"], "version": "2"}) == (plan.type, plan.data)
        assert {"customerId": None, "actor": "application"}.items() <= plan.to_dict().items()
        assert [plan.data["id"]] == heard

        shop.client.catalog.apply(SHOP)
        types = [event.type for event in shop.client.get_events(cursor=plan.id)]
        assert ["plan.updated", "feature.deleted"] == types


def test_waiting_goes_on_past_what_is_not_asked_for(tmp_path: Path) -> None:
    """Events of other customers neither end the wait nor make it spin."""
    with Shop(data_dir=tmp_path, provider=None) as shop:
        shop.customer("other")
        got: list[Any] = []
        waiting = threading.Thread(
            target=lambda: got.append(shop.client.get_events(customer_id="customer-1", wait_seconds=20))
        )
        waiting.start()
        for number in range(3):
            shop.customer(f"other-{number}")
        shop.customer("customer-1")
        waiting.join(20)
        assert [[CREATED]] == [[event.type for event in page] for page in got]
        empty = shop.client.get_events(customer_id="customer-2", wait_seconds=0.05)
        assert [] == list(empty)
        assert empty.next == list(shop.client.get_events(limit=1000))[-1].id


def test_events_of_another_process_end_the_wait(tmp_path: Path) -> None:
    with Stigg(catalog=SHOP, data_dir=tmp_path) as client:
        writer = start(
            "client = Stigg(data_dir=args[0])\nprint('ready', flush=True)\nsys.stdin.readline()\n"
            "client.provision_customer('customer-1', subscription_params=None)\nclient.close()\n",
            tmp_path,
        )
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert "ready\n" == writer.stdout.readline()
        got: list[Any] = []
        cursor = client.get_events(limit=1000).next
        waiting = threading.Thread(target=lambda: got.append(client.get_events(cursor=cursor, wait_seconds=30)))
        waiting.start()
        writer.communicate("go\n", timeout=60)
        waiting.join(30)
        assert [["customer-1"]] == [[event.customer_id for event in page] for page in got]


@pytest.mark.stress
def test_two_processes_that_tick_tell_each_boundary_once(tmp_path: Path) -> None:
    with Shop(data_dir=tmp_path, provider=None) as shop:
        for number in range(150):
            shop.customer(f"customer-{number}")
            shop.buy("plan-trial", customer_id=f"customer-{number}")
            shop.client.grant_promotional_entitlements(
                f"customer-{number}", [{"feature_id": "feature-sso", "period": "ONE_MONTH"}]
            )
    code = (
        "client = Stigg(data_dir=args[0], clock=ManualClock('2025-04-01T00:00:00Z'))\nclient.confirm_clock()\n"
        "print('ready', flush=True)\nsys.stdin.readline()\nfor _ in range(5): client.tick()\nclient.close()\n"
    )
    workers = [start(code, tmp_path) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert "ready\n" == worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=120)
        assert 0 == worker.returncode
    with Shop(data_dir=tmp_path, provider=None, clock=ManualClock("2025-04-01T00:00:00Z")) as shop:
        counted: Counter[str] = Counter()
        cursor = None
        while page := list(got := shop.client.get_events(cursor=cursor, limit=1000)):
            counted.update(event.type for event in page if event.actor == "system")
            cursor = got.next
        assert {"trial.converted": 150, "promotional_entitlement.expired": 150} == dict(counted)
