"""Queued reports: at once in this process, elsewhere when stored, in order, bounded, none lost in silence."""

import os
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stigg_local import (
    IdempotencyConflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    Stigg,
    StiggError,
    StorageFull,
    StoreError,
    UsageQueueFull,
)
from stigg_local.core.period import to_datetime, to_ms
from stigg_local.core.quantity import to_raw
from stigg_local.core.queued import QueuedReport, Subject
from stigg_local.edge.overlay import folded
from stigg_local.store import Tx
from stigg_local.store.commit import Member
from stigg_local.store.queued import Group, ReportQueue
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, CUSTOMERS, NOON, ask, client_of, start
from tests.shell.test_processes import in_fork, wait

ELSEWHERE = """
with client_of(args[0]) as client:
    print(client.get_metered_entitlement("customer-1", "feature-calls").current_usage)
"""
CUSTOMER, CALLS, SEATS, IMAGES = "customer-1", "feature-calls", "feature-seats", "feature-images"


@pytest.fixture
def client(data_dir: Path) -> Iterator[Stigg]:
    with Stigg(catalog=CATALOG, data_dir=data_dir, durability="queued") as client:
        provision(client)
        yield client


def provision(client: Stigg) -> None:
    client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-app"})
    client.provision_customer("customer-2", subscription_params={"plan_id": "plan-endless"})
    client.provision_customer("customer-3", subscription_params=None)


def usage(client: Stigg, customer: str = CUSTOMER, feature: str = CALLS) -> int | float:
    return client.get_metered_entitlement(customer, feature).current_usage


def depth(client: Stigg) -> int:
    return client.status().outbox_depth


def queue_of(client: Stigg) -> ReportQueue:
    assert client._embedded is not None
    queue = client._embedded.store.queue
    assert queue is not None
    return queue


@contextmanager
def held_up(client: Stigg) -> Iterator[None]:
    """Nothing is stored meanwhile."""
    assert client._embedded is not None
    commit = client._embedded.store._commit
    stop = Member()
    try:
        assert commit.pause(stop)
        yield
    finally:
        commit.resume(stop)


# ---------------------------------------------------------------------- levels


def test_a_result_says_at_which_level_it_was_kept(client: Stigg) -> None:
    levels = [
        client.report_usage(CUSTOMER, CALLS, 1, durability=level).durability for level in ("disk", "os", "queued")
    ]
    assert ["disk", "os", "queued"] == levels
    assert "queued" == client.report_usage(CUSTOMER, CALLS, 1).durability
    assert 4 == usage(client)


@pytest.mark.parametrize("level", ["tape", "", "QUEUED", 1])
def test_another_level_is_refused(client: Stigg, level: Any) -> None:
    with pytest.raises(InvalidInput, match="durability"):
        client.report_usage(CUSTOMER, CALLS, 1, durability=level)
    with pytest.raises(InvalidInput, match="durability"):
        Stigg(offline=True, durability=level)


def test_a_decision_cannot_be_queued_and_is_disk_where_reports_are_queued(client: Stigg) -> None:
    with pytest.raises(InvalidInput, match="only report_usage"):
        client.consume(CUSTOMER, CALLS, 1, durability="queued")
    client.consume(CUSTOMER, CALLS, 1)
    assert 0 == depth(client)


# ---------------------------------------------------------------------- seen


def test_a_queued_report_is_seen_at_once_here_and_elsewhere_when_it_is_stored(client: Stigg, data_dir: Path) -> None:
    with client_of(data_dir) as other, held_up(client):
        for number in range(1, 4):
            result = client.report_usage(CUSTOMER, CALLS, 2)
            assert 2 * number == result.current_usage == usage(client) == usage(other)
        assert 3 == depth(client)
        assert "0\n" == start(ELSEWHERE, data_dir).communicate()[0]
    client.flush(10)
    assert 0 == depth(client)
    assert "6\n" == start(ELSEWHERE, data_dir).communicate()[0]


def test_an_explanation_explains_the_answer_with_what_is_queued(client: Stigg) -> None:
    client.report_usage(CUSTOMER, CALLS, 100)
    explanation = client.explain(CUSTOMER, CALLS)
    assert client.get_entitlement(CUSTOMER, CALLS).has_access == explanation.entitlement.has_access
    assert "100" in str(explanation)


def test_a_queued_report_counts_in_the_window_of_its_own_time(data_dir: Path) -> None:
    clock = ManualClock(NOON)
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability="queued") as client:
        provision(client)
        clock.advance(seconds=86_400)
        client.report_usage(CUSTOMER, CALLS, 1, durability="disk")
        with held_up(client):
            assert 4 == client.report_usage(CUSTOMER, CALLS, 3).current_usage
            clock.advance(seconds=31 * 86_400)
            assert 0 == usage(client)
            assert 5 == client.report_usage(CUSTOMER, CALLS, 5).current_usage
            late = client.report_usage(CUSTOMER, CALLS, 7, created_at="2025-02-02T00:00:00Z")
            assert 5 == late.current_usage == usage(client)
        client.flush(10)
        assert 5 == usage(client)


def test_queued_images_cost_credits_at_once_what_they_cost_when_stored(client: Stigg) -> None:
    client.grant_credits(CUSTOMER, "currency-ai", 45)
    with held_up(client):
        for _ in range(5):
            client.report_usage(CUSTOMER, IMAGES, 1)
        before = client.get_credit_entitlement(CUSTOMER, "currency-ai")
    client.flush(10)
    after = client.get_credit_entitlement(CUSTOMER, "currency-ai")
    assert -5 == before.remaining == after.remaining
    assert before.current_balance == after.current_balance


def test_queued_images_do_not_take_what_a_debt_has_taken(data_dir: Path) -> None:
    """A grant that began since the last write paid the debt first."""
    clock = ManualClock(NOON)
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability="queued") as client:
        provision(client)
        client.consume_credits(CUSTOMER, "currency-ai", 15)
        client.grant_credits(CUSTOMER, "currency-ai", 100, effective_at="2025-02-01T00:00:00Z")
        clock.advance(seconds=86_400)
        with held_up(client):
            client.report_usage(CUSTOMER, IMAGES, 1)
            queued = client.get_credit_entitlement(CUSTOMER, "currency-ai").to_dict()
        client.flush(10)
        stored = client.get_credit_entitlement(CUSTOMER, "currency-ai").to_dict()
    assert 75 == queued["remaining"]
    assert queued | {"asOf": None} == stored | {"asOf": None}


def test_queued_images_leave_alone_what_is_held(client: Stigg) -> None:
    """45 credits, 20 of them held: of 50 that are used 25 are there, and the others are a debt."""
    client.grant_credits(CUSTOMER, "currency-ai", 45)
    assert client.reserve(CUSTOMER, IMAGES, 2).allowed
    with held_up(client):
        for _ in range(5):
            client.report_usage(CUSTOMER, IMAGES, 1)
        before = client.get_credit_entitlement(CUSTOMER, "currency-ai")
    client.flush(10)
    after = client.get_credit_entitlement(CUSTOMER, "currency-ai")
    assert -25 == before.remaining == after.remaining
    assert before.to_dict() == after.to_dict()


def test_a_report_at_the_very_end_of_a_window_is_of_the_next(data_dir: Path) -> None:
    clock = ManualClock(NOON)
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability="queued") as client:
        provision(client)
        first = client.report_usage(CUSTOMER, CALLS, 3)
        client.flush(10)
        assert first.usage_period_end_ms is not None
        clock.advance(seconds=(first.usage_period_end_ms - to_ms(NOON, name="noon")) / 1000)
        assert 2 == client.report_usage(CUSTOMER, CALLS, 2).current_usage == usage(client)
        client.flush(10)
        assert 2 == usage(client)


def test_reports_of_one_group_count_for_their_own_resource(client: Stigg) -> None:
    """They are stored together, for they are one customer's."""
    for resource in ("site-1", "site-2"):
        client.provision_subscription(CUSTOMER, "plan-site", resource_id=resource)
    with held_up(client):
        for place, value in (("site-1", 1), ("site-2", 2), ("site-1", 4), (None, 8)):
            client.report_usage(CUSTOMER, CALLS, value, resource_id=place)
    client.flush(10)
    assert [5, 2, 8] == [
        client.get_metered_entitlement(CUSTOMER, CALLS, place).current_usage for place in ("site-1", "site-2", None)
    ]


def test_reports_of_one_group_count_in_every_window_of_their_own_time(data_dir: Path) -> None:
    """That of the source that wins, and those of the others, which end elsewhere."""
    clock = ManualClock(NOON)
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability="queued") as client:
        provision(client)
        client.grant_promotional_entitlements(
            CUSTOMER, [{"feature_id": CALLS, "usage_limit": 7, "reset_period": "DAY"}]
        )
        clock.advance(seconds=86_400 + 60)
        with held_up(client):
            client.report_usage(CUSTOMER, CALLS, 3, created_at="2025-02-01T11:59:59Z")
            client.report_usage(CUSTOMER, CALLS, 2, created_at="2025-02-01T12:00:00Z")
        client.flush(10)
        assert (100, 5) == (client.get_metered_entitlement(CUSTOMER, CALLS).usage_limit, usage(client))
        (ended,) = client.get_active_subscriptions_list(CUSTOMER)
        client.cancel_subscription(ended.subscription_id)
        assert (7, 2) == (client.get_metered_entitlement(CUSTOMER, CALLS).usage_limit, usage(client))


def test_a_report_of_a_time_that_is_folded_is_refused_at_once(data_dir: Path) -> None:
    """As without a queue; whether it was counted before cannot be told any more."""
    clock = ManualClock(NOON)
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability="queued") as client:
        provision(client)
        clock.advance(seconds=60)
        assert client._embedded is not None
        store = client._embedded.store
        from_ms = store.now_ms() - 1000
        store.write(lambda tx: tx.put_usage_from(from_ms), operation="fold", key="k")
        with pytest.raises(InvalidInput, match="from when on usage is kept"):
            client.report_usage(CUSTOMER, CALLS, 1, created_at=to_datetime(from_ms - 1))
        client.report_usage(CUSTOMER, CALLS, 2, created_at=to_datetime(from_ms))
        client.flush(10)
        assert (2, None) == (usage(client), client.status().last_error)


@pytest.mark.parametrize(("seq", "expected"), [(0, 4), (4, 0), (5, 0), (6, 4)])
def test_a_group_is_counted_on_top_of_rows_that_do_not_hold_it(client: Stigg, seq: int, expected: int) -> None:
    """The rows are of transaction 5; 0 is a group that was never tried to be stored."""
    assert client._embedded is not None
    _, _, _, _, view, catalog = client._embedded.replica.held(CUSTOMER)
    assert view is not None
    now = client._embedded.store.now_ms()
    group = Group(CUSTOMER)
    raw = to_raw(4, catalog.features[CALLS].scale, name="value")
    group.items.append(QueuedReport("report-1", "DELTA", raw, now))
    group.subjects.append(Subject(CALLS, "", True))
    group.seq = seq
    shown = folded(catalog, view, ((group, 1),), seq=5, now_ms=now)
    assert to_raw(expected, catalog.features[CALLS].scale, name="value") == max(shown.counters.values(), default=0)


def test_a_report_that_came_too_late_is_refused_alone(data_dir: Path) -> None:
    clock = ManualClock(NOON)
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock, durability="queued") as client:
        provision(client)
        clock.advance(seconds=86_400)
        with pytest.MonkeyPatch.context() as patch:
            with held_up(client):
                client.report_usage(CUSTOMER, CALLS, 1)
                late = client.report_usage(CUSTOMER, CALLS, 2, created_at=NOON)
                client.report_usage(CUSTOMER, SEATS, 3)
                client.report_usage(CUSTOMER, CALLS, 4)
                # As if what is that old had been folded meanwhile.
                patch.setattr(Tx, "usage_from_ms", lambda tx: to_ms(NOON, name="noon") + 1)
            client.flush(10)
        assert late.measurement_id in str(client.status().last_error)
        assert (5, 3) == (usage(client), usage(client, feature=SEATS))


def test_every_answer_is_the_one_that_durable_reports_give(tmp_path: Path) -> None:
    """Random calls, some queued and some not, against a client that queues nothing."""
    for seed in range(4):
        source = random.Random(seed)
        clock = ManualClock(NOON)
        queueing = Stigg(catalog=CATALOG, data_dir=tmp_path / f"a{seed}", clock=clock)
        plain = Stigg(catalog=CATALOG, data_dir=tmp_path / f"b{seed}", clock=clock)
        for client in (queueing, plain):
            provision(client)
            client.grant_credits(CUSTOMER, "currency-ai", 100)
        for step in range(40):
            arguments: dict[str, Any] = (
                {"idempotency_key": f"key-{source.randint(0, 60)}"} if source.random() < 0.3 else {}
            )
            if source.random() < 0.2:
                arguments["update_behavior"] = "SET"
            if source.random() < 0.2:
                arguments["created_at"] = "2025-01-31T12:00:00Z"
            call = (
                source.choice(CUSTOMERS),
                source.choice((CALLS, SEATS, IMAGES)),
                source.choice((-3, -1, 1, 1.5, 2, 7)),
            )
            outcomes: list[object] = []
            level = source.choice(("queued", "queued", "os"))
            for client, at in ((queueing, level), (plain, "disk")):
                try:
                    outcomes.append(client.report_usage(*call, durability=at, **arguments).current_usage)
                except StiggError as error:
                    outcomes.append(error.code)
            assert outcomes[0] == outcomes[1], f"seed {seed}, step {step}: {call} {arguments}"
            if source.random() < 0.2:
                queueing.flush(10)
            if source.random() < 0.3:
                clock.advance(seconds=source.choice((0.5, 86_400, 20 * 86_400)))
            if source.random() < 0.3:
                assert ask(plain) == ask(queueing), f"seed {seed}, step {step}"
        assert ask(plain) == ask(queueing)
        queueing.close()
        plain.close()


def test_threads_queue_side_by_side_and_each_unit_counts_once(client: Stigg) -> None:
    seen: list[int | float] = []

    def work() -> None:
        own = [client.report_usage("customer-2", CALLS, 1).current_usage for _ in range(500)]
        assert own == sorted(own)
        seen.extend(own)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(1, 4001)) == sorted(seen)
    client.flush(30)
    assert 4000 == usage(client, "customer-2")


# ---------------------------------------------------------------------- checked


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (("nobody", CALLS, 1), NotFound, "CustomerNotFound"),
        ((CUSTOMER, "feature-none", 1), NotFound, "FeatureNotFound"),
        ((CUSTOMER, "feature-sso", 1), NotAllowed, "MeteringNotAvailableForFeatureType"),
        (("customer-3", CALLS, 1), NotAllowed, "NoActiveSubscriptionForCustomer"),
        ((CUSTOMER, SEATS, -1), NotAllowed, "UsageMeasurementDiffOutOfRangeError"),
        ((CUSTOMER, CALLS, "1"), InvalidInput, "BadUserInput"),
        ((CUSTOMER, CALLS, 10**30), InvalidInput, "EntitlementUsageOutOfRangeError"),
        (("", CALLS, 1), InvalidInput, "InvalidArgumentError"),
    ],
)
def test_what_memory_knows_is_checked_before_it_is_queued(
    client: Stigg, arguments: tuple[str, str, Any], error: type[StiggError], code: str
) -> None:
    with pytest.raises(error) as caught:
        client.report_usage(*arguments)
    assert code == caught.value.code
    assert 0 == depth(client)


def test_neither_an_archived_customer_nor_an_unknown_resource_is_queued_for(client: Stigg) -> None:
    with pytest.raises(NotFound) as unknown:
        client.report_usage(CUSTOMER, CALLS, 1, resource_id="site-none")
    client.archive_customer("customer-2")
    with pytest.raises(NotFound) as archived:
        client.report_usage("customer-2", CALLS, 1)
    assert ("CustomerResourceNotFound", "CustomerNotFound") == (unknown.value.code, archived.value.code)
    assert 0 == depth(client)


def test_what_no_counter_holds_is_refused_before_it_is_queued(client: Stigg) -> None:
    """Short way and long way; what fits to the last unit goes in, and nothing of the rest is stored."""
    most = (2**63 - 1) // 10**6
    for value in (most - 2, 1, 1):
        client.report_usage(CUSTOMER, CALLS, value)
    for _ in range(2):
        with pytest.raises(InvalidInput) as caught:
            client.report_usage(CUSTOMER, CALLS, 1)
        assert "EntitlementUsageOutOfRangeError" == caught.value.code
    client.flush()
    assert (most, None) == (usage(client), client.status().last_error)


def test_a_queued_report_keeps_its_dimensions(client: Stigg) -> None:
    client.report_usage(CUSTOMER, CALLS, 1, dimensions={"region": "eu"})
    client.report_usage(CUSTOMER, CALLS, 1, durability="disk")
    kept = client.export_customer(CUSTOMER)["measurements"]
    assert [{"region": "eu"}, {}] == [item["dimensions"] for item in kept]


def test_a_key_counts_once_queued_or_stored_and_has_one_body(client: Stigg) -> None:
    with held_up(client):
        first = client.report_usage(CUSTOMER, CALLS, 2, idempotency_key="k")
        assert first == client.report_usage(CUSTOMER, CALLS, 2, idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            client.report_usage(CUSTOMER, CALLS, 3, idempotency_key="k")
    client.flush(10)
    # From here on the file remembers it.
    assert {} == queue_of(client).keys
    assert first == client.report_usage(CUSTOMER, CALLS, 2, idempotency_key="k")
    assert first == client.report_usage(CUSTOMER, CALLS, 2, idempotency_key="k", durability="disk")
    with pytest.raises(IdempotencyConflict):
        client.report_usage(CUSTOMER, CALLS, 3, idempotency_key="k")
    assert 2 == usage(client)


def test_a_command_comes_after_what_was_queued_before_it(client: Stigg) -> None:
    client.report_usage(CUSTOMER, CALLS, 5)
    assert 2 == client.report_usage(CUSTOMER, CALLS, 2, update_behavior="SET", durability="disk").current_usage
    client.flush(10)
    assert 2 == usage(client)


# ---------------------------------------------------------------------- bounded, and never silent


def test_a_history_holds_what_was_queued(client: Stigg) -> None:
    for number in range(1, 4):
        client.report_usage(CUSTOMER, CALLS, 2)
        points = client.get_usage_history(CUSTOMER, CALLS, start_date="2025-01-01T00:00:00Z").points
        assert 2 * number == points[-1].value


def test_a_bulk_comes_after_what_was_queued_before_it(client: Stigg) -> None:
    for value in range(1, 4):
        client.report_usage(CUSTOMER, CALLS, 5)
        reports = [{"customer_id": name, "feature_id": CALLS, "value": value, "update_behavior": "SET"}
                   for name in (CUSTOMER, "customer-2")]  # fmt: skip
        assert [value, value] == [result.current_usage for result in client.report_usage_bulk(reports)]
    client.flush(10)
    assert (3, 3) == (usage(client), usage(client, "customer-2"))


def test_a_key_that_was_used_meanwhile_for_something_else_is_named(
    client: Stigg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another process between the call and the transaction: its report counts, and this one does not."""
    client.report_usage(CUSTOMER, CALLS, 1)
    client.flush(10)
    store = queue_of(client)._store

    def other_first(groups: Sequence[Group]) -> list[Exception | None]:
        monkeypatch.setattr(queue_of(client), "_store", store)
        client.report_usage(CUSTOMER, CALLS, 4, idempotency_key="k", durability="disk")
        return store(groups)

    with held_up(client):
        client.report_usage(CUSTOMER, CALLS, 2, idempotency_key="k")
        monkeypatch.setattr(queue_of(client), "_store", other_first)
    client.flush(10)
    assert "IdempotencyConflict" in str(client.status().last_error)
    assert (5, 1) == (usage(client), queue_of(client).refusals)


def test_a_full_queue_refuses_with_a_typed_error_and_loses_nothing(data_dir: Path) -> None:
    with Stigg(catalog=CATALOG, data_dir=data_dir, queue_size=10, queue_wait_seconds=0) as client:
        provision(client)
        with held_up(client):
            for _ in range(10):
                client.report_usage("customer-2", CALLS, 1, durability="queued")
            with pytest.raises(UsageQueueFull) as caught:
                client.report_usage("customer-2", CALLS, 1, durability="queued")
            assert caught.value.retryable
            assert 10 == depth(client) == usage(client, "customer-2")
        client.flush(10)
        client.report_usage("customer-2", CALLS, 1, durability="queued")
    with client_of(data_dir) as client:
        assert 11 == usage(client, "customer-2")


def test_with_a_wait_a_small_queue_takes_any_number(data_dir: Path) -> None:
    with Stigg(catalog=CATALOG, data_dir=data_dir, queue_size=8, queue_wait_seconds=30) as client:
        provision(client)
        for _ in range(100):
            client.report_usage("customer-2", CALLS, 1, durability="queued")
    with client_of(data_dir) as client:
        assert 100 == usage(client, "customer-2")


def test_what_only_storing_finds_out_is_named(client: Stigg, monkeypatch: pytest.MonkeyPatch) -> None:
    """The customer is archived between the call and the transaction; the others of the batch are stored."""
    with held_up(client):
        client.report_usage(CUSTOMER, CALLS, 1)
        client.report_usage("customer-2", CALLS, 1)
    store = queue_of(client)._store

    def archive_first(groups: Sequence[Group]) -> list[Exception | None]:
        monkeypatch.setattr(queue_of(client), "_store", store)
        client.archive_customer(CUSTOMER)
        return store(groups)

    client.flush(10)
    with held_up(client):
        lost = client.report_usage(CUSTOMER, CALLS, 1)
        client.report_usage("customer-2", CALLS, 1)
        monkeypatch.setattr(queue_of(client), "_store", archive_first)
    client.flush(10)
    assert 2 == usage(client, "customer-2")
    error = client.status().last_error
    assert error is not None
    assert lost.measurement_id in error
    assert "CustomerNotFound" in error
    assert 1 == queue_of(client).refusals


def test_a_disk_that_fails_for_a_while_delays_and_loses_nothing(
    client: Stigg, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StoreError("planted")
    client.report_usage(CUSTOMER, CALLS, 1)
    client.flush(10)
    queue = queue_of(client)
    good = queue._store
    tries: list[int] = []

    def fail(groups: Sequence[Group]) -> list[Exception | None]:
        tries.append(len(groups))
        return [store for _ in groups] if len(tries) < 3 else good(groups)

    monkeypatch.setattr(queue, "_store", fail)
    client.report_usage(CUSTOMER, CALLS, 1)
    with pytest.raises(StoreError, match="planted"):
        client.flush(0.05)
    assert 2 == usage(client)
    assert "planted" in str(client.status().last_error)
    client.flush(30)
    assert len(tries) >= 3
    assert 2 == usage(client)
    assert client.status().last_error is None


def test_a_report_that_found_no_room_stays_visible_when_its_number_is_anothers(client: Stigg) -> None:
    """Nothing was committed, so that the transaction's number goes to whoever commits next."""
    client.report_usage(CUSTOMER, CALLS, 1)
    client.flush(10)
    queue = queue_of(client)
    good, failures = queue._store, list[int]()

    def full(groups: Sequence[Group]) -> list[Exception | None]:
        if not failures:
            groups[0].seq = 1
        failures.append(len(groups))
        return [StorageFull("planted") for _ in groups]

    queue._store = full
    client.report_usage(CUSTOMER, CALLS, 1)
    with pytest.raises(StoreError, match="planted"):
        queue.flush(30, is_patient=False)
    found = usage(client)
    queue._store = good
    client.flush(10)
    assert 2 == found == usage(client)


def test_closing_says_what_it_could_not_store(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Stigg(catalog=CATALOG, data_dir=data_dir)
    provision(client)
    client.report_usage(CUSTOMER, CALLS, 1, durability="queued")
    client.flush(10)
    monkeypatch.setattr(queue_of(client), "_store", lambda groups: [StoreError("planted") for _ in groups])
    monkeypatch.setattr("stigg_local.embedded.CLOSE_WAIT_S", 0.1)
    monkeypatch.setattr("stigg_local.store.store.CLOSE_WAIT_S", 0.1)
    client.report_usage(CUSTOMER, CALLS, 1, durability="queued")
    with pytest.raises(StoreError, match="1 queued reports are not stored"):
        client.close()
    with client_of(data_dir) as client:
        assert 1 == usage(client)


# ---------------------------------------------------------------------- ends of processes

LEAVING = """
if args[1] == "stay":
    # A thread that never ends does not keep the process from ending.
    import threading, time
    from stigg_local import writing
    writing.TERMINATION_GRACE_S = 0.1
    threading.Thread(target=time.sleep, args=(60,)).start()
client = Stigg(data_dir=args[0], durability="queued")
for _ in range(1000):
    client.report_usage("customer-2", "feature-calls", 1)
print("told", flush=True)
if args[1] != "go":
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["go", "wait", "stay"])
def test_what_was_queued_is_stored_at_a_normal_end(data_dir: Path, end: str) -> None:
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        provision(client)
        process = start(LEAVING, data_dir, end)
        assert process.stdout is not None
        assert "told\n" == process.stdout.readline()
        if end != "go":
            process.terminate()
        process.communicate(timeout=30)
        assert (0 if end == "go" else 128 + signal.SIGTERM) == process.returncode
        assert 1000 == usage(client, "customer-2")


def test_a_forked_child_leaves_the_queue_to_its_parent(client: Stigg, data_dir: Path) -> None:
    client.report_usage(CUSTOMER, CALLS, 1)
    client.flush(10)
    queue = queue_of(client)

    good, may_store = queue._store, threading.Event()

    def late(groups: Sequence[Group]) -> list[Exception | None]:
        may_store.wait()
        return good(groups)

    def work() -> None:
        queue._store = good
        assert 0 == depth(client)
        assert 1 == usage(client)
        # The parent's two are its own until they are stored; what the child reports is the child's.
        client.report_usage(CUSTOMER, CALLS, 10)
        client.flush(10)

    queue._store = late
    client.report_usage(CUSTOMER, CALLS, 1)
    client.report_usage(CUSTOMER, CALLS, 1)
    # So the child inherits what memory holds of the customer, too.
    assert 3 == usage(client)
    child = in_fork(work)
    assert 0 == wait(child)
    may_store.set()
    client.flush(10)
    assert 13 == usage(client)
    client.close()
    with client_of(data_dir) as client:
        assert 13 == usage(client)


def test_a_report_in_a_child_of_a_closed_client_is_refused(client: Stigg) -> None:
    client.report_usage(CUSTOMER, CALLS, 1)
    client.close()
    with pytest.raises(StiggError, match="closed"):
        client.report_usage(CUSTOMER, CALLS, 1)
    assert os.getpid() > 0


def test_queued_usage_that_crosses_a_threshold_is_told_once(client: Stigg) -> None:
    told: list[Any] = []
    client.add_listener("entitlement.usage_exceeded", told.append)
    with held_up(client):
        for _ in range(95):
            client.report_usage(CUSTOMER, CALLS, 1)
    client.flush(10)
    client.report_usage(CUSTOMER, CALLS, 1)
    client.flush(10)
    assert 1 == len(told)
