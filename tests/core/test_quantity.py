"""Fixed-point quantities: exact both ways, and refused where they would not be."""

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stigg_local.core.quantity import (
    RAW_MAX,
    SCALE_MAX,
    check_range,
    clamp,
    from_raw,
    json_number,
    limit_to_raw,
    multiply,
    raw_to_decimal,
    shown,
    to_decimal,
    to_raw,
)
from stigg_local.errors import InvalidInput

SCALES = st.integers(0, SCALE_MAX)
RAWS = st.integers(-RAW_MAX, RAW_MAX)


@given(RAWS, SCALES)
def test_a_decimal_goes_to_raw_and_back(raw: int, scale: int) -> None:
    """Nothing is lost of a number that has no more digits than the scale."""
    assert raw == to_raw(raw_to_decimal(raw, scale), scale)


@given(st.integers(-(2**53), 2**53), SCALES)
def test_what_a_user_sees_goes_back_to_the_same_raw(raw: int, scale: int) -> None:
    """A whole number is shown as an int and a fraction as the shortest float."""
    assume(len(str(abs(raw))) <= 15)
    assert raw == to_raw(from_raw(raw, scale), scale)


@given(st.decimals(-(10**6), 10**6, allow_nan=False, places=12), SCALES)
def test_more_digits_than_the_scale_are_rounded_half_up(number: Decimal, scale: int) -> None:
    """Half a unit goes away from zero."""
    with localcontext() as context:
        context.prec = 60
        unit = Decimal(1).scaleb(-scale)
        expected = int((abs(number) / unit + Decimal("0.5")).to_integral_value("ROUND_FLOOR"))
    assume(expected or not number)
    assert (expected if number >= 0 else -expected) == to_raw(number, scale)


@pytest.mark.parametrize("value", [True, "7", None, float("nan"), float("inf"), Decimal("NaN"), object()])
def test_what_is_no_number_is_refused(value: object) -> None:
    """True would count as one."""
    with pytest.raises(InvalidInput, match="value is"):
        to_raw(value, 6)


def test_what_would_become_nothing_is_refused() -> None:
    """Reporting it would look as if it counted."""
    with pytest.raises(InvalidInput, match="zero at the scale"):
        to_raw(0.4, 0)
    assert 0 == to_raw(0.0, 0)


@pytest.mark.parametrize("value", [RAW_MAX + 1, -RAW_MAX - 1, Decimal("1E+50"), 10**200, 1e300])
def test_what_does_not_fit_is_refused(value: object) -> None:
    """A counter is an int64."""
    with pytest.raises(InvalidInput) as raised:
        to_raw(value, 0)
    assert "EntitlementUsageOutOfRangeError" == raised.value.code


def test_a_limit_that_does_not_fit_never_binds() -> None:
    """It is clamped, because it is shown as it was given."""
    assert RAW_MAX == limit_to_raw(10**30, 6) == limit_to_raw(Decimal("1E+60"), 0)
    assert -RAW_MAX == limit_to_raw(Decimal("-1E+60"), 0)
    assert RAW_MAX == clamp(RAW_MAX + 1)


def test_numbers_are_shown_whole_where_they_are() -> None:
    """7.0 in a catalog is 7."""
    assert [7, 7.5] == [shown(Decimal("7.0")), shown(7.5)]
    assert Decimal("0.1") == to_decimal(0.1, name="value")


@given(st.integers(0, 10**9), st.decimals(0, 1000, places=4), SCALES)
def test_a_product_is_rounded_once(units: int, rate: Decimal, scale: int) -> None:
    """Rounding the rate first would charge another price."""
    exact = units * int(rate.scaleb(4))
    power = 10**scale
    expected = (2 * exact * power + 10**4) // (2 * 10**4)
    assert min(expected, RAW_MAX) == multiply(Decimal(units), rate, scale)


class Printed(float):
    """A float that prints otherwise, as those of NumPy do."""

    def __repr__(self) -> str:
        return "printed.float(1.5)"


def test_a_float_counts_by_its_number() -> None:
    """Whatever its class prints."""
    assert 1_500_000 == to_raw(Printed(1.5), 6)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (7, 7),
        (Decimal("7.0"), 7),
        (7.5, 7.5),
        (10**30, 1e30),
        (Decimal("1E+400"), 1e308),
        (-(10**400), -1e308),
    ],
)
def test_json_gets_the_nearest_number_that_it_holds(number: Any, expected: float) -> None:
    """An int beyond int64 would be cut off by many readers."""
    found = json_number(number)
    assert (expected, type(expected)) == (found, type(found))


def test_numbers_far_out_of_range_are_refused_at_once() -> None:
    """Whatever their type and length; one of thousands of digits is not written out."""
    check_range(RAW_MAX, name="value")
    for check in (check_range, shown):
        with pytest.raises(InvalidInput, match="a number of about 6020 digits"):
            check(10**6020, name="value")
    assert 1e30 == shown(10**30)
