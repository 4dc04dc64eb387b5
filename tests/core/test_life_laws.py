"""Laws of the life cycle over random catalogs, commands, payments and jumps of the clock."""

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stigg_local.core.catalog import TrialConfig
from stigg_local.core.customer import Customer, is_trial_at
from stigg_local.core.decided import Decided
from stigg_local.core.event import Event
from stigg_local.core.lifecycle import advance, next_ms
from stigg_local.core.payment import PaymentOutcome
from stigg_local.core.period import DAY_MS
from stigg_local.core.place import is_running
from stigg_local.core.settlement import apply_outcome, charges_due, park, settle, unpark
from stigg_local.core.sources import Catalog
from stigg_local.core.subscription import TrialOverride
from stigg_local.errors import StiggError
from tests.builders import customer, derived, plan
from tests.core.lives import T0, buy, change, end, flat, plans_at, shop

DOWN: dict[str, Any] = {"subscription_end_setup": "DOWNGRADE_TO_FREE", "downgrade_plan_id": "free"}
RULES = ("ALWAYS_RESET", "NEVER_RESET", "BILLING_PERIOD_CHANGE")
WORLDS = [
    shop(
        plan(
            "turns",
            pricing_type="PAID",
            prices=(flat("30"),),
            default_trial_config=TrialConfig(duration=3),
        ),
        **ends,
        downgrade_time=when,
        usage_reset_on_plan_change=rule,
    )
    for ends in ({}, DOWN)
    for when in ("IMMEDIATE", "END_OF_BILLING_PERIOD")
    for rule in RULES
]
JUMPS = st.sampled_from([0, 1, 1000, DAY_MS, 3 * DAY_MS, 14 * DAY_MS, 30 * DAY_MS, 61 * DAY_MS])
PLANS = st.sampled_from(["free", "basic", "pro", "team", "custom", "tried", "turns"])
WORD = st.sampled_from
OUTCOMES = WORD(["PAID", "FAILED", "PROCESSING", "CHECKOUT", "LATER"])
STEPS = st.lists(
    st.tuples(
        JUMPS,
        st.one_of(
            st.fixed_dictionaries(
                {"plan_id": PLANS, "units": st.sampled_from([(), (("seats", 2),), (("seats", 3),)])},
                optional={
                    "billing_period": WORD(["MONTHLY", "ANNUALLY"]),
                    "start": WORD([-3 * DAY_MS, -1, 1, 14 * DAY_MS, 40 * DAY_MS]),
                    "skip_trial": st.booleans(),
                    "schedule_strategy": WORD(["IMMEDIATE", "END_OF_BILLING_PERIOD", "END_OF_BILLING_MONTH"]),
                    "billing_cycle_anchor": WORD(["NOW", "UNCHANGED"]),
                    "trial": WORD([1, 3 * DAY_MS, 14 * DAY_MS]),
                    "outcome": OUTCOMES,
                },
            ),
            st.fixed_dictionaries(
                {"pick": st.integers(0, 9)},
                optional={
                    "addons": WORD([(), (("more", 1),), (("more", 2),)]),
                    "units": WORD([(("seats", 1),), (("seats", 4),)]),
                    "billing_period": WORD(["MONTHLY", "ANNUALLY"]),
                    "cancellation": WORD([None, 1, 5 * DAY_MS, 30 * DAY_MS]),
                    "trial_end": WORD([1, 5 * DAY_MS]),
                    "outcome": OUTCOMES,
                },
            ),
            st.fixed_dictionaries(
                {
                    "cancels": st.integers(0, 9),
                    "cancellation_time": WORD([None, "IMMEDIATE", "END_OF_BILLING_PERIOD", "SPECIFIC_DATE"]),
                    "action": WORD(["DEFAULT", "REVOKE_ENTITLEMENTS"]),
                }
            ),
        ),
    ),
    max_size=8,
)


def act(record: Customer, compiled: Catalog, now: int, step: dict[str, Any]) -> Customer:
    """One command; what is refused is the record as it was."""
    step = dict(step)
    outcome = step.pop("outcome", None)
    if outcome is not None:
        step["charges"] = True
    try:
        record, due = charges_due(record, compiled, now_ms=now)
        for invoice in due:
            answer = PaymentOutcome(outcome="FAILED" if outcome == "LATER" else outcome or "PAID")
            record = apply_outcome(record, compiled, invoice, answer, now_ms=now).customer
        if "plan_id" in step:
            if "start" in step:
                step["start_ms"] = now + step.pop("start")
            if "trial" in step:
                step["trial_override"] = TrialOverride(is_trial=True, trial_end_ms=now + step.pop("trial"))
            if step["plan_id"] != "team":
                step["units"] = ()
            return paid_for(buy(record, compiled, at_ms=now, **step), compiled, now, outcome)
        known = [item.id for item in record.subscriptions]
        if not known:
            return record
        if "cancels" in step:
            chosen = known[step.pop("cancels") % len(known)]
            if step["cancellation_time"] == "SPECIFIC_DATE":
                step["end_ms"] = now + 5 * DAY_MS
            return end(record, compiled, chosen, now, **step).customer
        chosen = known[step.pop("pick") % len(known)]
        if "cancellation" in step:
            after = step.pop("cancellation")
            step["cancellation_ms"] = None if after is None else now + after
        if "trial_end" in step:
            step["trial_end_ms"] = now + step.pop("trial_end")
        return paid_for(change(record, compiled, chosen, now, **step), compiled, now, outcome)
    except StiggError:
        return record


def paid_for(decided: Decided, compiled: Catalog, now: int, outcome: str | None) -> Customer:
    """The record after the answer of a payment provider, where one was asked."""
    if decided.charge is None or outcome is None:
        return decided.customer
    if outcome == "CHECKOUT":
        record, parked = park(decided.customer, compiled, decided.charge, now_ms=now)
        return unpark(record, compiled, parked, now_ms=now).customer
    answer = PaymentOutcome(outcome="FAILED" if outcome == "LATER" else outcome)
    done = apply_outcome(decided.customer, compiled, decided.charge, answer, now_ms=now)
    if outcome == "LATER":
        done = settle(done.customer, compiled, done.subscription_id, paid=True, now_ms=now)
    return done.customer


def law(examples: int) -> settings:
    """Settings of a law: the same examples each time."""
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def lived(world: int, steps: Any) -> list[tuple[int, Customer]]:
    """Each instant of a life, with the record as it was written then."""
    compiled, now, record = WORLDS[world], T0, customer()
    written = [(now, record)]
    for jump, step in steps:
        now += jump
        record = act(record, compiled, now, step)
        written.append((now, record))
    return written


@law(80)
@given(st.integers(0, len(WORLDS) - 1), STEPS, st.lists(st.integers(0, 400 * DAY_MS), max_size=4))
def test_advancing_in_steps_is_advancing_at_once(world: int, steps: Any, stops: list[int]) -> None:
    """Whatever instants a tick runs at: record and events are the same."""
    compiled = WORLDS[world]
    now, record = lived(world, steps)[-1]
    last = now + 400 * DAY_MS
    at_once = advance(record, compiled, to_ms=last)
    stepped = record
    events: list[Event] = []
    for stop in [*sorted(now + item for item in stops), last]:
        done = advance(stepped, compiled, to_ms=stop)
        stepped, events = done.customer, [*events, *done.events]
    assert (at_once.customer, at_once.events) == (stepped, tuple(events))
    assert record == msgspec.json.decode(msgspec.json.encode(record), type=Customer)


@law(80)
@given(st.integers(0, len(WORLDS) - 1), STEPS)
def test_the_snapshot_gives_what_the_advanced_record_gives(world: int, steps: Any) -> None:
    """At every boundary, and the millisecond before it; in one place one runs, beside one trial at most."""
    compiled = WORLDS[world]
    for now, record in lived(world, steps):
        sources = derived(record, compiled, now).sources
        edges = {at for item in sources for at in (item.start_ms, item.end_ms) if now <= at < 2**62}
        due, ahead = next_ms(record), record
        while due is not None:
            edges.add(due)
            ahead = advance(ahead, compiled, to_ms=due).customer
            due = next_ms(ahead)
        for at in sorted(at for at in {now, *edges, *(edge - 1 for edge in edges)} if at >= now):
            running = [
                item for item in advance(record, compiled, to_ms=at).customer.subscriptions if is_running(item, at)
            ]
            assert sorted(item.plan_id for item in running) == plans_at(sources, at)
            trials = [is_trial_at(item, at) for item in running]
            assert (trials.count(True) <= 1, trials.count(False) <= 1) == (True, True)


@law(80)
@given(st.integers(0, len(WORLDS) - 1), STEPS)
def test_access_has_no_overlap_in_the_record_either(world: int, steps: Any) -> None:
    """Of the non-trial parts of what ran in one place, none overlaps another, also where a start lies in the past."""
    compiled = WORLDS[world]
    now, record = lived(world, steps)[-1]
    done = advance(record, compiled, to_ms=now + 400 * DAY_MS).customer
    parts = []
    for item in done.subscriptions:
        if item.payment_due_ms is not None:
            # It was never paid, and never entitled.
            continue
        begins = max(item.start_ms, item.trial_end_ms or 0)
        ends = 2**62 if item.end_ms is None else item.end_ms
        if begins < ends:
            parts.append((begins, ends))
    parts.sort()
    assert all(one[1] <= other[0] for one, other in pairwise(parts)), parts


@law(80)
@given(STEPS)
def test_a_customer_who_has_a_plan_is_never_without_one(steps: Any) -> None:
    """Where ends downgrade to free and nothing is revoked, there is no gap from the first start on."""
    for world in (index for index, item in enumerate(WORLDS) if item.products["product"].settings.downgrade_plan_id):
        kept = [
            (jump, {**step, "action": "DEFAULT"})
            for jump, step in steps
            if "cancels" not in step or step["cancels"] % 2
            for step in [step]
            if "plan_id" not in step or "start" not in step
        ]
        seen = False
        for now, record in lived(world, [(jump, _without_action(step)) for jump, step in kept]):
            compiled = WORLDS[world]
            free = [item for item in record.subscriptions if item.plan_id == "free" and item.end_ms is not None]
            if any(item.cancel_reason in ("Immediate", "ScheduledCancellation") for item in free):
                break
            at: int | None = now
            ahead = record
            while at is not None:
                ahead = advance(ahead, compiled, to_ms=at).customer
                seen = seen or any(is_running(item, at) for item in ahead.subscriptions)
                ended_free = any(
                    item.plan_id == "free" and item.cancel_reason in ("Immediate", "ScheduledCancellation")
                    for item in ahead.subscriptions
                )
                assert not seen or ended_free or any(is_running(item, at) for item in ahead.subscriptions)
                at = next_ms(ahead)


def _without_action(step: dict[str, Any]) -> dict[str, Any]:
    return step if "cancels" in step else {key: step[key] for key in step if key not in ("action", "outcome")}
