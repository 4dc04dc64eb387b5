"""A question that was answered with no, the state that it was asked of, and what a change would make of both.

Law: what a change does is not worked out here but by `Rehearse`, which runs the authority's own rules on a copy.
"""

from collections.abc import Callable, Mapping
from typing import Any

from stigg_local.core.answer import CREDIT, Entitlement
from stigg_local.core.customer import Customer
from stigg_local.core.entitlement import Compiled, CustomerView, answer_request, evaluate, find_winner
from stigg_local.core.explanation import Question
from stigg_local.core.sources import Catalog

Rehearse = Callable[[str, Mapping[str, Any]], CustomerView | None]
"""The customer after a call of the client with these arguments; None where a rule refuses it."""

# The largest limit that is tried: beyond it whole numbers are no longer told apart by everyone who reads JSON.
LIMIT_MAX = 2**53


class World:
    """A question that was answered with no, and all that it takes to ask it again.

    Args:
        catalog, view, customer: The state; `customer` is the record, None where there is none.
        question: What was asked.
        rehearse: What a change would make of the customer.
        now_ms: The time of the answer.
    """

    def __init__(
        self,
        catalog: Catalog,
        view: CustomerView | None,
        customer: Customer | None,
        question: Question,
        rehearse: Rehearse,
        now_ms: int,
    ) -> None:
        self.catalog = catalog
        self.view = view
        self.customer = customer
        self.question = question
        self.rehearse = rehearse
        self.now_ms = now_ms
        # An empty id is an unknown resource, which no customer has.
        self.resource_id = "" if question.resource_id is None else question.resource_id or "\0"

    def compiled(self, view: CustomerView | None, at_ms: int) -> Compiled | None:
        """The compiled answer about a customer at an instant."""
        question = self.question
        return evaluate(
            self.catalog,
            view,
            question.feature_id,
            resource_id=self.resource_id,
            kind=question.type,
            now_ms=at_ms,
        )

    def answer(self, view: CustomerView | None, at_ms: int | None = None) -> Entitlement | None:
        """The answer to the question about a customer, now or at an instant."""
        compiled = self.compiled(view, self.now_ms if at_ms is None else at_ms)
        if compiled is None:
            return None
        return answer_request(compiled, self.question.requested_usage, self.question.requested_values)

    def after(self, call: str, arguments: Mapping[str, Any]) -> Entitlement | None:
        """The answer after a call; None where it is refused or the answer is still no."""
        view = self.rehearse(call, arguments)
        found = None if view is None else self.answer(view)
        return found if found is not None and found.has_access else None


def least(yes: Callable[[int], bool], low: int, high: int, *, guess: int | None = None) -> int | None:
    """The smallest whole number in `low..high` that is a yes, where a larger one is never a no; None without any."""
    if low > high:
        return None
    start = low if guess is None else max(low, min(high, guess))
    if yes(start):
        if start == low or not yes(start - 1):
            return start
        no, found = low - 1, start - 1
    else:
        step, no = 1, start
        while True:
            if no >= high:
                return None
            found = min(high, no + step)
            if yes(found):
                break
            no, step = found, step * 2
    while found - no > 1:
        middle = (found + no) // 2
        if yes(middle):
            found = middle
        else:
            no = middle
    return found


def currency_id_of(world: World, at_ms: int) -> str | None:
    """The currency that the answer at an instant depends on: the one asked for, or that of the winner's rate."""
    feature = None if world.question.type == CREDIT else world.catalog.features.get(world.question.feature_id)
    if feature is None:
        return world.question.feature_id
    if world.view is None:
        return None
    winner, _, _, _ = find_winner(world.catalog, world.view.snapshot, feature, world.resource_id, at_ms)
    rate = None if winner is None else winner.contribution.rate
    return None if rate is None else rate.currency_id
