"""Events that cost credits: charged is the increase of each aggregate in the window of the event's own time."""

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stigg_local import Stigg
from stigg_local.core.period import to_ms, to_text
from stigg_local.testing import ManualClock
from tests.usage.model import DAY, Said, metered

START = "2025-01-31T10:00:00Z"
RATES = {"sum": "2", "unique": "10", "max": "0.5", "avg": "1"}
METERS: dict[str, dict[str, Any]] = {
    "sum": {"function": "SUM", "field": "d"},
    "unique": {"function": "UNIQUE", "field": "user"},
    "max": {"function": "MAX", "field": "d"},
    "avg": {"function": "AVG", "field": "d"},
}
CATALOG: dict[str, Any] = {
    "schema": 1,
    "features": [
        {"id": item, "featureType": "Numeric", "meterType": "Incremental", "scale": 2, "meter": meter}
        for item, meter in METERS.items()
    ],
    "creditCurrencies": [{"id": "credits"}],
    "products": [{"id": "product"}],
    "plans": [
        {
            "id": "plan",
            "productId": "product",
            "pricingType": "FREE",
            "entitlements": [
                {
                    "featureId": item,
                    "isUnlimited": True,
                    "resetPeriod": "DAY",
                    "creditRate": {"currencyId": "credits", "amount": rate},
                }
                for item, rate in RATES.items()
            ],
        }
    ],
}
# (hours since the event before, hours back, user, amount)
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 5, 20]),
        st.sampled_from([0, 0, 1, 12, 25]),
        st.sampled_from(["u1", "u2"]),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(given_steps=steps, is_batch=st.booleans())
def test_credits_are_charged_by_the_increase_of_each_aggregate(
    given_steps: list[tuple[int, int, str, int]], is_batch: bool
) -> None:
    clock, start = ManualClock(START), to_ms(START, name="start")
    now, charged = start, Decimal(0)
    said: list[Said] = []
    with Stigg(catalog=CATALOG, clock=clock) as client:
        client.provision_customer("c", subscription_params={"plan_id": "plan"})
        client.grant_credits("c", "credits", 1000)
        waiting: list[dict[str, Any]] = []
        for number, (wait, back, user, amount) in enumerate(given_steps):
            if not is_batch:
                clock.advance(seconds=wait * 3600)
                now += wait * 3_600_000
            at = max(start, now - back * 3_600_000)
            before = {item: _usage(item, said, start, at) for item in METERS}
            said.append(Said(at, "", name="use", dimensions={"user": user, "d": amount}))
            for item, rate in RATES.items():
                charged += max(Decimal(0), _usage(item, said, start, at) - before[item]) * Decimal(rate)
            waiting.append(
                {
                    "customer_id": "c",
                    "event_name": "use",
                    "idempotency_key": f"k{number}",
                    "dimensions": {"user": user, "d": amount},
                    "timestamp": to_text(at),
                }
            )
            if not is_batch:
                client.report_event(waiting.pop(), durability="os")
        client.report_event(waiting)
        assert 1000 - charged == Decimal(repr(client.get_credit_entitlement("c", "credits").current_balance))


def _usage(item: str, said: list[Said], start: int, at: int) -> Decimal:
    begin = start + (at - start) // DAY * DAY
    mine = [event for event in said if begin <= event.at < begin + DAY]
    return metered({"scale": 2, "meter": METERS[item]}, mine)
