"""Meters: how raw events become usage.

Laws: adding events one by one gives what folding all of them gives, in any order; parts folded apart and joined give
the same; a UNIQUE meter counts by set. Source: semantics §3.3, §20.19.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from stigg_local.core.catalog import Condition, Feature, Meter
from stigg_local.core.quantity import EXACT, POWERS, RAW_MAX, clamp, to_decimal, to_raw
from stigg_local.errors import InvalidInput

Dimension = str | int | float | bool
Dimensions = Mapping[str, Dimension]

EVENT_NAME = "eventName"
# Longer texts are remembered by a digest of 32 bytes.
MEMBER_LENGTH_MAX = 32

_Test = Callable[[Dimension | None], bool]


class Aggregate(Struct, frozen=True, gc=False):
    """What a meter has made of some events.

    Attributes:
        count: Events that counted; of UNIQUE, distinct values.
        total: Raw sum, or the raw extreme of MAX and MIN; 0 where there is none.
    """

    count: int = 0
    total: int = 0


NOTHING = Aggregate()


class Reading(Struct, frozen=True, gc=False):
    """What one event gives to a meter: a raw number, or the member of a set."""

    raw: int = 0
    member: bytes | None = None


class CompiledMeter:
    """A feature's meter, ready to look at events.

    Attributes:
        feature: Whose usage it makes.
        function: COUNT, UNIQUE, SUM, MAX, MIN or AVG.
    """

    __slots__ = ("_field", "_filters", "_scale", "feature", "function")

    def __init__(self, feature: Feature, meter: Meter) -> None:
        self.feature = feature
        self.function = meter.function
        self._field = meter.field
        self._scale = feature.scale
        self._filters = tuple(
            tuple((condition.field, _test(condition)) for condition in item.conditions) for item in meter.filters
        )

    @property
    def is_set(self) -> bool:
        """True where the values themselves are remembered."""
        return self.function == "UNIQUE"

    def lets_in(self, event_name: str, dimensions: Dimensions) -> bool:
        """Whether any filter lets the event in; without filters every event is."""
        if not self._filters:
            return True
        for conditions in self._filters:
            for field, test in conditions:
                if not test(event_name if field == EVENT_NAME else dimensions.get(field)):
                    break
            else:
                return True
        return False

    def read(self, event_name: str, dimensions: Dimensions, *, strict: bool = False) -> Reading | None:
        """What an event gives; None where it does not count.

        Args:
            strict: Refuse a number that the feature's scale cannot hold; otherwise it is clamped, for what is in
                the log already is never refused.

        Raises:
            InvalidInput: With `strict`; it names the dimension.
        """
        if not self.lets_in(event_name, dimensions):
            return None
        if self.function == "COUNT":
            return _ONE
        field = self._field or ""
        value = event_name if field == EVENT_NAME else dimensions.get(field)
        if value is None:
            return None
        if self.function == "UNIQUE":
            return Reading(0, member_of(value))
        if isinstance(value, bool | str):
            return None
        return Reading(_raw(value, self._scale, f"dimensions.{field}", strict))

    def add(self, aggregate: Aggregate, reading: Reading, *, is_new: bool = True) -> Aggregate:
        """The aggregate with one more event.

        Args:
            is_new: Of UNIQUE: whether the value was not in the set before.
        """
        function = self.function
        if function == "COUNT":
            return Aggregate(aggregate.count + 1)
        if function == "UNIQUE":
            return Aggregate(aggregate.count + 1) if is_new else aggregate
        if function == "MAX" and aggregate.count:
            return Aggregate(aggregate.count + 1, max(aggregate.total, reading.raw))
        if function == "MIN" and aggregate.count:
            return Aggregate(aggregate.count + 1, min(aggregate.total, reading.raw))
        return Aggregate(aggregate.count + 1, aggregate.total + reading.raw)

    def join(self, one: Aggregate, other: Aggregate) -> Aggregate:
        """What two parts come to that share no event; of UNIQUE, no value."""
        if not one.count or not other.count:
            return one if one.count else other
        count = one.count + other.count
        if self.function == "MAX":
            return Aggregate(count, max(one.total, other.total))
        if self.function == "MIN":
            return Aggregate(count, min(one.total, other.total))
        return Aggregate(count, one.total + other.total)

    def usage(self, aggregate: Aggregate) -> int:
        """The raw usage that an aggregate stands for, from 0 to the end of the range."""
        count = aggregate.count
        if not count:
            return 0
        if self.function in ("COUNT", "UNIQUE"):
            raw = count * POWERS[self._scale]
        elif self.function == "AVG":
            raw = _half_up(aggregate.total, count)
        else:
            raw = aggregate.total
        return max(0, min(RAW_MAX, raw))


_ONE = Reading()


def compile_meters(features: Iterable[Feature]) -> tuple[CompiledMeter, ...]:
    """The meters of the metered features that have one, in the order of the catalog."""
    return tuple(CompiledMeter(item, item.meter) for item in features if item.is_metered and item.meter is not None)


def fold(
    meter: CompiledMeter, events: Iterable[tuple[str, Dimensions]], members: set[bytes] | None = None
) -> Aggregate:
    """What a meter makes of events given as (name, dimensions).

    Args:
        members: Of UNIQUE: the values known before; those that are new are added to it.
    """
    known = set() if members is None else members
    aggregate = Aggregate(len(known)) if meter.is_set else NOTHING
    for event_name, dimensions in events:
        reading = meter.read(event_name, dimensions)
        if reading is None:
            continue
        if reading.member is not None:
            known.add(reading.member)
            continue
        aggregate = meter.add(aggregate, reading)
    return Aggregate(len(known)) if meter.is_set else aggregate


def member_of(value: Dimension) -> bytes:
    """A value as sets hold it: text, numbers and booleans are told apart, equal numbers are one."""
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    if isinstance(value, str):
        text = value.encode()
        if len(text) <= MEMBER_LENGTH_MAX:
            return b"t" + text
        # Imported here: few values are that long, and it costs a process the loading of OpenSSL.
        from hashlib import blake2b

        return b"h" + blake2b(text, digest_size=32).digest()
    return b"n" + _number_text(to_decimal(value, name="value")).encode()


def _raw(value: int | float, scale: int, name: str, strict: bool) -> int:
    if strict:
        return to_raw(value, scale, name=name)
    number = to_decimal(value, name=name)
    return clamp(int(number.scaleb(scale, EXACT).to_integral_value(context=EXACT)))


def _half_up(total: int, count: int) -> int:
    """total / count, a half away from zero."""
    sign = -1 if total < 0 else 1
    return sign * ((2 * abs(total) + count) // (2 * count))


def _number_text(number: Decimal) -> str:
    """One text for all spellings of a number."""
    if not number:
        return "0"
    return f"{number.normalize(EXACT):f}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return _number_text(to_decimal(value, name="value"))


def _as_number(value: object) -> Decimal | None:
    """A condition's value as a number; None where it is none."""
    try:
        if isinstance(value, str):
            number = Decimal(value.strip())
            return number if number.is_finite() else None
        return None if value is None or isinstance(value, bool) else to_decimal(value, name="value")
    except (InvalidOperation, InvalidInput):
        return None


def _test(condition: Condition) -> _Test:
    operation = condition.operation
    if operation == "IS_NULL":
        return lambda value: value is None
    if operation == "IS_NOT_NULL":
        return lambda value: value is not None
    if operation == "IN":
        tests = [_equals(item) for item in condition.values or ()]
        return lambda value: value is not None and any(test(value) for test in tests)
    if operation in ("EQUALS", "NOT_EQUALS"):
        equals = _equals(condition.value)
        if operation == "EQUALS":
            return lambda value: value is not None and equals(value)
        return lambda value: value is None or not equals(value)
    wanted = _text("" if condition.value is None else condition.value)
    if operation == "CONTAINS":
        return lambda value: value is not None and wanted in _text(value)
    if operation == "STARTS_WITH":
        return lambda value: value is not None and _text(value).startswith(wanted)
    if operation == "ENDS_WITH":
        return lambda value: value is not None and _text(value).endswith(wanted)
    return _ordered(operation, wanted, _as_number(condition.value))


def _equals(wanted: Any) -> Callable[[Dimension], bool]:
    text, number = _text(wanted), _as_number(wanted)

    def test(value: Dimension) -> bool:
        if isinstance(value, str):
            return value == text
        if isinstance(value, bool):
            return _text(value) == text
        return number is not None and to_decimal(value, name="value") == number

    return test


def _ordered(operation: str, text: str, number: Decimal | None) -> _Test:
    is_greater, is_equal = operation.startswith("GREATER"), operation.endswith("OR_EQUAL")

    def test(value: Dimension | None) -> bool:
        if value is None:
            return False
        one: Any
        other: Any
        if isinstance(value, bool | str):
            one, other = _text(value), text
        elif number is None:
            return False
        else:
            one, other = to_decimal(value, name="value"), number
        if one == other:
            return is_equal
        return bool(one > other) is is_greater

    return test
