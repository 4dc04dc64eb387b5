"""Single values of a catalog: texts, names, numbers and amounts, each as records hold it or refused.

Laws: numbers are judged exactly, never as binary floats; nothing too long or too large gets past.
"""

import datetime
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from stigg_local.authority.catalog_draft import shown
from stigg_local.core.catalog import (
    Addon,
    Coupon,
    CreditCurrency,
    CreditEntitlement,
    CreditRate,
    EntityType,
    Experiment,
    Feature,
    OveragePrice,
    PackageEntitlement,
    Price,
    PromotionCode,
    Tier,
    TopUpPrice,
    TrialConfig,
    UnitTransformation,
)
from stigg_local.core.ids import ID_LENGTH_MAX, is_id
from stigg_local.core.quantity import SCALE_MAX

TEXT_LENGTH_MAX = 65_536
WHOLE_MAX = 2**63 - 1
AMOUNT_MAX = 10**15
# Beyond what can be counted: such a limit is shown as it is given, and never binds.
LIMIT_MAX = 10**300
AMOUNT_DIGITS_MAX = 12
TRIAL_DURATION_MAX = 3_650
DURATION_IN_MONTHS_MAX = 1_200
AMOUNT_TEXT = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


class Range(NamedTuple):
    """What a number may be: from `low` (or above it) to `high`."""

    low: int
    high: int = WHOLE_MAX
    above: bool = False

    def __str__(self) -> str:
        if self.high in (WHOLE_MAX, AMOUNT_MAX, LIMIT_MAX):
            return f"more than {self.low}" if self.above else f"at least {self.low}"
        return f"more than {self.low}, at most {self.high}" if self.above else f"{self.low} to {self.high}"


WHOLE = Range(-WHOLE_MAX)
AMOUNT = Range(0, AMOUNT_MAX)
RANGES: dict[tuple[type[Struct], str], Range] = {
    (Feature, "scale"): Range(0, SCALE_MAX),
    (CreditCurrency, "scale"): Range(0, SCALE_MAX),
    (UnitTransformation, "divide"): Range(2),
    (PackageEntitlement, "value"): Range(0, LIMIT_MAX),
    (PackageEntitlement, "usage_limit"): Range(0, LIMIT_MAX),
    (CreditEntitlement, "amount"): Range(0, above=True),
    (CreditRate, "amount"): Range(0, AMOUNT_MAX, above=True),
    (TopUpPrice, "unit_amount"): Range(0, AMOUNT_MAX, above=True),
    (Tier, "up_to"): Range(0, above=True),
    (Price, "min_units"): Range(0),
    (Price, "max_units"): Range(1),
    (Price, "block_size"): Range(1),
    (OveragePrice, "block_size"): Range(1),
    (TrialConfig, "duration"): Range(1, TRIAL_DURATION_MAX),
    (Coupon, "duration_in_months"): Range(1, DURATION_IN_MONTHS_MAX),
    (Coupon, "percent_off"): Range(0, 100, above=True),
    (Addon, "max_quantity"): Range(1),
    (PromotionCode, "max_redemptions"): Range(1),
    (Experiment, "variant_percentage"): Range(0, 100),
}
# Texts that are ids or stand beside ids: 1 to 255 printable characters.
NAMES = {"id", "code", "environment"}
NAME_LISTS = {(Feature, "enum_values"), (EntityType, "attribution_keys")}


class Wrong(Exception):
    """A value is not what was expected; the caller knows where it stands."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def text_of(value: object, name: str) -> str:
    """A text; a name where the field is one."""
    if not isinstance(value, str):
        raise Wrong(f"{described(value)}, expected text")
    text = str(value)
    if name in NAMES:
        if not is_id(text):
            what = "is empty" if not text else "holds a character that does not print"
            if len(text) > ID_LENGTH_MAX:
                what = f"is longer than {ID_LENGTH_MAX} characters"
            raise Wrong(f"`{shown(text)}` {what}", f"expected 1 to {ID_LENGTH_MAX} printable characters")
    elif len(text) > TEXT_LENGTH_MAX:
        raise Wrong(f"`{shown(text)}` is longer than {TEXT_LENGTH_MAX} characters")
    elif "\0" in text or not _is_unicode(text):
        raise Wrong(f"`{shown(text)}` holds a character that no text can hold")
    return text


def number_of(value: object, expected: str) -> Decimal:
    """A finite number, exactly; a float by its shortest text."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Wrong(f"{described(value)}, expected {expected}")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise Wrong(f"`{shown(value)}` is not a finite number")
    if number and number.adjusted() < -AMOUNT_DIGITS_MAX:
        raise Wrong(f"`{shown(value)}` is too small", "expected at most 12 digits after the point")
    return number


def amount_of(value: object) -> Decimal:
    """An amount: a number, or the text of one in plain digits."""
    number: Decimal
    if isinstance(value, str):
        if not AMOUNT_TEXT.fullmatch(value):
            raise Wrong(f"`{shown(value)}` is not an amount", 'expected digits, for example "12.50"')
        number = Decimal(value)
    else:
        number = number_of(value, 'an amount, for example "12.50"')
    if _digits_after_point(number) > AMOUNT_DIGITS_MAX:
        raise Wrong(f"`{shown(value)}` has more than {AMOUNT_DIGITS_MAX} digits after the point")
    return number or Decimal(0)


def _digits_after_point(number: Decimal) -> int:
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int), "the number is finite"
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -(exponent + zeros)) if number else 0


def within(number: Decimal, limits: Range) -> Decimal:
    if number < limits.low or number > limits.high or (limits.above and number == limits.low):
        if number > limits.high and limits.high in (WHOLE_MAX, AMOUNT_MAX, LIMIT_MAX):
            high = "1e300" if limits.high == LIMIT_MAX else limits.high
            raise Wrong(f"`{shown(number)}` is too large", f"at most {high}")
        raise Wrong(f"`{shown(number)}` is out of range, expected {limits}")
    return number


def plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def described(value: object) -> str:
    """A value and what it is, for a message: `` `7` is a number ``."""
    match value:
        case None:
            return "is null"
        case bool():
            return f"`{str(value).lower()}` is a truth value"
        case str():
            return f"`{shown(value)}` is text"
        case int() | float() | Decimal():
            return f"`{shown(value)}` is a number"
        case Mapping():
            return "is a table"
        case list() | tuple():
            return "is a list"
        case datetime.date() | datetime.time():
            return f"`{value.isoformat()}` is a date or time"
    return f"`{shown(type(value).__name__)}` is nothing that a catalog can hold"
