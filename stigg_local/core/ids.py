"""Ids, and the mark of an argument that was not given: what every call checks first.

An id is 1 to 255 printable characters, not normalised: look-alikes are different ids.
"""

from msgspec import Struct

from stigg_local.errors import InvalidInput

ID_LENGTH_MAX = 255
TEXT_LENGTH_MAX = 10_000
TOLD_LENGTH_MAX = 60


class Unset(Struct, frozen=True):
    """The type of `UNSET`."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


def is_id(value: object) -> bool:
    """True for 1 to 255 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= ID_LENGTH_MAX and value.isprintable()


def told(value: object) -> str:
    """A value as an error quotes it: readable and short, however long, deep or unwilling it is."""
    try:
        text = value[: TOLD_LENGTH_MAX + 1] if isinstance(value, str) else str(value)
    except Exception:
        # Too many digits, too deep, or an object whose text raises.
        return type(value).__name__
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= TOLD_LENGTH_MAX else f"{text[:TOLD_LENGTH_MAX]}…"


def is_text(value: object) -> bool:
    """True for text that has an encoding: no half of a surrogate pair, and not too much to keep."""
    if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain(value: str) -> str:
    """The text itself: of a subclass, as an enumeration's member is one, only what it says."""
    return value if type(value) is str else str.__str__(value)


def check_id(value: object, name: str) -> str:
    """An id as it is.

    Raises:
        InvalidInput: Not text, empty, longer than 255 characters, or with a character that does not print.
    """
    if type(value) is str and 0 < len(value) <= ID_LENGTH_MAX and value.isprintable():
        return value
    if isinstance(value, str) and is_id(value):
        return plain(value)
    what = "not text"
    if isinstance(value, str):
        what = "empty" if not value else "too long" if len(value) > ID_LENGTH_MAX else "not printable"
    raise InvalidInput(
        f"{name} is `{told(value)}`, which is {what}",
        code="InvalidArgumentError",
        hint=f"an id is 1 to {ID_LENGTH_MAX} printable characters",
    )


def optional_id(value: object, name: str) -> str | None:
    """As `check_id`; None for None."""
    return None if value is None else check_id(value, name)
