"""Checking what is about to be used: a list of constraints, each with the room that it leaves.

Laws: a request is admitted where every constraint has room for it, and then none is overrun; the first constraint
without room gives the reason, in the order in which a getter looks for reasons. Source: semantics §20.24, §20.25.
"""

from collections.abc import Iterable

from msgspec import Struct

from stigg_local.core.entitlement import Gate
from stigg_local.core.quantity import credits_for
from stigg_local.core.words import AccessDeniedReason

_EXCEEDS = AccessDeniedReason.RequestedUsageExceedsLimit
_INSUFFICIENT = AccessDeniedReason.InsufficientCredits


class Constraint(Struct, frozen=True, gc=False):
    """Something that may refuse: what it has left, what the request costs there, and the reason it would give.

    `room` None never refuses. Units are its own: both numbers are in the same ones.
    """

    reason: AccessDeniedReason
    room: int | None
    cost: int


def credit_cost(gate: Gate, requested: int) -> int:
    """Credits that a request of a feature with a rate costs, or the request itself for a wallet."""
    if gate.rate is None:
        return requested
    return credits_for(requested, gate.scale, gate.rate, gate.credit_scale)


def constraints(gate: Gate, requested: int) -> tuple[Constraint, ...]:
    """What an entitlement puts in the way of a request, in the order of the reasons.

    Args:
        gate: The entitlement's, with everything that is used and held already counted.
        requested: Raw units, above 0.
    """
    if gate.denied is not None:
        return (Constraint(gate.denied, 0, requested),)
    found = []
    if gate.headroom is not None:
        found.append(Constraint(_EXCEEDS, gate.headroom, requested))
    if gate.credits is not None:
        found.append(Constraint(_INSUFFICIENT, gate.credits, credit_cost(gate, requested)))
    return tuple(found)


def refusal(found: Iterable[Constraint]) -> AccessDeniedReason | None:
    """The reason of the first constraint that has no room; None where all have."""
    for constraint in found:
        if constraint.room is not None and constraint.cost > constraint.room:
            return constraint.reason
    return None
