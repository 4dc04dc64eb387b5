"""Time: trials, starts, scheduled changes and free plans at their own instant."""

from typing import Any

import msgspec
import pytest

from stigg_local.core.catalog import TrialConfig
from stigg_local.core.customer import PromotionalEntitlement, status_of
from stigg_local.core.lifecycle import advance, due_ms, next_ms
from stigg_local.core.migrate import MigrateToLatest, migrate
from stigg_local.core.period import DAY_MS
from stigg_local.core.schedule import CancelScheduledUpdates, cancel_scheduled
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import TrialOverride
from stigg_local.errors import StiggError
from tests.builders import addon, customer, derived, gives, ms, plan
from tests.core.lives import PAID, T0, buy, change, end, flat, per_seat, plans_at, shop

JULY = ms("2025-07-01T00:00:00Z")
DOWN: dict[str, Any] = {"subscription_end_setup": "DOWNGRADE_TO_FREE", "downgrade_plan_id": "free"}


def kinds(events: Any) -> list[str]:
    return [item.type for item in events]


def test_a_record_without_anything_due_is_itself() -> None:
    """Nothing is copied on the way."""
    record = buy(customer(), shop(), "basic", **PAID).customer
    assert record is advance(record, shop(), to_ms=2**62).customer
    assert (None, None) == (next_ms(record), due_ms(record))


def test_a_trial_ends_at_its_very_millisecond() -> None:
    """Access on the last one, none on the next; what is paid beside it goes on."""
    compiled = shop()
    record = buy(customer(), compiled, "basic", **PAID).customer
    tried = buy(record, compiled, "tried", ms("2025-06-01T09:00:00Z"))
    ends = ms("2025-06-15T09:00:00Z")
    sources = derived(tried.customer, compiled, T0).sources
    assert [["basic", "tried"], ["basic"]] == [plans_at(sources, at) for at in (ends - 1, ends)]
    done = advance(tried.customer, compiled, to_ms=ends)
    assert ["trial.expired", "subscription.expired"] == kinds(done.events)
    assert [("system", ends)] * 2 == [(item.actor, item.at_ms) for item in done.events]
    ended = done.customer.subscriptions[-1]
    assert ("EXPIRED", "TrialEnded", ends) == (status_of(ended, ends), ended.cancel_reason, ended.end_ms)


def test_a_reverse_trial_leaves_the_free_plan_without_a_gap() -> None:
    """Its id follows from the trial's, and it is made once."""
    compiled = shop(**DOWN)
    tried = buy(customer(), compiled, "tried")
    ends = T0 + 14 * DAY_MS
    sources = derived(tried.customer, compiled, T0).sources
    assert [["tried"], ["free"]] == [plans_at(sources, at) for at in (ends - 1, ends)]
    done = advance(tried.customer, compiled, to_ms=ends + 5)
    assert [tried.subscription_id, f"{tried.subscription_id}-downgrade"] == [
        item.id for item in done.customer.subscriptions
    ]
    assert done.customer is advance(done.customer, compiled, to_ms=2**62).customer


def test_a_trial_that_converts_begins_its_billing_then() -> None:
    """In place, at the period that the plan is priced by; usage is not reset."""
    compiled = shop()
    turned = buy(customer(), compiled, "turns")
    ends = T0 + 14 * DAY_MS
    done = advance(turned.customer, compiled, to_ms=ends)
    item = done.customer.subscriptions[0]
    assert ("MONTHLY", ends, T0, ends) == (
        item.billing_period,
        item.billing_anchor_ms,
        item.usage_anchor_ms,
        item.converted_ms,
    )
    assert ["trial.converted"] == kinds(done.events)


def test_a_trial_override_says_when_and_how() -> None:
    """It beats the plan, the past and skip_trial."""
    compiled = shop()
    override = TrialOverride(is_trial=True, trial_end_ms=T0 + 5, trial_end_behavior="CANCEL_SUBSCRIPTION")
    made = buy(customer(), compiled, "basic", trial_override=override, skip_trial=True).subscription
    assert (T0 + 5, "CANCEL_SUBSCRIPTION") == (made.trial_end_ms, made.trial_end_behavior)
    none = buy(customer(), compiled, "tried", trial_override=TrialOverride(is_trial=False), **PAID).subscription
    assert none.trial_end_ms is None
    refused: list[dict[str, Any]] = [
        {"plan_id": "free", "trial_override": override},
        {"plan_id": "basic", "trial_override": TrialOverride(is_trial=True)},
        {"plan_id": "basic", "trial_override": TrialOverride(is_trial=True, trial_end_ms=T0)},
    ]
    for fields in refused:
        with pytest.raises(StiggError) as raised:
            buy(customer(), compiled, **fields)
        assert "InvalidArgumentError" == raised.value.code


def test_a_new_trial_ends_the_one_before() -> None:
    """At its start; a paid one is left alone."""
    compiled = shop()
    record = buy(buy(customer(), compiled, "basic", **PAID).customer, compiled, "tried").customer
    override = TrialOverride(is_trial=True, trial_end_ms=T0 + DAY_MS)
    made = buy(record, compiled, "pro", T0 + 5, trial_override=override)
    assert [("tried", "UpgradeOrDowngrade", T0 + 5)] == [
        (item.plan_id, item.cancel_reason, item.end_ms) for item in made.ended
    ]


def test_a_future_start_replaces_only_when_it_comes() -> None:
    """The cycle goes on; cancelled before, the old one goes on."""
    compiled = shop()
    record = buy(customer(), compiled, "basic", **PAID).customer
    starts = ms("2025-06-10T00:00:00Z")
    later = buy(record, compiled, "pro", T0 + 5, start_ms=starts, schedule_strategy="END_OF_BILLING_PERIOD", **PAID)
    assert "NOT_STARTED" == status_of(later.subscription, T0 + 5)
    sources = derived(later.customer, compiled, T0).sources
    assert [["basic"], ["pro"]] == [plans_at(sources, at) for at in (starts - 1, starts)]
    done = advance(later.customer, compiled, to_ms=starts)
    old, new = done.customer.subscriptions
    assert (starts, "UpgradeOrDowngrade", T0, starts) == (
        old.end_ms,
        old.cancel_reason,
        new.billing_anchor_ms,
        new.usage_anchor_ms,
    )
    undone = end(later.customer, compiled, later.subscription_id, T0 + 6)
    assert "CANCELED" == status_of(undone.subscription, T0 + 6)
    assert [["basic"], ["basic"]] == [
        plans_at(derived(undone.customer, compiled, T0).sources, at) for at in (starts - 1, starts)
    ]


def test_a_past_start_ends_the_old_one_then_but_not_before_its_own_start() -> None:
    """Without an overlap."""
    compiled = shop()
    record = buy(customer(), compiled, "free", T0).customer
    for past, expected in ((T0 + 50, T0 + 50), (T0 - 50, T0)):
        made = buy(record, compiled, "basic", T0 + 100, start_ms=past, **PAID)
        assert (past, expected) == (made.subscription.start_ms, made.customer.subscriptions[0].end_ms)


def test_a_downgrade_waits_for_the_end_of_the_period() -> None:
    """On the subscription that runs, at the version that is latest then; id, start and usage anchor stay."""
    compiled = shop()
    bought = buy(customer(), compiled, "pro", **PAID)
    planned = end(bought.customer, compiled, bought.subscription_id, T0 + 1, cancellation_time="END_OF_BILLING_PERIOD")
    waits = buy(planned.customer, compiled, "basic", T0 + 5, **PAID)
    assert (bought.subscription_id, None) == (waits.subscription_id, waits.subscription.cancellation_ms)
    assert [("Downgrade", JULY)] == [(item.kinds[0], item.execute_ms) for item in waits.subscription.scheduled_updates]
    newer = plan("basic", version=2, pricing_type="PAID", prices=(flat("11"), flat("100", "ANNUALLY")))
    published = Catalog([*_items(compiled), ("plan", newer)])
    sources = derived(waits.customer, published, T0).sources
    assert [["pro"], ["basic"]] == [plans_at(sources, at) for at in (JULY - 1, JULY)]
    done = advance(waits.customer, published, to_ms=JULY).customer.subscriptions[0]
    assert (bought.subscription_id, "basic", 2, 2, T0, T0, JULY, T0) == (
        done.id,
        done.plan_id,
        done.plan_version,
        done.price_version,
        done.start_ms,
        done.usage_anchor_ms,
        done.usage_cut_ms,
        done.billing_anchor_ms,
    )


def _items(compiled: Catalog) -> list[tuple[str, Any]]:
    return [
        *(("feature", item) for item in compiled.features.values()),
        *(("creditCurrency", item) for item in compiled.currencies.values()),
        *(("product", item) for item in compiled.products.values()),
        *(("plan", item.version) for item in compiled.packages.values()),
    ]


def test_a_scheduled_change_to_a_plan_that_is_gone_fails_and_changes_nothing() -> None:
    """What ran goes on."""
    compiled = shop()
    bought = buy(customer(), compiled, "pro", **PAID)
    waits = buy(bought.customer, compiled, "basic", T0 + 5, **PAID).customer
    gone = shop(plan("basic", status="ARCHIVED", pricing_type="PAID", prices=(flat("10"),)))
    done = advance(waits, gone, to_ms=JULY)
    assert [("pro", ())] == [(item.plan_id, item.scheduled_updates) for item in done.customer.subscriptions]
    assert "Failed" == done.events[0].data["schedule"]


def test_a_strategy_defers_an_upgrade_too() -> None:
    """And the billing month of an annual one is its anniversary's."""
    compiled = shop()
    start = ms("2025-01-31T00:00:00Z")
    bought = buy(customer(), compiled, "basic", start, billing_period="ANNUALLY")
    at = ms("2025-02-10T00:00:00Z")
    waits = buy(
        bought.customer, compiled, "pro", at, billing_period="ANNUALLY", schedule_strategy="END_OF_BILLING_MONTH"
    )
    assert [("Plan", ms("2025-02-28T00:00:00Z"))] == [
        (item.kinds[0], item.execute_ms) for item in waits.subscription.scheduled_updates
    ]
    at_once = buy(bought.customer, compiled, "free", at, schedule_strategy="IMMEDIATE")
    assert "free" == at_once.subscription.plan_id
    # Nothing to wait for where no period runs.
    free = buy(customer(), compiled, "free").customer
    moved = buy(free, compiled, "basic", T0 + 5, schedule_strategy="END_OF_BILLING_PERIOD", **PAID)
    assert ("basic", ()) == (moved.subscription.plan_id, moved.subscription.scheduled_updates)


def test_cancelled_at_the_end_of_the_period_the_free_plan_follows_at_once() -> None:
    """No gap at midnight; with REVOKE_ENTITLEMENTS nothing follows."""
    compiled = shop(**DOWN)
    bought = buy(customer(), compiled, "basic", **PAID)
    for action, after in (("DEFAULT", ["free"]), ("REVOKE_ENTITLEMENTS", [])):
        planned = end(
            bought.customer,
            compiled,
            bought.subscription_id,
            T0 + 5,
            cancellation_time="END_OF_BILLING_PERIOD",
            action=action,
        )
        assert "ACTIVE" == status_of(planned.subscription, JULY - 1)
        assert "CANCELED" == status_of(planned.subscription, JULY)
        sources = derived(planned.customer, compiled, T0).sources
        assert [["basic"], after] == [plans_at(sources, at) for at in (JULY - 1, JULY)]
        done = advance(planned.customer, compiled, to_ms=JULY).customer.subscriptions[0]
        assert (JULY, "ScheduledCancellation") == (done.end_ms, done.cancel_reason)


def test_no_free_plan_is_made_where_another_starts_at_that_instant() -> None:
    """The cancellation comes first, then the start, then the question of a free plan."""
    compiled = shop(**DOWN)
    bought = buy(customer(), compiled, "basic", **PAID)
    later = buy(bought.customer, compiled, "pro", T0 + 5, start_ms=JULY, **PAID)
    planned = end(later.customer, compiled, bought.subscription_id, T0 + 6, cancellation_time="END_OF_BILLING_PERIOD")
    done = advance(planned.customer, compiled, to_ms=JULY)
    assert ["basic", "pro"] == [item.plan_id for item in done.customer.subscriptions]
    assert "ScheduledCancellation" == done.customer.subscriptions[0].cancel_reason


def test_a_promotion_ends_once() -> None:
    """Its end is told at its own instant."""
    promotion = PromotionalEntitlement(entitlement=gives(), period="CUSTOM", start_ms=T0, end_ms=T0 + 5)
    record = customer(promotional_entitlements=(promotion,))
    assert T0 + 5 == due_ms(record)
    done = advance(record, shop(), to_ms=T0 + 9)
    assert [("promotional_entitlement.expired", T0 + 5)] == [(item.type, item.at_ms) for item in done.events]
    assert done.customer is advance(done.customer, shop(), to_ms=2**62).customer


def test_a_migration_moves_prices_as_well() -> None:
    """At the end of the period or at once; twice is refused, and so is what is on the latest."""
    compiled = shop()
    bought = buy(customer(), compiled, "basic", **PAID)
    command = MigrateToLatest(subscription_id=bought.subscription_id)
    with pytest.raises(StiggError) as raised:
        migrate(bought.customer, compiled, command, now_ms=T0)
    assert "SubscriptionAlreadyOnLatestPlanError" == raised.value.code
    newer = plan("basic", version=2, pricing_type="PAID", prices=(flat("16"),))
    published = Catalog([*_items(compiled), ("plan", newer)])
    at = ms("2025-06-21T00:00:00Z")
    waits = migrate(bought.customer, published, command, now_ms=at)
    assert [(1, JULY)] == [(waits.subscription.plan_version, waits.subscription.scheduled_updates[0].execute_ms)]
    with pytest.raises(StiggError) as raised:
        migrate(waits.customer, published, command, now_ms=at)
    assert "ScheduledMigrationAlreadyExistsError" == raised.value.code
    done = advance(waits.customer, published, to_ms=JULY).customer.subscriptions[0]
    assert (2, 2, T0) == (done.plan_version, done.price_version, done.usage_cut_ms)
    now = MigrateToLatest(subscription_id=bought.subscription_id, migration_time="IMMEDIATE")
    charged = migrate(bought.customer, published, now, now_ms=at, charges=True)
    assert charged.charge is not None
    # 20 to 26 in the vector, 10 to 16 here: a third of each.
    assert ["-3.33", "5.33"] == [str(line.amount) for line in charged.charge.lines]
    back = cancel_scheduled(
        waits.customer, published, CancelScheduledUpdates(subscription_id=bought.subscription_id), now_ms=at
    )
    assert () == back.subscription.scheduled_updates
    with pytest.raises(StiggError) as raised:
        cancel_scheduled(
            back.customer, published, CancelScheduledUpdates(subscription_id=bought.subscription_id), now_ms=at
        )
    assert "FutureUpdateNotFound" == raised.value.code


def test_what_a_refused_command_was_given_stays_as_it_was() -> None:
    """The record is a value: nothing of it is changed in place."""
    compiled = shop()
    record = buy(customer(), compiled, "basic", **PAID).customer
    before = msgspec.json.encode(record)
    with pytest.raises(StiggError):
        buy(record, compiled, "pro", T0 + 5, units=(("seats", 1),), **PAID)
    assert before == msgspec.json.encode(record)


def test_a_change_that_fails_ahead_is_one_interval() -> None:
    """The source goes on over the instant at which nothing came of it."""
    compiled = shop()
    bought = buy(customer(), compiled, "pro", **PAID)
    waits = buy(bought.customer, compiled, "basic", T0 + 5, **PAID).customer
    gone = shop(plan("basic", status="ARCHIVED", pricing_type="PAID", prices=(flat("10"),)))
    assert [(T0, 2**63 - 1)] == [(item.start_ms, item.end_ms) for item in derived(waits, gone, T0).sources]


def test_whoever_goes_on_with_the_cycle_is_the_heir() -> None:
    """Buying the same plan again keeps the window; another plan starts anew."""
    compiled = shop(downgrade_time="IMMEDIATE")
    first = buy(customer(), compiled, "basic", **PAID)
    again = buy(first.customer, compiled, "basic", T0 + 5, **PAID)
    assert {first.subscription_id: again.subscription_id} == again.heirs
    assert {} == buy(again.customer, compiled, "pro", T0 + 9, **PAID).heirs


def test_a_future_trial_begins_when_it_comes() -> None:
    """Its end follows from its start, and it counts as the one trial before."""
    compiled = shop()
    starts = T0 + DAY_MS
    later = buy(customer(), compiled, "tried", start_ms=starts)
    assert (starts + 14 * DAY_MS, "NOT_STARTED") == (
        later.subscription.trial_end_ms,
        status_of(later.subscription, T0),
    )
    assert None is buy(later.customer, compiled, "turns", T0 + 5, **PAID).subscription.trial_end_ms
    done = advance(later.customer, compiled, to_ms=starts)
    assert ["trial.started", "subscription.updated"] == kinds(done.events)


def test_what_has_not_started_changes_from_its_start_on() -> None:
    """Another billing period begins with it, not with the command."""
    compiled = shop()
    starts = T0 + DAY_MS
    later = buy(customer(), compiled, "basic", start_ms=starts, **PAID)
    yearly = change(later.customer, compiled, later.subscription_id, T0 + 5, billing_period="ANNUALLY", charges=True)
    assert (None, "ANNUALLY", starts) == (
        yearly.charge,
        yearly.subscription.billing_period,
        yearly.subscription.billing_anchor_ms,
    )


@pytest.mark.parametrize(
    ("before", "latest", "code"),
    [
        ({"pricing_type": "FREE"}, {"pricing_type": "PAID", "prices": (flat("9"),)}, "BillingPeriodMissingError"),
        (
            {"pricing_type": "PAID", "prices": (flat("9"),)},
            {"pricing_type": "PAID", "prices": (flat("9", "ANNUALLY"),)},
            "PriceNotFound",
        ),
    ],
)
def test_a_version_that_has_to_be_bought_is_not_migrated_to(
    before: dict[str, Any], latest: dict[str, Any], code: str
) -> None:
    """Its period and quantities are not known."""
    compiled = shop(plan("moving", **before))
    period = PAID if before["pricing_type"] == "PAID" else {}
    made = buy(customer(), compiled, "moving", **period)
    newer = Catalog([*_items(compiled), ("plan", plan("moving", version=2, **latest))])
    with pytest.raises(StiggError) as raised:
        migrate(made.customer, newer, MigrateToLatest(subscription_id=made.subscription_id), now_ms=T0)
    assert code == raised.value.code


def test_one_subscription_has_one_currency_and_one_coupon() -> None:
    """An add-on in another currency is refused, and so are two discounts."""
    strange = shop(addon("more", prices=(flat("4", currency="EUR"),)))
    for compiled, fields, code in (
        (strange, {"addons": (("more", 1),)}, "PriceNotFound"),
        (shop(), {"promotion_code": "A", "coupon_id": "b"}, "InvalidArgumentError"),
        (shop(), {"coupon_id": "b"}, "CouponNotFound"),
        (shop(), {"billing_country_code": "DE", "billing_period": "ANNUALLY"}, None),
    ):
        given: dict[str, Any] = {**PAID, **fields}
        if code is None:
            assert "DE" == buy(customer(), compiled, "basic", **given).subscription.billing_country_code
            continue
        with pytest.raises(StiggError) as raised:
            buy(customer(), compiled, "basic", **given)
        assert code == raised.value.code
    local = shop(plan("local", pricing_type="PAID", prices=(flat("9", billing_country_code="DE"),)))
    with pytest.raises(StiggError) as raised:
        buy(customer(), local, "local", **PAID)
    assert "PriceNotFound" == raised.value.code


def test_a_past_start_leaves_no_overlap_with_what_ended_meanwhile() -> None:
    """Only the overlap goes; why it ended stays."""
    compiled = shop()
    first = buy(customer(), compiled, "free")
    gone = end(first.customer, compiled, first.subscription_id, T0 + 50)
    made = buy(gone.customer, compiled, "basic", T0 + 100, start_ms=T0 + 20, **PAID)
    old = made.customer.subscriptions[0]
    assert (T0 + 20, "Immediate", ()) == (old.end_ms, old.cancel_reason, made.ended)


def test_a_migration_at_once_gives_back_what_became_cheaper() -> None:
    """Without a provider nothing is collected; add-ons move too."""
    compiled = shop()
    bought = buy(customer(), compiled, "basic", addons=(("more", 1),), **PAID)
    cheaper = plan("basic", version=2, pricing_type="PAID", prices=(flat("7"),), compatible_addon_ids=("more",))
    newer = Catalog([*_items(compiled), ("plan", cheaper), ("addon", addon("more", version=2, prices=(flat("4"),)))])
    now = MigrateToLatest(subscription_id=bought.subscription_id, migration_time="IMMEDIATE")
    done = migrate(bought.customer, newer, now, now_ms=ms("2025-06-16T00:00:00Z"))
    assert (2, 2, "1.50") == (
        done.subscription.plan_version,
        done.subscription.addons[0].version,
        str(done.credit),
    )


def test_fewer_seats_while_a_plan_change_waits_wait_with_it() -> None:
    """The seats that are paid for stay until then."""
    compiled = shop(plan("small", pricing_type="PAID", prices=(per_seat("5"),)))
    bought = buy(customer(), compiled, "team", units=(("seats", 5),), **PAID)
    waits = buy(bought.customer, compiled, "small", T0 + 5, units=(("seats", 5),), **PAID)
    fewer = change(waits.customer, compiled, bought.subscription_id, T0 + 9, units=(("seats", 2),))
    assert (5, "small", {"seats": 2}) == (
        fewer.subscription.units["seats"],
        fewer.subscription.scheduled_updates[0].plan_id,
        fewer.subscription.scheduled_updates[0].units,
    )


@pytest.mark.parametrize(("periods", "expected"), [(("ANNUALLY", "MONTHLY"), "MONTHLY"), (("ANNUALLY",), "ANNUALLY")])
def test_a_trial_without_a_period_converts_to_the_monthly_one(periods: tuple[str, ...], expected: str) -> None:
    """Where it is priced so; else to the first price's."""
    turns = plan(
        "turns",
        pricing_type="PAID",
        prices=tuple(flat("30", period) for period in periods),
        default_trial_config=TrialConfig(duration=14),
    )
    compiled = shop(turns)
    tried = buy(customer(), compiled, "turns")
    done = advance(tried.customer, compiled, to_ms=T0 + 14 * DAY_MS).customer
    assert [(None, expected)] == [(tried.subscription.billing_period, done.subscriptions[0].billing_period)]


def test_what_has_ended_has_nothing_left_to_come() -> None:
    compiled = shop()
    bought = buy(customer(), compiled, "pro", **PAID)
    waits = buy(bought.customer, compiled, "basic", T0 + 5, **PAID)
    assert waits.subscription.scheduled_updates
    ended = end(waits.customer, compiled, waits.subscription_id, T0 + 6, cancellation_time="IMMEDIATE")
    assert (T0 + 6, ()) == (ended.subscription.end_ms, ended.subscription.scheduled_updates)


@pytest.mark.parametrize(("rule", "is_kept"), [("NEVER_RESET", True), ("ALWAYS_RESET", False)])
def test_a_free_plan_counts_on_where_usage_is_never_reset(rule: str, is_kept: bool) -> None:
    """From the cut of what ended, where that was moved before; else from its own start."""
    compiled = shop(**DOWN, usage_reset_on_plan_change=rule)
    bought = buy(customer(), compiled, "basic", **PAID)
    at = T0 + 5 * DAY_MS
    ended = end(bought.customer, compiled, bought.subscription_id, at, cancellation_time="IMMEDIATE")
    free = ended.customer.subscriptions[-1]
    since = T0 if is_kept else at
    assert ("free", since, since) == (free.plan_id, free.usage_anchor_ms, free.usage_cut_ms)
