"""Laws of meters: the order of events does not matter, and neither does in how many steps they are counted."""

from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stigg_local.core.catalog import Condition, Feature, Meter, MeterFilter
from stigg_local.core.meter import NOTHING, CompiledMeter, fold, member_of
from stigg_local.errors import InvalidInput
from tests.usage.model import Said, metered

Function = Literal["COUNT", "UNIQUE", "SUM", "MAX", "MIN", "AVG"]
FUNCTIONS: tuple[Function, ...] = ("COUNT", "UNIQUE", "SUM", "MAX", "MIN", "AVG")

values = st.one_of(
    st.integers(-(10**6), 10**6),
    st.decimals("-1000", "1000", places=3).map(float),
    st.sampled_from(["a", "b", "1", True, False]),
)
events = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.fixed_dictionaries({}, optional={"x": values})), max_size=12
)


def compiled(function: Function, scale: int = 6) -> CompiledMeter:
    meter = Meter(function=function, field=None if function == "COUNT" else "x")
    return CompiledMeter(
        Feature(id="f", feature_type="Numeric", meter_type="Incremental", scale=scale, meter=meter), meter
    )


@pytest.mark.parametrize("function", FUNCTIONS)
@given(found=events, data=st.data())
def test_one_by_one_in_any_order_is_what_all_at_once_gives(
    function: Function, found: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    meter = compiled(function)
    whole = fold(meter, found)
    aggregate, members = NOTHING, set[bytes]()
    for name, dimensions in data.draw(st.permutations(found)):
        reading = meter.read(name, dimensions)
        if reading is not None:
            aggregate = meter.add(aggregate, reading, is_new=reading.member not in members)
            members |= set() if reading.member is None else {reading.member}
    assert meter.usage(whole) == meter.usage(aggregate)


@pytest.mark.parametrize("function", FUNCTIONS)
@given(found=events, at=st.integers(0, 12))
def test_parts_joined_are_the_whole(function: Function, found: list[tuple[str, dict[str, Any]]], at: int) -> None:
    meter = compiled(function)
    members = set[bytes]()
    first = fold(meter, found[:at], members)
    second = fold(meter, found[at:], members)
    joined = second if meter.is_set else meter.join(first, second)
    assert fold(meter, found) == joined


@pytest.mark.parametrize("function", FUNCTIONS)
@given(found=events, scale=st.integers(0, 6))
def test_the_slow_model_agrees(function: Function, found: list[tuple[str, dict[str, Any]]], scale: int) -> None:
    meter = compiled(function, scale)
    record = {"scale": scale, "meter": {"function": function, "field": "x"}}
    expected = metered(record, [Said(0, "", name=name, dimensions=dimensions) for name, dimensions in found])
    assert expected == Decimal(meter.usage(fold(meter, found))).scaleb(-scale)


def test_a_number_out_of_range_is_refused_by_name_and_clamped_in_the_log() -> None:
    meter = compiled("SUM", 9)
    with pytest.raises(InvalidInput, match=r"dimensions\.x"):
        meter.read("one", {"x": 2.0**53}, strict=True)
    assert meter.usage(fold(meter, [("one", {"x": 2.0**53})])) == 2**63 - 1


def test_long_values_are_told_apart_by_their_digest() -> None:
    one, other = "x" * 5000, "x" * 4999 + "y"
    assert member_of(one) != member_of(other)
    assert len(member_of(one)) <= 33


def test_a_set_counts_equal_numbers_once_and_tells_kinds_apart() -> None:
    assert 1 == len({member_of(value) for value in (100, 100.0, 1e2)})
    assert 4 == len({member_of(value) for value in (1, True, "1", "true")})
    assert 2 == len({member_of(value) for value in (0, -0.0, 0.5)})


# Below, at and above 5; a number as text; text, which is compared as text; nothing.
TRIED: tuple[Any, ...] = (4, 5, 5.0, 6, "5", "50", None)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("EQUALS", (False, True, True, False, True, False, False)),
        ("NOT_EQUALS", (True, False, False, True, False, True, True)),
        ("GREATER_THAN", (False, False, False, True, False, True, False)),
        ("GREATER_THAN_OR_EQUAL", (False, True, True, True, True, True, False)),
        ("LESS_THAN", (True, False, False, False, False, False, False)),
        ("LESS_THAN_OR_EQUAL", (True, True, True, False, True, False, False)),
        ("CONTAINS", (False, True, True, False, True, True, False)),
        ("STARTS_WITH", (False, True, True, False, True, True, False)),
        ("ENDS_WITH", (False, True, True, False, True, False, False)),
        ("IS_NULL", (False, False, False, False, False, False, True)),
        ("IS_NOT_NULL", (True, True, True, True, True, True, False)),
    ],
)
def test_a_condition_lets_in_what_it_says(operation: Any, expected: tuple[bool, ...]) -> None:
    condition = Condition(field="x", operation=operation, value=None if "NULL" in operation else "5")
    found = _counting(condition)
    assert expected == tuple(found.lets_in("one", {} if value is None else {"x": value}) for value in TRIED)


def test_one_filter_is_enough_and_all_of_its_conditions_are_needed() -> None:
    above, below = (Condition(field="x", operation=name, value="5") for name in ("GREATER_THAN", "LESS_THAN"))
    other = Condition(field="y", operation="EQUALS", value="a")
    meter = Meter(function="COUNT", filters=(MeterFilter(conditions=(above, other)), MeterFilter(conditions=(below,))))
    found = CompiledMeter(Feature(id="f", feature_type="Numeric", meter_type="Incremental", meter=meter), meter)
    tried: tuple[dict[str, Any], ...] = (
        {"x": 6},
        {"x": 6, "y": "a"},
        {"x": 6, "y": "b"},
        {"x": 4},
        {"x": 5, "y": "a"},
    )
    assert [False, True, False, True, False] == [found.lets_in("one", item) for item in tried]


def _counting(condition: Condition) -> CompiledMeter:
    meter = Meter(function="COUNT", filters=(MeterFilter(conditions=(condition,)),))
    return CompiledMeter(Feature(id="f", feature_type="Numeric", meter_type="Incremental", meter=meter), meter)
