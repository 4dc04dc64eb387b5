"""Fixed-point quantities: users' numbers in, int64 in the unit's own scale inside, numbers out.

Laws: from_raw(to_raw(x, s), s) == x for every x with at most s decimal digits; no binary float decides, and
neither does the precision or a trap that the application set in its own decimal context.
"""

from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow

from stigg_local.errors import InvalidInput

RAW_MAX = 2**63 - 1
# Powers of ten that no int64 and no float reaches.
RAW_DIGITS = 19
FLOAT_DIGITS_MAX = 307
FLOAT_MAX = 1e308
SCALE_MAX = 9

# More digits than any number here has, the sum of the largest float and the smallest unit included.
EXACT = Context(prec=999, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])

Number = int | float | Decimal

POWERS: tuple[int, ...] = tuple(int(10**digits) for digits in range(SCALE_MAX + 1))


def to_decimal(value: object, *, name: str) -> Decimal:
    """The exact decimal that a caller's number stands for (a float by its shortest text).

    Raises:
        InvalidInput: Not a number, a bool, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidInput(f"{name} is `{_shown(value)}`, not a number", hint="pass an int, a float or a Decimal")
    # Of a float's subclass, as NumPy has one, the number counts and not what it prints.
    number = Decimal(float.__repr__(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise InvalidInput(f"{name} is `{_shown(value)}`, not a finite number", hint="pass a finite number")
    return number


def to_raw(value: object, scale: int, *, name: str = "value") -> int:
    """A caller's number in fixed point, rounded half-up (away from zero) to `scale` digits.

    Args:
        value: int, float or Decimal; floats count by their shortest decimal text.
        scale: Decimal digits kept, 0 to 9.
        name: What to call the number in an error.

    Raises:
        InvalidInput: Not a finite number; not zero but would round to zero; outside int64 at this scale
            (code `EntitlementUsageOutOfRangeError`).
    """
    if type(value) is int:
        raw = value * POWERS[scale]
    else:
        number = to_decimal(value, name=name)
        if number.adjusted() > 40:
            raise _out_of_range(value, scale, name)
        raw = int(number.scaleb(scale, EXACT).to_integral_value(ROUND_HALF_UP, EXACT))
        if raw == 0 and number != 0:
            raise InvalidInput(
                f"{name} is `{_shown(value)}`, which is zero at the scale of {scale} digits",
                hint="give the feature or currency a larger `scale`, or count in a smaller unit",
            )
    if not -RAW_MAX <= raw <= RAW_MAX:
        raise _out_of_range(value, scale, name)
    return raw


def limit_to_raw(value: object, scale: int, *, name: str = "limit") -> int:
    """Like `to_raw`, but a limit beyond the range is clamped: it is shown as given and never binds."""
    number = to_decimal(value, name=name)
    if number.adjusted() > 40:
        return RAW_MAX if number > 0 else -RAW_MAX
    raw = int(number.scaleb(scale, EXACT).to_integral_value(ROUND_HALF_UP, EXACT))
    return max(-RAW_MAX, min(RAW_MAX, raw))


def from_raw(raw: int, scale: int) -> int | float:
    """What a user sees of a fixed-point number: an int when whole, else a float."""
    whole, rest = divmod(raw, POWERS[scale])
    return whole if rest == 0 else raw / POWERS[scale]


def shown(value: object, *, name: str = "value") -> int | float:
    """A number from a catalog as users see it: an int when whole, else a float, as a very large one is, too.

    Raises:
        InvalidInput: Not a finite number, or beyond what a float holds.
    """
    number = to_decimal(value, name=name)
    if number.adjusted() > FLOAT_DIGITS_MAX:
        raise _out_of_range(value, 0, name)
    is_whole = number.adjusted() <= RAW_DIGITS and number == number.to_integral_value(context=EXACT)
    return int(number) if is_whole and -RAW_MAX <= number <= RAW_MAX else float(number)


def json_number(value: Number) -> int | float:
    """The nearest number that JSON readers take: an int within int64, else a float."""
    if isinstance(value, int) and abs(value) <= RAW_MAX:
        return int(value)
    number = Decimal(value)
    if (
        number.adjusted() <= RAW_DIGITS
        and number == number.to_integral_value(context=EXACT)
        and -RAW_MAX <= number <= RAW_MAX
    ):
        return int(number)
    if number.adjusted() > FLOAT_DIGITS_MAX:
        return FLOAT_MAX if number > 0 else -FLOAT_MAX
    return float(number)


def check_range(value: object, *, name: str) -> None:
    """Refuse at once what no scale can hold, whatever its type and length.

    Raises:
        InvalidInput: Not a finite number, or far outside int64 (`EntitlementUsageOutOfRangeError`).
    """
    if type(value) is int and -RAW_MAX <= value <= RAW_MAX:
        return
    if to_decimal(value, name=name).adjusted() > RAW_DIGITS:
        raise _out_of_range(value, 0, name)


def clamp(raw: int) -> int:
    """The nearest number within the range."""
    return max(-RAW_MAX, min(RAW_MAX, raw))


def multiply(value: Decimal, factor: Decimal, scale: int) -> int:
    """The product in fixed point, rounded half-up once."""
    product = EXACT.multiply(value, factor).scaleb(scale, EXACT).to_integral_value(ROUND_HALF_UP, EXACT)
    return clamp(int(product))


def credits_for(raw: int, scale: int, rate: Decimal, credit_scale: int) -> int:
    """Raw credits that so many raw units cost at a rate."""
    return multiply(raw_to_decimal(raw, scale), rate, credit_scale)


def raw_to_decimal(raw: int, scale: int) -> Decimal:
    """The exact decimal of a fixed-point number."""
    return Decimal(raw).scaleb(-scale, EXACT)


def _out_of_range(value: object, scale: int, name: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is `{_shown(value)}`, beyond the range of a scale of {scale} digits",
        code="EntitlementUsageOutOfRangeError",
        hint=f"numbers up to {RAW_MAX // POWERS[scale]} fit; a smaller `scale` holds larger ones",
    )


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 1000:
        # Writing it out takes long and may be forbidden.
        return f"a number of about {int(value.bit_length() * 0.30103)} digits"
    text = str(value) if isinstance(value, int | float | Decimal | str | None) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
