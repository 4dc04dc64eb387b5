"""The questions that a client's own customers and features give, and the calls that an operation makes of them.

Hot operations ask about a working set of customers who are in memory; cold ones about customers who are not.

Law: which questions an operation asks follows from the seed, its name and the data alone, not from what else is
measured.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from stigg_local.bench.operations import KINDS, Kind
from stigg_local.bench.timing import SEED, Draws
from stigg_local.client import Stigg
from stigg_local.core.answer import BOOLEAN, CREDIT, ENUM, METERED, NUMERIC, Entitlement, MeteredEntitlement
from stigg_local.core.customer import CustomerSnapshot
from stigg_local.errors import InvalidInput, StiggError

WORKING_SET = 1000
CALLS = 5000
# Of so many questions the answers are hashed.
ANSWERS_MAX = 1000
_TYPES = (BOOLEAN, NUMERIC, ENUM, METERED, CREDIT)
_WORDS = {BOOLEAN: "a boolean", NUMERIC: "a numeric", ENUM: "an enum", METERED: "a metered", CREDIT: "a credit"}

Call = Callable[..., object]
# A customer and a feature or currency, and the resource where the customer is entitled through one.
Question = tuple[str, ...]


class Operation(NamedTuple):
    """One operation on the data at hand.

    Attributes:
        kind: Which one.
        call: What is timed.
        arguments: Of each call, in a drawn order; gone through again and again.
        before: Runs with the customer's id before every call, untimed.
    """

    kind: Kind
    call: Call
    arguments: list[tuple[Any, ...]]
    before: Callable[[str], object] | None = None

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.kind.name


class Usage(NamedTuple):
    """What counters stand at in all, and when their windows began."""

    counted: float
    windows: list[object]


class Data:
    """The questions that a client's own customers and features give.

    Args:
        client: An embedded client.
        customers: Every customer's id.
        seed: Of everything that is drawn.
    """

    def __init__(self, client: Stigg, customers: Sequence[str], seed: int = SEED) -> None:
        self._client = client
        self._seed = seed
        draws = Draws(seed)
        self.hot = draws.sample(customers, WORKING_SET)
        taken = set(self.hot)
        # A mix must not push out of memory whom its other operations ask about.
        self._cold = draws.sample([item for item in customers if item not in taken], CALLS) or self.hot
        self._found = self._entitled(self.hot)

    def missing(self, name: str) -> str | None:
        """Why an operation cannot be measured on this data; None where it can."""
        kind = KINDS[name]
        if self._source(kind):
            return None
        what = _WORDS[kind.types[0]] if kind.types else "any"
        return f"none of {len(self.hot):,} customers has {what} entitlement"

    def operation(self, name: str) -> Operation:
        """The operation, with its arguments drawn.

        Raises:
            InvalidInput: It is a report, and none is taken for these customers.
        """
        kind = KINDS[name]
        draws = Draws(self._seed + crc32(name.encode()))
        questions = draws.choices(self._source(kind), CALLS)
        call: Call = getattr(self._client, kind.method)
        if kind.is_write:
            return Operation(kind, _reporter(call), [_filled(item, 1) for item in self._reportable(questions)])
        if kind.asks:
            # Another one than the call before, whatever the feature.
            return Operation(kind, call, [_filled(item, place % 997 + 1) for place, item in enumerate(questions)])
        if kind.is_cold:
            embedded = self._client._embedded
            assert embedded is not None
            # A customer who was not looked at may lack the feature; a denial costs as much.
            cold = draws.choices(self._cold, CALLS)
            about = [(customer, *item[1:2]) for customer, item in zip(cold, questions, strict=True)]
            return Operation(kind, call, list(about), embedded.replica.drop)
        return Operation(kind, call, list(questions))

    def forget(self) -> None:
        """Drop everybody from memory, so that the next answers are derived from the rows."""
        embedded = self._client._embedded
        assert embedded is not None
        embedded.replica.drop()

    def usage(self, operation: Operation) -> Usage:
        """The counters of a write's questions."""
        counted = 0.0
        windows: list[object] = []
        for customer_id, feature_id, resource_id, _ in sorted(set(operation.arguments), key=str):
            answer = self._client.get_metered_entitlement(customer_id, feature_id, resource_id)
            counted += answer.current_usage or 0
            windows.append(answer.usage_period_start)
        return Usage(counted, windows)

    def _entitled(self, customers: Iterable[str]) -> dict[str, list[Question]]:
        """What these customers are entitled to, by the type of the answer."""
        found: dict[str, list[Question]] = {kind: [] for kind in _TYPES}
        # Reports are for counters that still grant something, as an application checks before it reports.
        self._open: list[Question] = []
        for customer_id in customers:
            if not self._ask(found, customer_id):
                for resource_id in self._resources(customer_id):
                    self._ask(found, customer_id, resource_id)
        return found

    def _ask(self, found: dict[str, list[Question]], customer_id: str, *resource: str) -> bool:
        state = self._client.get_entitlements_state(customer_id, *resource, include_credits=True)
        for answer in state.entitlements:
            item_id = _id_of(answer)
            if item_id is None:
                continue
            found[answer.type].append((customer_id, item_id, *resource))
            if isinstance(answer, MeteredEntitlement) and answer.has_access:
                self._open.append((customer_id, item_id, *resource))
        return bool(state.entitlements)

    def _resources(self, customer_id: str) -> tuple[str, ...]:
        """The resources of a customer who is entitled to nothing without one."""
        embedded = self._client._embedded
        assert embedded is not None
        raw = embedded.store.read(lambda tx: tx.customer_snapshot(customer_id))
        return () if raw is None else msgspec.msgpack.decode(raw, type=CustomerSnapshot).resource_ids

    def _source(self, kind: Kind) -> list[Question]:
        if kind.is_write:
            return self._open
        return [item for name in kind.types or _TYPES for item in self._found[name]]

    def _reportable(self, questions: Sequence[Question]) -> list[Question]:
        """Those of the questions that a report is taken for: one of each feature is tried."""
        is_taken: dict[str, bool] = {}
        report = _reporter(self._client.report_usage)
        for item in questions:
            if item[1] not in is_taken:
                try:
                    report(*_filled(item, 1))
                except StiggError:
                    is_taken[item[1]] = False
                else:
                    is_taken[item[1]] = True
        kept = [item for item in questions if is_taken[item[1]]]
        if not kept:
            raise InvalidInput("no usage can be reported for these customers", hint="leave `report` out")
        return kept


def asked(operation: Operation) -> list[tuple[Any, ...]]:
    """The different questions of an operation whose answers are hashed, in the order in which they are asked."""
    return list(dict.fromkeys(operation.arguments))[:ANSWERS_MAX]


def _filled(question: Question, amount: int) -> tuple[Any, ...]:
    """Customer, feature, resource and amount."""
    return (*question[:2], question[2] if len(question) > 2 else None, amount)


def _reporter(report: Call) -> Call:
    def call(customer_id: str, feature_id: str, resource_id: str | None, value: int) -> object:
        return report(customer_id, feature_id, value, resource_id=resource_id)

    return call


def _id_of(answer: Entitlement) -> str | None:
    """The feature or currency that an answer is about."""
    if answer.feature is not None:
        return answer.feature.id
    currency = getattr(answer, "currency", None)
    return None if currency is None else str(currency.id)
