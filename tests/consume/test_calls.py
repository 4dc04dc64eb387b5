"""`consume`, `reserve` and the lists about credits as an application calls them."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stigg_local import (
    AccessDeniedReason,
    ClientClosed,
    IdempotencyConflict,
    InvalidInput,
    NotAllowed,
    NotAvailableOffline,
    NotFound,
    Stigg,
)
from stigg_local.core import hold as core_hold
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, FULL_CATALOG, NOON, start

CUSTOMER, CURRENCY, CALLS, IMAGES = "customer-1", "currency-ai", "feature-calls", "feature-images"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def client(tmp_path: Path, clock: ManualClock) -> Iterator[Stigg]:
    with Stigg(catalog=CATALOG, data_dir=tmp_path, clock=clock) as made:
        made.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-app"})
        yield made


def reserved(client: Stigg) -> int | float:
    return client.get_metered_entitlement(CUSTOMER, CALLS).reserved_usage


def test_leaving_the_block_without_settling_releases(client: Stigg) -> None:
    with client.reserve(CUSTOMER, CALLS, 10) as hold:
        assert (True, None, 10) == (hold.allowed, hold.access_denied_reason, reserved(client))
        assert hold.expires_at is not None
        assert hold.expires_at.isoformat() == "2025-01-31T12:01:00+00:00"
    assert reserved(client) == 0
    assert client.get_metered_entitlement(CUSTOMER, CALLS).current_usage == 0


def test_an_error_in_the_block_releases_and_goes_on(client: Stigg) -> None:
    with pytest.raises(ZeroDivisionError), client.reserve(CUSTOMER, CALLS, 10):
        raise ZeroDivisionError
    assert reserved(client) == 0


def test_an_error_after_close_is_the_blocks_own(client: Stigg) -> None:
    """What went wrong in the block says more than that nothing could be released."""

    def fail() -> None:
        client.close()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), client.reserve(CUSTOMER, CALLS, 10):
        fail()
    with pytest.raises(ClientClosed):
        client.reserve(CUSTOMER, CALLS, 10)


def test_settling_in_the_block_keeps_what_was_used(client: Stigg) -> None:
    with client.reserve(CUSTOMER, CALLS, 10) as hold:
        result = hold.settle(4)
    assert (4, 0) == (result.entitlement.to_dict()["currentUsage"], reserved(client))
    assert result.measurement_id


def test_a_refused_hold_is_a_value_with_nothing_to_settle(client: Stigg) -> None:
    with client.reserve(CUSTOMER, CALLS, 101) as hold:
        assert (False, None, None) == (hold.allowed, hold.id, hold.expires_at)
        assert hold.access_denied_reason == AccessDeniedReason.RequestedUsageExceedsLimit
        with pytest.raises(NotAllowed, match="refused"):
            hold.settle(1)
        with pytest.raises(NotAllowed, match="refused"):
            hold.release()
    assert "refused" in repr(hold)


def test_another_process_settles_by_the_id(client: Stigg, tmp_path: Path) -> None:
    hold = client.reserve(CUSTOMER, CALLS, 10)
    code = "client = Stigg(data_dir=args[0], clock=ManualClock(NOON)); print(client.settle(args[1], 3).held)"
    process = start(code, tmp_path, hold.id)
    assert process.communicate()[0] == "10\n"
    assert (0, 3) == (reserved(client), client.get_metered_entitlement(CUSTOMER, CALLS).current_usage)


def test_awaited_twins(client: Stigg) -> None:
    async def work() -> None:
        hold = await client.aio.reserve(CUSTOMER, CALLS, 10)
        assert (await client.aio.settle(hold.id, 2)).held == 10
        assert (await client.aio.consume(CUSTOMER, CALLS, 98)).allowed
        assert not (await client.aio.consume(CUSTOMER, CALLS)).allowed

    asyncio.run(work())


def test_a_refusal_from_memory_ends_when_anything_changes(client: Stigg, clock: ManualClock) -> None:
    """The second refusal needs no transaction; it must not outlive its reason."""
    assert client.consume(CUSTOMER, CALLS, 100).allowed
    for _ in range(3):
        assert client.consume(CUSTOMER, CALLS).access_denied_reason == AccessDeniedReason.RequestedUsageExceedsLimit
    client.report_usage(CUSTOMER, CALLS, -1)
    assert client.consume(CUSTOMER, CALLS).allowed
    assert not client.consume(CUSTOMER, CALLS).allowed
    clock.set("2025-02-28T12:00:00Z")
    assert client.consume(CUSTOMER, CALLS).allowed


def test_a_repeat_of_what_was_admitted_is_no_refusal(client: Stigg) -> None:
    first = client.consume(CUSTOMER, CALLS, 100, idempotency_key="k")
    assert not client.consume(CUSTOMER, CALLS, 100).allowed
    again = client.consume(CUSTOMER, CALLS, 100, idempotency_key="k")
    assert (first.measurement_id, first.to_dict()) == (again.measurement_id, again.to_dict())


def test_a_refusal_from_memory_is_that_of_its_own_resource(client: Stigg) -> None:
    client.provision_subscription(CUSTOMER, "plan-site", resource_id="site-1")
    assert client.consume(CUSTOMER, CALLS, 100).allowed
    assert not client.consume(CUSTOMER, CALLS).allowed
    assert client.consume(CUSTOMER, CALLS, resource_id="site-1").allowed
    assert not client.consume(CUSTOMER, CALLS).allowed


def test_what_events_feed_is_refused_by_rule_also_where_there_is_no_room(clock: ManualClock) -> None:
    """Memory knows of the limit, too, and it is not the reason."""
    with Stigg(catalog=FULL_CATALOG, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params=None)
        client.provision_subscription(CUSTOMER, "plan-trial", billing_period="MONTHLY")
        event = {"customer_id": CUSTOMER, "event_name": "e", "idempotency_key": "k", "dimensions": {"tokens": 1000}}
        client.report_event(event)
        asked = client.get_metered_entitlement(CUSTOMER, "feature-tokens", requested_usage=1)
        assert asked.access_denied_reason == AccessDeniedReason.RequestedUsageExceedsLimit
        with pytest.raises(NotAllowed) as caught:
            client.consume(CUSTOMER, "feature-tokens")
        assert "CannotReportUsageForEntitlementWithMeterError" == caught.value.code


def test_the_ledger_tells_what_consumed(client: Stigg) -> None:
    client.grant_credits(CUSTOMER, CURRENCY, 100)
    images = client.consume(CUSTOMER, IMAGES, 2)
    client.consume(CUSTOMER, currency_id=CURRENCY, value=5)
    alone, used, _ = client.get_credit_ledger(CUSTOMER)
    assert (-20, IMAGES, images.measurement_id) == (used.amount, used.feature_id, used.event_id)
    assert (-5, None) == (alone.amount, alone.feature_id)


def test_a_refusal_writes_nothing(client: Stigg) -> None:
    """Not even a transaction: refusing is what a busy limit does most."""
    assert client._embedded is not None
    client.consume(CUSTOMER, CALLS, 100)
    before = client._embedded.store.status()["seq"]
    for key in (None, "key-1"):
        assert not client.consume(CUSTOMER, CALLS, 1, idempotency_key=key).allowed
        assert not client.reserve(CUSTOMER, CALLS, 1, idempotency_key=key).allowed
        assert not client.consume("nobody", CALLS, 1, idempotency_key=key).allowed
    assert before == client._embedded.store.status()["seq"]


def test_listeners_hear_of_what_was_consumed_and_held(client: Stigg) -> None:
    heard: list[object] = []
    client.add_listener("usageUpdated", lambda event: heard.append(event.usage))
    client.add_listener("entitlementsUpdated", lambda event: heard.append(event.customer_id))
    client.consume(CUSTOMER, CALLS, 7)
    client.consume(CUSTOMER, CALLS, 700)
    hold = client.reserve(CUSTOMER, CALLS, 5)
    hold.release()
    assert [7, CUSTOMER, CUSTOMER] == heard


def test_listeners_hear_the_usage_of_the_window_when_a_hold_is_settled(client: Stigg) -> None:
    """As from every other call that records usage: what the window holds now, not what this settlement added."""
    client.report_usage(CUSTOMER, CALLS, 20)
    hold = client.reserve(CUSTOMER, CALLS, 5)
    heard: list[object] = []
    client.add_listener("usageUpdated", lambda event: heard.append(event.usage))
    hold.settle(3)
    assert [23] == heard


def test_too_many_holds_are_refused_until_some_end(
    client: Stigg, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stigg_local.authority.reservations.HOLDS_MAX", 3)
    assert core_hold.HOLDS_MAX > 3
    holds = [client.reserve(CUSTOMER, CALLS) for _ in range(3)]
    with pytest.raises(NotAllowed, match="3 reservations"):
        client.reserve(CUSTOMER, CALLS)
    holds[0].release()
    assert client.reserve(CUSTOMER, CALLS).allowed
    clock.advance(seconds=60)
    assert all(client.reserve(CUSTOMER, CALLS).allowed for _ in range(3))
    assert len(client.get_reservations(CUSTOMER)) == 3


def test_held_reservations_are_listed_soonest_over_first(client: Stigg) -> None:
    client.grant_credits(CUSTOMER, CURRENCY, 100)
    client.reserve(CUSTOMER, IMAGES, 2, ttl_seconds=90)
    client.reserve(CUSTOMER, CALLS, 5, ttl_seconds=30)
    client.reserve(CUSTOMER, currency_id=CURRENCY, amount=7.5, ttl_seconds=60)
    rows = [(row.feature_id, row.currency_id, row.amount, row.credits) for row in client.get_reservations(CUSTOMER)]
    assert [(CALLS, None, 5, None), (None, CURRENCY, 7.5, None), (IMAGES, CURRENCY, 2, 20)] == rows
    with pytest.raises(NotFound):
        client.get_reservations("nobody")


def test_what_has_ended_is_not_listed_as_held(client: Stigg, clock: ManualClock) -> None:
    """From its very end on, whether or not anything has tidied up."""
    client.reserve(CUSTOMER, CALLS, 5, ttl_seconds=30)
    clock.advance(seconds=29.999)
    assert 1 == len(client.get_reservations(CUSTOMER))
    clock.advance(seconds=0.001)
    assert () == client.get_reservations(CUSTOMER)


def test_lists_come_in_pages(client: Stigg) -> None:
    for amount in range(1, 6):
        client.grant_credits(CUSTOMER, CURRENCY, amount)
    first = client.get_credit_grants(CUSTOMER, CURRENCY, limit=2)
    rest = client.get_credit_grants(CUSTOMER, CURRENCY, limit=3, cursor=first.next)
    assert {1, 2, 3, 4, 5} == {row.amount for row in (*first, *rest)}
    assert rest.next is None
    ledger = client.get_credit_ledger(CUSTOMER, limit=4)
    assert (4, 1) == (len(ledger), len(client.get_credit_ledger(CUSTOMER, cursor=ledger.next)))
    with pytest.raises(InvalidInput):
        client.get_credit_grants(CUSTOMER, cursor="nothing")
    with pytest.raises(NotFound):
        client.get_credit_ledger(CUSTOMER, "nothing")


def test_a_grant_of_now_that_nobody_touched_can_be_voided(tmp_path: Path, clock: ManualClock) -> None:
    """A recurring grant has no row before something happens to it; voided it stays voided for its period."""
    catalog = Path(__file__).parents[2] / "fixtures/catalogs/consume.json"
    with Stigg(catalog=catalog, data_dir=tmp_path, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-credits"})
        (row,) = client.get_credit_grants(CUSTOMER)
        assert (100, "RECURRING", "ACTIVE") == (row.amount, row.grant_type, row.status)
        assert client.void_credit_grant(row.id).status == "VOIDED"
        assert client.get_credit_entitlement(CUSTOMER, CURRENCY).total_granted == 0
        assert ["CREDITS_VOIDED", "CREDITS_GRANTED"] == [row.type for row in client.get_credit_ledger(CUSTOMER)]
        client.consume_credits(CUSTOMER, CURRENCY, 5)
        (debt,) = [row for row in client.get_credit_grants(CUSTOMER) if row.grant_type == "OVERDRAFT"]
        with pytest.raises(NotAllowed, match="a debt"):
            client.void_credit_grant(debt.id)
        clock.set("2025-02-28T12:00:00Z")
        assert client.get_credit_entitlement(CUSTOMER, CURRENCY).current_balance == 95


def test_offline_has_no_authority_to_ask() -> None:
    with Stigg(offline=True) as client:
        for call in (
            lambda: client.consume(CUSTOMER, CALLS),
            lambda: client.reserve(CUSTOMER, CALLS),
            lambda: client.settle("hold", 1),
            lambda: client.release("hold"),
            lambda: client.consume_credits(CUSTOMER, CURRENCY, 1),
            lambda: client.void_credit_grant("grant"),
            lambda: client.get_credit_grants(CUSTOMER),
            lambda: client.get_credit_ledger(CUSTOMER),
            lambda: client.get_reservations(CUSTOMER),
        ):
            with pytest.raises(NotAvailableOffline):
                call()


def test_commands(client: Stigg, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`consume`, `reserve`, `settle`, `release`, `reservations`: exit codes and what they print."""
    from stigg_local.cli.main import main

    client.close()
    patch = pytest.MonkeyPatch()
    patch.setenv("STIGG_LOCAL_CLOCK", NOON)
    patch.setenv("STIGG_LOCAL_DATA_DIR", str(tmp_path))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        told = capsys.readouterr()
        return code, told.out + told.err

    try:
        assert run("consume", CUSTOMER, CALLS, "60")[0] == 0
        code, told = run("consume", CUSTOMER, CALLS, "--value", "41")
        assert (3, True) == (code, told.startswith("refused: RequestedUsageExceedsLimit"))
        assert run("reserve", CUSTOMER, CALLS, "--amount", "30", "--ttl", "5", "--idempotency-key", "job-1")[0] == 0
        code, told = run("reserve", CUSTOMER, CALLS, "--amount", "11", "--json")
        assert (3, "RequestedUsageExceedsLimit") == (code, json.loads(told)["accessDeniedReason"])
        code, told = run("reservations", CUSTOMER)
        assert (0, True) == (code, "job-1" in told)
        assert "30 reserved" in run("consume", CUSTOMER, CALLS, "--value", "10")[1]
        code, told = run("settle", "job-1", "12", "--json")
        assert (0, 30, False) == (code, json.loads(told)["held"], json.loads(told)["isLate"])
        assert "nothing was held" in run("release", "job-1")[1]
        assert "nothing is held" in run("reservations", CUSTOMER)[1]
        assert run("consume", CUSTOMER, "--currency", CURRENCY)[0] == 3
        assert run("consume", CUSTOMER)[0] == 2
        assert run("consume", CUSTOMER, CALLS, "1", "--value", "1")[0] == 2
        assert run("consume", CUSTOMER, CALLS, "x")[0] == 2
        assert run("settle", "job-2", "1")[0] == 2
        assert run("settle", "job-1", "13")[0] in (2, 3)
    finally:
        patch.undo()


def test_a_clock_that_comes_back_finds_the_hold_again(client: Stigg, clock: ManualClock) -> None:
    """Nothing is forgotten by a clock that cannot be believed."""
    client.reserve(CUSTOMER, CALLS, 10, ttl_seconds=600)
    clock.jump("2025-02-10T12:00:00Z")
    assert (True, 0) == (client.status().clock_suspect, reserved(client))
    assert client.tick()["ended_holds"] == 0
    assert client.reserve(CUSTOMER, CALLS, 1, ttl_seconds=1).allowed
    clock.jump("2025-01-31T12:00:30Z")
    client._embedded.replica.drop()  # type: ignore[union-attr]
    assert reserved(client) == 10


@pytest.mark.parametrize("actual", [0, 6, 10, 12])
def test_a_hold_outlives_the_plan_that_its_credits_came_from(tmp_path: Path, clock: ManualClock, actual: int) -> None:
    """The work was admitted under the old plan and is paid by its credits; the rest is gone with them."""
    catalog = Path(__file__).parents[2] / "fixtures/catalogs/consume.json"
    with Stigg(catalog=catalog, data_dir=tmp_path, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-credits"})
        hold = client.reserve(CUSTOMER, IMAGES, 10)
        clock.advance(seconds=10)
        client.provision_subscription(CUSTOMER, "plan-app")
        # The window without a reset goes on, and so does what is held in it.
        assert client.get_metered_entitlement(CUSTOMER, IMAGES).reserved_usage == 10
        client.grant_credits(CUSTOMER, CURRENCY, 50)
        settled = hold.settle(actual)
        assert (10, False) == (settled.held, settled.is_late)
        purse = client.get_credit_entitlement(CUSTOMER, CURRENCY)
        assert max(0, actual - 10) * 10 == purse.total_consumed
        assert actual == client.get_metered_entitlement(CUSTOMER, IMAGES).current_usage
        assert purse.current_balance == sum(row.amount for row in client.get_credit_ledger(CUSTOMER, CURRENCY))
        client._embedded.authority.runner.repair(CUSTOMER)  # type: ignore[union-attr]
        client._embedded.replica.drop()  # type: ignore[union-attr]
        assert purse.to_dict() | {"asOf": ""} == client.get_credit_entitlement(CUSTOMER, CURRENCY).to_dict() | {
            "asOf": ""
        }


def test_a_scheduled_grant_is_in_the_ledger_from_when_it_is_in_the_balance(client: Stigg, clock: ManualClock) -> None:
    def lines() -> list[tuple[str, float, str]]:
        rows = client.get_credit_ledger(CUSTOMER, CURRENCY)
        balance = client.get_credit_entitlement(CUSTOMER, CURRENCY).current_balance
        assert balance == sum(row.amount for row in rows)
        return [(row.type, row.amount, f"{row.timestamp:%d}") for row in rows]

    before = lines()
    client.grant_credits(CUSTOMER, CURRENCY, 26, effective_at="2025-02-02T00:00:00Z")
    grant = client.grant_credits(CUSTOMER, CURRENCY, 9, effective_at="2025-02-02T00:00:00Z")
    assert before == lines()
    client.void_credit_grant(grant.id)
    voided = [("CREDITS_VOIDED", -9, "31"), ("CREDITS_GRANTED", 9, "31")]
    assert [*voided, *before] == lines()
    clock.set("2025-02-02T00:00:00Z")
    assert [("CREDITS_GRANTED", 26, "02"), *voided, *before] == lines()


def test_a_debt_paid_by_a_period_that_nobody_saw_is_in_the_ledger(tmp_path: Path, clock: ManualClock) -> None:
    """Time pays it, and the list says so before anything is written."""
    catalog = Path(__file__).parents[2] / "fixtures/catalogs/consume.json"
    with Stigg(catalog=catalog, data_dir=tmp_path, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-credits"})
        client.consume_credits(CUSTOMER, CURRENCY, 150)
        clock.set("2025-03-30T12:00:00Z")
        ledger = client.get_credit_ledger(CUSTOMER)
        assert "CREDITS_CONSUMPTION_TRANSFER_SOURCE" in {row.type for row in ledger}
        assert client.get_credit_entitlement(CUSTOMER, CURRENCY).current_balance == sum(row.amount for row in ledger)
        assert all(row.timestamp is not None for row in ledger)
        client.consume_credits(CUSTOMER, CURRENCY, 1)
        assert client.get_credit_entitlement(CUSTOMER, CURRENCY).current_balance == sum(
            row.amount for row in client.get_credit_ledger(CUSTOMER)
        )
        first = client.get_credit_grants(CUSTOMER).items[0]
        with pytest.raises(NotAllowed, match="expired"):
            client.void_credit_grant(first.id)
        with pytest.raises(NotFound):
            client.void_credit_grant(first.id.replace("MONTH:0", "MONTH:999"))
        assert (first.created_at, first.effective_at, first.voided_at) == (first.effective_at, first.created_at, None)
        assert first.expire_at is not None


def test_a_soft_wallet_holds_more_than_it_has(tmp_path: Path, clock: ManualClock) -> None:
    """What no grant has is held all the same, and shows as a debt while it is."""
    catalog = Path(__file__).parents[2] / "fixtures/catalogs/credits.json"
    with Stigg(catalog=catalog, data_dir=tmp_path, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-soft"})

        def balance() -> int | float:
            return client.get_credit_entitlement(CUSTOMER, CURRENCY).current_balance

        hold = client.reserve(CUSTOMER, "feature-tokens", 150)
        assert (True, -50) == (hold.allowed, balance())
        hold.release()
        assert balance() == 100
        hold = client.reserve(CUSTOMER, "feature-tokens", 150)
        client.grant_credits(CUSTOMER, CURRENCY, 30)
        assert balance() == -20
        hold.settle(120)
        assert balance() == 10


def test_preloaded_customers_know_what_is_held(client: Stigg, tmp_path: Path, clock: ManualClock) -> None:
    client.reserve(CUSTOMER, CALLS, 10)
    with Stigg(data_dir=tmp_path, clock=clock) as other:
        other.preload()
        assert reserved(other) == 10
        other._embedded.replica.memo.clear()  # type: ignore[union-attr]
        assert reserved(other) == 10
        client.reserve(CUSTOMER, CALLS, 5)
        assert reserved(other) == 15


def test_an_archived_customer_is_refused_and_cannot_settle(client: Stigg, clock: ManualClock) -> None:
    hold = client.reserve(CUSTOMER, CALLS, 10)
    client.archive_customer(CUSTOMER)
    assert client.consume(CUSTOMER, CALLS).access_denied_reason == AccessDeniedReason.CustomerIsArchived
    assert client.reserve(CUSTOMER, CALLS).access_denied_reason == AccessDeniedReason.CustomerIsArchived
    with pytest.raises(NotFound):
        hold.settle(1)
    clock.advance(seconds=61)
    assert client.tick()["ended_holds"] == 1


def test_a_threshold_that_consuming_crosses_is_told(tmp_path: Path, clock: ManualClock) -> None:
    """Once, by whatever crosses it: what is held crosses nothing."""
    with Stigg(catalog=CATALOG, data_dir=tmp_path, clock=clock, usage_thresholds=(80, 90)) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-app"})

        def told() -> list[str]:
            events = client.get_events(customer_id=CUSTOMER, limit=100)
            return [event.data["threshold"] for event in events if event.type == "entitlement.usage_exceeded"]

        client.consume(CUSTOMER, CALLS, 79)
        hold = client.reserve(CUSTOMER, CALLS, 15)
        assert [] == told()
        client.consume(CUSTOMER, CALLS, 1)
        assert ["80"] == told()
        hold.settle(12)
        assert ["80", "90"] == told()


@pytest.mark.parametrize(("round_", "told"), [("UP", ["80", "90", "100"]), ("DOWN", ["80", "100"])])
def test_a_threshold_is_a_part_of_the_limit_in_the_unit_of_the_limit(
    tmp_path: Path, clock: ManualClock, round_: str, told: list[str]
) -> None:
    """A limit of 10 thousands: 7,001 rounded up are 8 of 10, and 10,000 rounded down are all of them."""
    feature = {"id": "storage", "displayName": "Storage", "featureType": "Numeric", "meterType": "Incremental"}
    transformation = {"divide": 1000, "round": round_}
    plan = {"id": "plan", "productId": "product", "displayName": "Plan", "pricingType": "FREE"}
    source = {
        "schema": 1,
        "environment": "test",
        "features": [feature | {"unitTransformation": transformation}],
        "products": [{"id": "product", "displayName": "Product"}],
        "plans": [plan | {"entitlements": [{"featureId": "storage", "usageLimit": 10}]}],
    }
    with Stigg(catalog=source, data_dir=tmp_path, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan"})
        for value in (7000, 1, 999, 1, 1999) if round_ == "UP" else (7999, 1, 2000):
            client.report_usage(CUSTOMER, "storage", value)
        events = [event for event in client.get_events(customer_id=CUSTOMER) if "usage_exceeded" in event.type]
        assert told == [event.data["threshold"] for event in events]
        assert ("10", "10") == (events[-1].data["usage"], events[-1].data["usageLimit"])


def test_a_refusal_as_a_mapping_holds_plain_text(client: Stigg) -> None:
    shown = client.consume(CUSTOMER, CALLS, 1_000_000).to_dict()["accessDeniedReason"]
    assert (str, "RequestedUsageExceedsLimit") == (type(shown), shown)


def test_a_late_settlement_takes_nothing_from_grants_that_others_have_used_up(
    client: Stigg, clock: ManualClock
) -> None:
    """20 credits were held until the end and then used by someone else: what is settled late is a debt."""
    client.grant_credits(CUSTOMER, CURRENCY, 20)
    hold = client.reserve(CUSTOMER, IMAGES, 2)
    clock.advance(seconds=60)
    client.report_usage(CUSTOMER, IMAGES, 2)
    settled = hold.settle(2)
    assert (0, True) == (settled.held, settled.is_late)
    assert -20 == client.get_credit_entitlement(CUSTOMER, CURRENCY).remaining
    rows = client.get_credit_grants(CUSTOMER, CURRENCY)
    assert [("OVERDRAFT", 0, 20), ("PROMOTIONAL", 20, 20)] == sorted(
        (row.grant_type, row.amount, row.consumed_amount) for row in rows
    )


def test_what_was_consumed_is_in_the_log_with_its_dimensions(client: Stigg) -> None:
    client.consume(CUSTOMER, CALLS, 3, dimensions={"model": "large", "tokens": 7, "share": 0.5, "cached": False})
    client.consume(CUSTOMER, CALLS, 4)
    kept = client.export_customer(CUSTOMER)["measurements"]
    told = {"model": "large", "tokens": 7, "share": 0.5, "cached": False}
    assert [(3, told), (4, None)] == [(one["value"], one["dimensions"] or None) for one in kept]


@pytest.mark.parametrize("level", ["disk", "os"])
def test_consuming_and_settling_tell_the_level_that_they_were_asked_for(client: Stigg, level: str) -> None:
    assert level == client.consume(CUSTOMER, CALLS, 1, durability=level).durability
    hold = client.reserve(CUSTOMER, CALLS, 5, durability=level)
    assert hold.id is not None
    assert level == client.settle(hold.id, 2, durability=level).durability


def test_settling_is_done_once_under_the_holds_id_and_under_a_key_of_its_own(client: Stigg) -> None:
    """Whichever of the two a repeat comes with; another amount or another hold is a conflict."""
    hold, other = client.reserve(CUSTOMER, CALLS, 10), client.reserve(CUSTOMER, CALLS, 20)
    assert hold.id is not None
    assert other.id is not None
    first = client.settle(hold.id, 4, idempotency_key="job-1")
    again = client.settle(hold.id, 4, idempotency_key="job-1")
    without = client.settle(hold.id, 4)
    assert {first.measurement_id} == {again.measurement_id, without.measurement_id}
    for hold_id, actual, key in ((hold.id, 5, None), (hold.id, 5, "job-1"), (other.id, 4, "job-1")):
        with pytest.raises(IdempotencyConflict):
            client.settle(hold_id, actual, idempotency_key=key)
    answer = client.get_metered_entitlement(CUSTOMER, CALLS)
    assert (4, 20) == (answer.current_usage, answer.reserved_usage)


def test_releasing_is_done_once_under_any_key(client: Stigg) -> None:
    hold = client.reserve(CUSTOMER, CALLS, 10)
    assert hold.id is not None
    client.release(hold.id, idempotency_key="job-1")
    client.release(hold.id, idempotency_key="job-1")
    client.release(hold.id)
    answer = client.get_metered_entitlement(CUSTOMER, CALLS)
    assert (0, 0) == (answer.current_usage, answer.reserved_usage)
