"""Archiving and erasing: nothing of the person is left anywhere, the id is burnt, and the usage stays right."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import NotAllowed, NotFound, PaymentOutcome
from stigg_local.core.words import AccessDeniedReason
from stigg_local.doctor import examine
from stigg_local.errors import StoreBusy
from stigg_local.store import store
from stigg_local.store.chores import Chores
from tests.shell.shop import SHOP, Shop

CANARY = "canary-5d0c"
OTHER = "other-5d0c"


def fill(shop: Shop, customer_id: str, word: str) -> str:
    """A customer whose every text is the word, with usage, payment and stored replies; returns a subscription."""
    client = shop.client
    client.provision_customer(
        customer_id,
        name=f"{word} name",
        email=f"{word}@example.com",
        metadata={"note": word},
        subscription_params={"plan_id": "plan-free", "metadata": {"note": word}},
        idempotency_key=f"{customer_id}-1",
    )
    client.update_customer(customer_id, name=f"{word} again", idempotency_key=f"{customer_id}-2")
    site = client.provision_subscription(
        customer_id, "plan-site", resource_id="site-1", metadata={"note": word}, idempotency_key=f"{customer_id}-3"
    ).subscription
    assert site is not None
    client.update_subscription(site.id, metadata={"more": word}, idempotency_key=f"{customer_id}-4")
    client.report_usage(customer_id, "feature-calls", 3, dimensions={"who": word}, idempotency_key=f"{customer_id}-5")
    client.report_usage(customer_id, "feature-calls", 2, dimensions={"who": f"{word}-2"})
    client.consume(customer_id, "feature-calls", dimensions={"who": word})
    for number in range(3):
        client.report_event(
            {
                "customer_id": customer_id,
                "event_name": "login",
                "idempotency_key": f"{word}-{number}",
                "dimensions": {"who": f"{word}-{number % 2}"},
            }
        )
    client.provision_subscription(
        customer_id, "plan-pro", billing_period="MONTHLY", metadata={"note": word}, idempotency_key=f"{customer_id}-6"
    )
    return site.id


def holding(place: Path, word: str) -> list[str]:
    """The files that hold a word's bytes."""
    return [path.name for path in sorted(place.rglob("*")) if path.is_file() and word.encode() in path.read_bytes()]


def owners_of_event_keys(place: Path) -> set[str]:
    connection = apsw.Connection(str(place / "authority.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found = {str(row[0]) for row in connection.execute("SELECT customer_id FROM usage_event_key")}
    connection.close()
    return found


@pytest.mark.parametrize("outcome", ["PAID", "CHECKOUT", "ACTION_REQUIRED"])
def test_nothing_of_the_person_is_left(tmp_path: Path, outcome: str) -> None:
    """Record, stored replies, events, usage, pages: not one byte of it in any file."""
    with Shop(outcome, outcome, data_dir=tmp_path) as shop:
        fill(shop, "customer-1", CANARY)
        fill(shop, "customer-2", OTHER)
        exported = json.dumps(shop.client.export_customer("customer-1"))
        assert exported.count(CANARY) >= 8
        assert holding(tmp_path, CANARY)
        assert shop.client.erase_customer("customer-1")
        assert [] == holding(tmp_path, CANARY)
        # What stands for a key can be compared with a guess, so it goes, too.
        assert {"customer-2"} == owners_of_event_keys(tmp_path)
        kept = json.dumps(shop.client.export_customer("customer-2"))
        assert kept.count(OTHER) == exported.count(CANARY)
        assert OTHER in str(shop.client.get_customer("customer-2").name)
        assert CANARY not in repr(list(shop.client.get_events(limit=1000)))
    assert [] == holding(tmp_path, CANARY)
    assert [] == [item for item in examine(tmp_path).findings if item.severity == "error"]


def test_archiving_in_a_small_file_leaves_no_byte_of_the_person(tmp_path: Path) -> None:
    """When the call returns, and again after a second one so soon that the leader's turn has not come."""
    with Shop(data_dir=tmp_path) as shop:
        for number in (1, 2):
            fill(shop, f"customer-{number}", CANARY)
            assert holding(tmp_path, CANARY)
            shop.client.archive_customer(f"customer-{number}")
            assert [] == holding(tmp_path, CANARY)


def test_archiving_succeeds_where_the_files_cannot_be_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Shop(data_dir=tmp_path) as shop:
        fill(shop, "customer-1", CANARY)

        def fail(*_: object, **__: object) -> None:
            raise StoreBusy("another writer is at work", hint="repeat")

        with monkeypatch.context() as patch:
            patch.setattr(Chores, "scrub", fail)
            assert "customer-1" == shop.client.archive_customer("customer-1")
        assert holding(tmp_path, CANARY)
        shop.client.tick()
        assert [] == holding(tmp_path, CANARY)


def test_the_maintenance_tick_scrubs_what_was_archived_in_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SCRUB_AT_ONCE_BYTES", 0)
    with Shop(data_dir=tmp_path) as shop:
        fill(shop, "customer-1", CANARY)
        shop.client.archive_customer("customer-1")
        assert holding(tmp_path, CANARY)
        shop.client.tick()
        assert [] == holding(tmp_path, CANARY)
        # What is archived can be erased, and that again.
        assert shop.client.erase_customer("customer-1")
        assert shop.client.erase_customer("customer-1")


def test_an_archived_customer_is_found_by_no_call(tmp_path: Path) -> None:
    """Entitlement getters answer, provisioning says that the id is burnt, everything else says CustomerNotFound."""
    with Shop(data_dir=tmp_path) as shop:
        client = shop.client
        subscription_id = fill(shop, "customer-1", CANARY)
        assert "customer-1" == client.archive_customer("customer-1", idempotency_key="key-1")
        assert "customer-1" == client.archive_customer("customer-1", idempotency_key="key-1")
        calls: dict[str, Any] = {
            "get": lambda: client.get_customer("customer-1"),
            "update": lambda: client.update_customer("customer-1", name="x"),
            "archive": lambda: client.archive_customer("customer-1"),
            "export": lambda: client.export_customer("customer-1"),
            "provision_subscription": lambda: client.provision_subscription("customer-1", "plan-free"),
            "subscription": lambda: client.get_subscription(subscription_id),
            "subscriptions": lambda: client.get_subscriptions("customer-1"),
            "active": lambda: client.get_active_subscriptions_list("customer-1"),
            "update_subscription": lambda: client.update_subscription(subscription_id, metadata={"a": "b"}),
            "cancel": lambda: client.cancel_subscription(subscription_id),
            "grant": lambda: client.grant_promotional_entitlements("customer-1", [{"feature_id": "feature-sso"}]),
            "revoke": lambda: client.revoke_promotional_entitlements("customer-1", "feature-sso"),
            "credits": lambda: client.grant_credits("customer-1", "currency-ai", 5),
            "usage": lambda: client.report_usage("customer-1", "feature-calls", 1),
            "event": lambda: client.report_event(
                {"customer_id": "customer-1", "event_name": "login", "idempotency_key": "x"}
            ),
            "paywall": lambda: client.get_paywall(customer_id="customer-1"),
            "settle": lambda: client.payments.settle(subscription_id, "PAID"),
        }
        found = {}
        for name, call in calls.items():
            with pytest.raises(NotFound) as caught:
                call()
            found[name] = caught.value.code
        assert dict.fromkeys(calls, "CustomerNotFound") == found
        for again in (
            lambda: client.provision_customer("customer-1"),
            # Its stored reply names nobody any more.
            lambda: client.provision_customer(
                "customer-1",
                name=f"{CANARY} name",
                email=f"{CANARY}@example.com",
                metadata={"note": CANARY},
                subscription_params={"plan_id": "plan-free", "metadata": {"note": CANARY}},
                idempotency_key="customer-1-1",
            ),
            lambda: client.import_customer("customer-1", name="x"),
        ):
            with pytest.raises(NotAllowed) as refused:
                again()
            assert "EntityIsArchivedError" == refused.value.code
        for feature in ("feature-calls", "feature-sso"):
            answer = client.get_entitlement("customer-1", feature)
            assert (False, AccessDeniedReason.CustomerIsArchived) == (answer.has_access, answer.access_denied_reason)
        assert [] == client.get_entitlements("customer-1")
        assert [] == list(client.get_customers())


def test_open_pages_of_an_archived_customer_are_void() -> None:
    with Shop("CHECKOUT") as shop:
        shop.customer()
        found = shop.client.provision_subscription("customer-1", "plan-pro", billing_period="MONTHLY")
        shop.client.archive_customer("customer-1")
        with pytest.raises(NotFound):
            shop.client.payments.settle(str(found.checkout_url), "PAID")


def test_the_log_of_an_archived_customer_holds_ids_alone() -> None:
    with Shop() as shop:
        fill(shop, "customer-1", CANARY)
        shop.client.archive_customer("customer-1")
        events = list(shop.client.get_events(customer_id="customer-1", limit=1000))
        assert "customer.deleted" == events[-1].type
        assert 1 == sum(event.type == "customer.deleted" for event in events)
        ended = [event for event in events if event.data.get("reason") == "CustomerArchived"]
        assert {"subscription.canceled"} == {event.type for event in ended}


def test_a_customer_who_is_archived_while_asked_for_money_gets_nothing() -> None:
    from tests.shell.shop import Asking

    def act(invoice: Any) -> None:
        shop.client.archive_customer(invoice.customer_id)

    with Shop(provider=Asking(act)) as shop:
        shop.customer()
        shop.client.provision_subscription("customer-1", "plan-pro", billing_period="MONTHLY")
        answer = shop.client.get_entitlement("customer-1", "feature-calls")
        assert AccessDeniedReason.CustomerIsArchived == answer.access_denied_reason


def test_the_replies_of_who_had_a_subscription_before_keep_what_is_not_the_new_owners(tmp_path: Path) -> None:
    with Shop(data_dir=tmp_path) as shop:
        shop.customer("customer-1")
        shop.customer("customer-2")
        asked: dict[str, Any] = {"metadata": {"note": OTHER}, "idempotency_key": "key-1"}
        kept = shop.client.provision_subscription("customer-1", "plan-site", resource_id="site-1", **asked)
        given = shop.client.provision_subscription("customer-1", "plan-free").subscription
        assert given is not None
        shop.client.delegate_subscription(given.id, "customer-2")
        shop.client.erase_customer("customer-2")
        again = shop.client.provision_subscription("customer-1", "plan-site", resource_id="site-1", **asked)
        assert kept.to_dict() == again.to_dict()
        assert OTHER in repr(again)


def test_any_number_of_reports_is_emptied(tmp_path: Path) -> None:
    """They are gone through in pages."""
    with Shop(data_dir=tmp_path) as shop:
        shop.client.provision_customer("customer-1", subscription_params={"plan_id": "plan-free"})
        report = {
            "customer_id": "customer-1",
            "feature_id": "feature-calls",
            "value": 1,
            "dimensions": {"who": CANARY},
        }
        for _ in range(21):
            shop.client.report_usage_bulk([report] * 100, durability="os")
        shop.client.erase_customer("customer-1")
        assert [] == holding(tmp_path, CANARY)
    assert [] == [item for item in examine(tmp_path).findings if item.severity == "error"]


def test_what_was_handed_over_is_erased_with_its_new_owner(tmp_path: Path) -> None:
    with Shop(data_dir=tmp_path) as shop:
        shop.customer("customer-1")
        shop.customer("customer-2")
        made = shop.client.provision_subscription(
            "customer-1", "plan-free", metadata={"note": CANARY}, idempotency_key="key-1"
        ).subscription
        assert made is not None
        shop.client.delegate_subscription(made.id, "customer-2", idempotency_key="key-2")
        shop.client.erase_customer("customer-2")
        assert [] == holding(tmp_path, CANARY)


def test_no_stored_reply_tells_of_the_person(tmp_path: Path) -> None:
    """Of every operation that keeps what it showed of a subscription, the page to pay at among it."""
    failed = PaymentOutcome(outcome="FAILED", payment_url=f"https://{CANARY}.example", error_message=CANARY)
    page = PaymentOutcome(outcome="CHECKOUT", checkout_url=f"https://{CANARY}.example/page")
    with Shop(failed, page, data_dir=tmp_path) as shop:
        client, note = shop.client, {"note": CANARY}
        for customer_id in ("customer-1", "customer-2", "customer-3"):
            shop.customer(customer_id)
        unpaid = shop.buy(metadata=note, idempotency_key="key-1")
        client.payments.settle(unpaid.id, "FAILED", error_message=CANARY, idempotency_key="key-2")
        client.provision_subscription("customer-2", "plan-pro", billing_period="MONTHLY", idempotency_key="key-3")
        site = client.provision_subscription(
            "customer-1", "plan-site", resource_id="site-1", metadata=note
        ).subscription
        assert site is not None
        client.transfer_subscription(site.id, "site-2", idempotency_key="key-4")
        newer = deepcopy(SHOP)
        sold = next(item for item in newer["plans"] if item["id"] == "plan-site")
        sold["entitlements"] = [{"featureId": "feature-audit"}]
        client.catalog.apply(newer)
        client.migrate_subscription_to_latest(
            site.id, subscription_migration_time="IMMEDIATE", idempotency_key="key-5"
        )
        client.cancel_subscription(site.id, cancellation_time="IMMEDIATE", idempotency_key="key-6")
        assert holding(tmp_path, CANARY)
        client.erase_customer("customer-1")
        client.erase_customer("customer-2")
        assert [] == holding(tmp_path, CANARY)
