"""Reservations: an upper bound that is held from its start until it is settled, released or its time is over.

Laws: a hold changes no counter and no grant, so whatever of it is not used was never taken; it counts while
`start_ms <= now < expire_ms`, whoever looks, so that nobody has to be there when it ends; held credits name the
grants that they are held in. Source: semantics §20.8, §20.30.
"""

from collections.abc import Iterable

from msgspec import Struct

from stigg_local.core.period import FOREVER_MS
from stigg_local.errors import InvalidInput

TTL_S_DEFAULT = 60
# Longer work settles late, which is recorded like a report; a forgotten hold blocks nobody for longer than this.
TTL_S_MAX = 24 * 3600
# Every read of a customer looks at all of them.
HOLDS_MAX = 1000


class Hold(Struct, frozen=True, array_like=True, gc=False):
    """One reservation. Amounts are fixed point: `amount` in the feature's scale, else in the currency's.

    `feature_id` is empty where credits alone are held, `currency_id` where none are. `cost` credits are held: `taken`
    says in which grants, and what is missing there would become debt. `rate` is the price of a unit that was agreed.
    """

    id: str
    resource_id: str
    feature_id: str
    currency_id: str
    amount: int
    cost: int
    rate: str
    taken: tuple[tuple[str, int], ...]
    start_ms: int
    expire_ms: int

    @property
    def short(self) -> int:
        """Held credits that no grant has."""
        return self.cost - sum(part for _, part in self.taken)


class Held(Struct, frozen=True, gc=False):
    """What is held of one wallet at an instant: by grant, beyond all grants, and until when that stays so."""

    parts: dict[str, int]
    short: int
    until_ms: int


NOTHING = Held({}, 0, FOREVER_MS)


def is_active(hold: Hold, at_ms: int) -> bool:
    """True where the hold counts at the instant."""
    return hold.start_ms <= at_ms < hold.expire_ms


def reserved_units(
    holds: Iterable[Hold], *, resource_id: str, feature_id: str, from_ms: int, to_ms: int, at_ms: int
) -> tuple[int, int]:
    """Units held in the window [from, to) at an instant, and until when that stays so."""
    units, until = 0, FOREVER_MS
    for hold in holds:
        if (
            hold.feature_id == feature_id
            and hold.resource_id == resource_id
            and from_ms <= hold.start_ms < to_ms
            and is_active(hold, at_ms)
        ):
            units += hold.amount
            until = min(until, hold.expire_ms)
    return units, until


def held_credits(holds: Iterable[Hold], *, currency_id: str, resource_id: str, at_ms: int) -> Held:
    """What is held of the wallet of (resource, currency) at an instant."""
    parts: dict[str, int] = {}
    short, until = 0, FOREVER_MS
    for hold in holds:
        if hold.currency_id == currency_id and hold.resource_id == resource_id and is_active(hold, at_ms):
            for grant_id, part in hold.taken:
                parts[grant_id] = parts.get(grant_id, 0) + part
            short += hold.short
            until = min(until, hold.expire_ms)
    return Held(parts, short, until)


def held_ends(holds: Iterable[Hold], *, currency_id: str, resource_id: str) -> dict[str, list[tuple[int, int]]]:
    """Grant id -> (until when, how much) of everything that was ever held in it and is still stored."""
    ends: dict[str, list[tuple[int, int]]] = {}
    for hold in holds:
        if hold.currency_id == currency_id and hold.resource_id == resource_id:
            for grant_id, part in hold.taken:
                ends.setdefault(grant_id, []).append((hold.expire_ms, part))
    return ends


def used(hold: Hold, cost: int) -> tuple[tuple[tuple[str, int], ...], int]:
    """What a settlement of so many credits takes of the grants that they are held in, and what it lacks there."""
    rest = cost
    parts: list[tuple[str, int]] = []
    for grant_id, part in hold.taken:
        taken = min(rest, part)
        if taken > 0:
            rest -= taken
            parts.append((grant_id, taken))
    return tuple(parts), rest


def check_ttl(ttl_seconds: object) -> int:
    """The life of a hold in milliseconds.

    Raises:
        InvalidInput: Not a number above 0, or longer than `TTL_S_MAX`.
    """
    is_number = isinstance(ttl_seconds, int | float) and not isinstance(ttl_seconds, bool)
    if not is_number or not 0.001 <= ttl_seconds <= TTL_S_MAX:  # type: ignore[operator]
        raise InvalidInput(
            f"ttl_seconds is `{str(ttl_seconds)[:60]}`",
            code="InvalidArgumentError",
            hint=f"more than 0 and at most {TTL_S_MAX}; work that takes longer is settled late",
        )
    return round(ttl_seconds * 1000)  # type: ignore[operator]
