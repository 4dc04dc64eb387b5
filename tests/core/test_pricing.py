"""Money: tiers, rounding, comparison and proration, with figures worked by hand."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from stigg_local.core.catalog import Coupon, MoneyAmount, OveragePrice, PromotionCode, Tier
from stigg_local.core.customer import AppliedCoupon, SubscriptionAddon
from stigg_local.core.discounts import check_amount, with_code
from stigg_local.core.period import add_months
from stigg_local.core.price_choice import entry_price
from stigg_local.core.pricing import (
    coupon_holds,
    difference,
    discount,
    is_downgrade,
    price_of,
    recurring,
    share,
    total,
)
from stigg_local.core.sources import Catalog
from stigg_local.errors import NotAllowed
from tests.builders import ms, plan, price, subscription
from tests.core.lives import T0, flat, shop

RATES = ((5, "20", "10"), (10, "15", "8"), (None, "10", "5"))


def tiers(*, flats: bool, units: bool = True) -> tuple[Tier, ...]:
    return tuple(
        Tier(
            up_to=top,
            unit_amount=Decimal(unit) if units else None,
            flat_amount=Decimal(fixed) if flats else None,
        )
        for top, unit, fixed in RATES
    )


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (0, ("0", "0", "0", "0")),
        (1, ("20", "30", "20", "30")),
        (5, ("100", "110", "100", "110")),
        (6, ("115", "133", "90", "98")),
        (10, ("175", "193", "150", "158")),
        (11, ("185", "208", "110", "115")),
        (20, ("275", "298", "200", "205")),
    ],
)
def test_tiers_price_units_as_the_table_says(quantity: int, expected: tuple[str, ...]) -> None:
    """Graduated by what lies in each tier, volume by the one that holds the total."""
    found = tuple(
        price_of(price(tiers_mode=mode, tiers=tiers(flats=flats)), quantity)
        for mode in ("GRADUATED", "VOLUME")
        for flats in (False, True)
    )
    assert tuple(map(Decimal, expected)) == found


@pytest.mark.parametrize(("quantity", "blocks"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_blocks_are_begun_whole(quantity: int, blocks: int) -> None:
    """Two and a half thousand in packs of a thousand at 44 are 132."""
    assert Decimal(44 * blocks) == price_of(price(unit_amount=Decimal(44), block_size=1000), quantity)


@pytest.mark.parametrize(
    ("start", "end", "at", "old", "new", "currency", "expected"),
    [
        ("2025-06-01", "2025-07-01", "2025-06-16", "10", "20", "USD", ("5.00", "10.00")),
        ("2025-01-01", "2025-02-01", "2025-01-15", "100", "200", "USD", ("54.84", "109.68")),
        ("2025-01-01", "2025-02-01", "2025-01-15T13:37:05", "29", "49", "USD", ("15.37", "25.97")),
        ("2025-02-01", "2025-03-01", "2025-02-11T06:00:00", "29.99", "99.99", "USD", ("19.01", "63.39")),
        ("2025-01-31", "2025-02-28", "2025-02-14", "30", "60", "USD", ("15.00", "30.00")),
        ("2024-01-01", "2025-01-01", "2024-07-01", "1200", "2400", "USD", ("603.28", "1206.56")),
        ("2025-06-01", "2025-07-01", "2025-06-13", "249", "99", "USD", ("149.40", "59.40")),
        ("2025-06-01", "2025-07-01", "2025-06-30T23:59:59", "10", "20", "USD", ("0.00", "0.00")),
        # A second that has begun counts: 1 of 2,592,000 seconds of 2592000.
        ("2025-06-01", "2025-07-01", "2025-06-30T23:59:59.999", "2592000", "1", "USD", ("1.00", "0.00")),
        ("2025-06-01", "2025-07-01", "2025-06-11", "980", "1980", "JPY", ("653", "1320")),
    ],
)
def test_a_share_is_by_the_second(
    start: str, end: str, at: str, old: str, new: str, currency: str, expected: tuple[str, str]
) -> None:
    """The actual length of the period counts, never thirty days."""
    instants = [ms(f"{text}Z" if "T" in text else f"{text}T00:00:00Z") for text in (start, end, at)]
    found = [share(Decimal(amount), instants[2], (instants[0], instants[1]), currency) for amount in (old, new)]
    assert list(map(Decimal, expected)) == found


def sold(plan_id: str = "basic", **fields: Any) -> Any:
    defaults: dict[str, Any] = {"billing_period": "MONTHLY", "start_ms": T0}
    return subscription(plan_id=plan_id, **{**defaults, **fields})


def test_what_did_not_change_gives_no_line() -> None:
    """Only the add-on is paid for, for the rest of the month."""
    compiled = shop()
    more = (SubscriptionAddon(addon_id="more", version=1, quantity=2),)
    currency, lines = difference(sold(), sold(addons=more), compiled, ms("2025-06-16T00:00:00Z"))
    assert ("USD", [("more", Decimal("4.00"))]) == (currency, [(line.package_id, line.amount) for line in lines])
    assert Decimal("18.00") == recurring(sold(addons=more), compiled).subtotal


def test_a_new_cycle_costs_in_full_and_gives_the_rest_back() -> None:
    """Monthly 20 to annual 200 on the 21st of June: 6.67 back."""
    at = ms("2025-06-21T00:00:00Z")
    after = sold("pro", billing_period="ANNUALLY", billing_anchor_ms=at)
    _, lines = difference(sold("pro"), after, shop(), at)
    assert Decimal("193.33") == total(lines)
    _, free = difference(sold("pro"), sold("free", billing_period=None), shop(), at)
    assert Decimal("-6.67") == total(free)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (sold("basic"), sold("pro"), False),
        (sold("pro"), sold("basic"), True),
        (sold("pro"), sold("basic", billing_period="ANNUALLY"), True),
        (sold("basic"), sold("pro", billing_period="ANNUALLY"), False),
        (sold("pro"), sold("free", billing_period=None), True),
        (sold("free", billing_period=None), sold("free", billing_period=None), False),
        (sold("basic"), sold("basic", billing_period="ANNUALLY"), False),
        (sold("basic", billing_period="ANNUALLY"), sold("basic"), True),
        (sold("team", units={"seats": 5}), sold("team", units={"seats": 4}), True),
        (sold("team", units={"seats": 5}), sold("team", units={"seats": 6}), False),
        (sold(addons=(SubscriptionAddon(addon_id="more", version=1),)), sold(), True),
        (sold("pro"), sold("custom", billing_period=None), False),
        (sold("custom", billing_period=None), sold("pro"), True),
        (sold("tried"), sold("turns"), False),
    ],
)
def test_less_is_a_downgrade(before: Any, after: Any, expected: bool) -> None:
    """By the monthly list price between plans, by what is lowered within one."""
    assert expected == is_downgrade(before, after, shop())


def test_another_currency_is_an_upgrade() -> None:
    """There is no rate to compare by."""
    from tests.builders import plan

    euro = plan("euro", pricing_type="PAID", prices=(flat("1", currency="EUR"),))
    assert not is_downgrade(sold("pro"), sold("euro"), shop(euro))


def test_a_country_has_its_own_price() -> None:
    """Else the default one holds."""
    from tests.builders import plan

    local = plan(
        "local", pricing_type="PAID", prices=(flat("49"), flat("45", currency="EUR", billing_country_code="DE"))
    )
    compiled = shop(local)
    found = [recurring(sold("local", billing_country_code=country), compiled) for country in ("DE", "FR", None)]
    assert [("EUR", Decimal(45)), ("USD", Decimal(49)), ("USD", Decimal(49))] == [
        (item.currency, item.subtotal) for item in found
    ]


def test_a_coupon_never_takes_more_than_there_is() -> None:
    """Percent of the subtotal, or a fixed amount of its currency; nothing off a credit."""
    half = Coupon(id="half", type="PERCENTAGE", percent_off=Decimal(50))
    fixed = Coupon(id="fixed", type="FIXED", amounts_off=(MoneyAmount(amount=Decimal(200), currency="USD"),))
    assert Decimal("2.50") == discount(half, Decimal("5.00"), "USD")
    assert Decimal(100) == discount(fixed, Decimal(100), "USD")
    assert Decimal(0) == discount(half, Decimal(-5), "USD")
    both = (MoneyAmount(amount=Decimal(3), currency="EUR"), MoneyAmount(amount=Decimal(5), currency="USD"))
    by_currency = Coupon(id="fixed", type="FIXED", amounts_off=both)
    assert [Decimal(3), Decimal(5), Decimal(0)] == [
        discount(by_currency, Decimal(9), currency) for currency in ("EUR", "USD", "GBP")
    ]
    with pytest.raises(NotAllowed):
        check_amount(AppliedCoupon(coupon=fixed, start_ms=0), "EUR")
    check_amount(AppliedCoupon(coupon=fixed, start_ms=0), "USD")


def test_a_repeating_coupon_ends_by_its_months() -> None:
    """Three months from 11-30 hold on 01-30 and not on 02-28."""
    start = ms("2025-11-30T00:00:00Z")
    coupon = Coupon(id="half", type="PERCENTAGE", percent_off=Decimal(50), duration_in_months=3)
    applied = AppliedCoupon(coupon=coupon, start_ms=start)
    assert [True, True, True, False] == [coupon_holds(applied, add_months(start, n)) for n in range(4)]
    once = Coupon(id="once", type="PERCENTAGE", percent_off=Decimal(50), once=True)
    assert [True, False] == [
        coupon_holds(AppliedCoupon(coupon=once, start_ms=start, is_used=used), start) for used in (False, True)
    ]


def test_a_code_is_redeemed_as_often_as_it_may_be() -> None:
    half = Coupon(id="half", type="PERCENTAGE", percent_off=Decimal(50))
    code = PromotionCode(code="TWICE", coupon_id="half", max_redemptions=2)
    compiled = Catalog([("coupon", half), ("promotionCode", code)])
    assert "half" == with_code(compiled, "TWICE", resolved=None, redeemed=1, now_ms=T0).coupon.id
    with pytest.raises(NotAllowed) as raised:
        with_code(compiled, "TWICE", resolved=None, redeemed=2, now_ms=T0)
    assert "PromotionCodeMaxRedemptionsReached" == raised.value.code


def test_the_least_that_a_plan_costs_is_its_fees_and_the_fewest_units() -> None:
    """Which may be none; charges that come later are said to come for their own period alone."""
    seats = price(billing_model="PER_UNIT", feature_id="seats", unit_amount=Decimal(10))
    sold = plan(
        pricing_type="PAID",
        prices=(flat("5"), flat("50", "ANNUALLY"), replace(seats, min_units=0)),
        minimum_spend={"ANNUALLY": MoneyAmount(amount=Decimal(100), currency="USD")},
    ).plan
    assert sold is not None
    monthly, annually = (entry_price(sold, period, None) for period in ("MONTHLY", "ANNUALLY"))
    assert monthly is not None
    assert annually is not None
    assert (Decimal(5), False) == (monthly.amount, monthly.has_further_charges)
    assert (Decimal(50), True) == (annually.amount, annually.has_further_charges)
    beyond = OveragePrice(feature_id="seats", amount=Decimal(1), currency="USD", billing_period="MONTHLY")
    later = entry_price(replace(sold, overage_prices=(beyond,)), "MONTHLY", None)
    assert later is not None
    assert later.has_further_charges
    for least, amount in ((None, Decimal(15)), (1, Decimal(15)), (3, Decimal(35))):
        found = entry_price(replace(sold, prices=(flat("5"), replace(seats, min_units=least))), "MONTHLY", None)
        assert found is not None
        assert amount == found.amount
        assert "seats" == found.feature_id
