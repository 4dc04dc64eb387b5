"""What a read returns, cell by cell: the rows of the table as data, and all 648 combinations made from them.

Laws: every cell is answered by exactly one row, but for an authoritative negative, which row 16 takes over; a
fallback answers only where no data does. Run as a module it prints how many run and what the others wait for.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

# In a bundle FRESH and STALE are valid and EXPIRED is past its end.
Data = Literal["FRESH", "STALE", "EXPIRED", "NONE"]
# A timeout counts as DOWN wherever no row names it.
Upstream = Literal["UP", "TIMEOUT", "DOWN"]
# Where a fallback that grants is given.
Fallback = Literal["PER_CALL", "GLOBAL", "ABSENT"]
# AIRGAPPED is offline with a bundle.
Mode = Literal["ONLINE", "OFFLINE", "AIRGAPPED"]
Kind = Literal["BOOLEAN", "METERED", "CREDIT"]
# Where the answer comes from; DENY without data and without fallback.
Answer = Literal["SNAPSHOT", "FALLBACK", "DENY"]

DATA: tuple[Data, ...] = ("FRESH", "STALE", "EXPIRED", "NONE")
UPSTREAMS: tuple[Upstream, ...] = ("UP", "TIMEOUT", "DOWN")
FALLBACKS: tuple[Fallback, ...] = ("PER_CALL", "GLOBAL", "ABSENT")
MODES: tuple[Mode, ...] = ("ONLINE", "OFFLINE", "AIRGAPPED")
KINDS: tuple[Kind, ...] = ("BOOLEAN", "METERED", "CREDIT")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `reason` is None where access is given or data answers."""

    number: str
    mode: Mode
    data: tuple[Data, ...]
    upstream: tuple[Upstream, ...]
    fallback: tuple[Fallback, ...]
    answer: Answer
    reason: str | None
    state: str

    @property
    def is_fallback(self) -> bool:
        """False only where data answers."""
        return self.answer != "SNAPSHOT"

    def answers(self, mode: Mode, data: Data, upstream: Upstream, fallback: Fallback) -> bool:
        """Whether this row answers the combination."""
        matches = mode == self.mode and data in self.data
        return matches and upstream in self.upstream and fallback in self.fallback


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination and what it must answer; `waits_for` is None where it can run without other parts."""

    mode: Mode
    data: Data
    upstream: Upstream
    fallback: Fallback
    is_entitled: bool
    kind: Kind
    row: str
    answer: Answer
    has_access: bool
    is_fallback: bool
    reason: str | None
    state: str
    waits_for: str | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row that an embedded engine meets by itself, without any other machine.

    Attributes:
        given: What to bring about, in the words of `GIVEN`.
        request: How much is asked for; 0 where the feature is not metered.
        has_access, is_fallback, reason: What the read must answer.
        state: What `status()` must name, or None where nothing is said.
        keeps: What must still be true afterwards.
    """

    row: str
    given: str
    kind: Kind
    fallback: Fallback
    request: int
    has_access: bool
    is_fallback: bool
    reason: str | None
    state: str | None
    keeps: str


_NOT_UP: tuple[Upstream, ...] = ("TIMEOUT", "DOWN")
_PRESENT: tuple[Fallback, ...] = ("PER_CALL", "GLOBAL")

ROWS: tuple[Row, ...] = (
    Row("1-4", "ONLINE", ("FRESH",), UPSTREAMS, FALLBACKS, "SNAPSHOT", None, "FRESH"),
    Row("5-6", "ONLINE", ("STALE",), ("UP",), FALLBACKS, "SNAPSHOT", None, "STALE"),
    Row("7-8", "ONLINE", ("STALE",), _NOT_UP, FALLBACKS, "SNAPSHOT", None, "STALE"),
    Row("9", "ONLINE", ("EXPIRED",), ("UP",), FALLBACKS, "SNAPSHOT", None, "FRESH"),
    Row("10", "ONLINE", ("EXPIRED",), _NOT_UP, _PRESENT, "FALLBACK", None, "EXPIRED"),
    Row("11", "ONLINE", ("EXPIRED",), _NOT_UP, ("ABSENT",), "DENY", "Unknown", "EXPIRED"),
    Row("12", "ONLINE", ("NONE",), ("UP",), FALLBACKS, "SNAPSHOT", None, "FRESH"),
    Row("13", "ONLINE", ("NONE",), ("TIMEOUT",), _PRESENT, "FALLBACK", None, "NONE"),
    Row("13", "ONLINE", ("NONE",), ("TIMEOUT",), ("ABSENT",), "DENY", "Unknown", "NONE"),
    Row("14", "ONLINE", ("NONE",), ("DOWN",), _PRESENT, "FALLBACK", None, "NONE"),
    Row("15", "ONLINE", ("NONE",), ("DOWN",), ("ABSENT",), "DENY", "Unknown", "NONE"),
    Row("19", "OFFLINE", DATA, UPSTREAMS, _PRESENT, "FALLBACK", None, "OFFLINE"),
    Row("20", "OFFLINE", DATA, UPSTREAMS, ("ABSENT",), "DENY", "Unknown", "OFFLINE"),
    Row("21", "AIRGAPPED", ("FRESH", "STALE"), UPSTREAMS, FALLBACKS, "SNAPSHOT", None, "AIRGAPPED"),
    Row("22", "AIRGAPPED", ("EXPIRED",), UPSTREAMS, _PRESENT, "FALLBACK", None, "EXPIRED"),
    Row("22", "AIRGAPPED", ("EXPIRED",), UPSTREAMS, ("ABSENT",), "DENY", "Unknown", "EXPIRED"),
    # A bundle that holds nothing leaves plain offline.
    Row("19", "AIRGAPPED", ("NONE",), UPSTREAMS, _PRESENT, "FALLBACK", None, "OFFLINE"),
    Row("20", "AIRGAPPED", ("NONE",), UPSTREAMS, ("ABSENT",), "DENY", "Unknown", "OFFLINE"),
)

# The reason of an authoritative negative: the customer's plan lacks the feature, or the wallet is empty.
_LACKS, _POOR, _EXCEEDS = "CustomerNotEntitledForFeature", "InsufficientCredits", "RequestedUsageExceedsLimit"
NEGATIVE_REASON: dict[Kind, str] = {"BOOLEAN": _LACKS, "METERED": _LACKS, "CREDIT": _POOR}

WAITS_FOR: dict[Mode, str | None] = {"ONLINE": "sync", "OFFLINE": None, "AIRGAPPED": "bundle"}

# What a scenario brings about.
GIVEN: dict[str, str] = {
    "not entitled": "a customer whose plan lacks the feature",
    "empty wallet": "a customer without credits of a known currency",
    "unknown customer": "an id that no customer has",
    "unknown feature": "a feature id, or currency id, that the catalog lacks",
    "corrupt, cold": "the stored customer is damaged before a new client opens; nothing is in memory",
    "corrupt, warm": "the stored customer is damaged after an entitled answer has been read",
    "corrupt, rebuilt": "the database file is garbage; a new client provisions the customer again",
    "limit reached": "a metered feature used up to its hard limit of 2",
    "clock ahead": "the wall clock alone jumps two days ahead, beyond the end of a promotion of one day",
}

_SILENT = "the fallback does not fire"
_WARNED = "one warning, however many reads"
_KEPT = "the damaged file or row is kept and never trusted"
_SAME = "another process answers the same"
_UNDONE = "the jump writes nothing; the returning clock restores access"

ROWS_NOW: tuple[Scenario, ...] = (
    Scenario("16", "not entitled", "BOOLEAN", "PER_CALL", 0, False, False, _LACKS, None, _SILENT),
    Scenario("16", "not entitled", "METERED", "GLOBAL", 1, False, False, _LACKS, None, _SILENT),
    Scenario("16", "empty wallet", "CREDIT", "GLOBAL", 1, False, False, _POOR, None, _SILENT),
    Scenario("16", "unknown customer", "BOOLEAN", "PER_CALL", 0, False, False, "CustomerNotFound", None, _SILENT),
    Scenario("16", "unknown customer", "CREDIT", "GLOBAL", 1, False, False, "CustomerNotFound", None, _SILENT),
    Scenario("17", "unknown feature", "BOOLEAN", "PER_CALL", 0, True, True, "FeatureNotFound", None, _WARNED),
    Scenario("17", "unknown feature", "METERED", "GLOBAL", 5, True, True, "FeatureNotFound", None, _WARNED),
    Scenario("17", "unknown feature", "CREDIT", "GLOBAL", 5, True, True, "EntitlementNotFound", None, _WARNED),
    Scenario("18", "unknown feature", "BOOLEAN", "ABSENT", 0, False, True, "FeatureNotFound", None, _WARNED),
    Scenario("18", "unknown feature", "METERED", "ABSENT", 1, False, True, "FeatureNotFound", None, _WARNED),
    Scenario("18", "unknown feature", "CREDIT", "ABSENT", 1, False, True, "EntitlementNotFound", None, _WARNED),
    # An embedded engine is its own authority: what it lost comes back only by being provisioned again.
    Scenario("23", "corrupt, rebuilt", "BOOLEAN", "PER_CALL", 0, True, False, None, None, _KEPT),
    Scenario("24", "corrupt, warm", "BOOLEAN", "ABSENT", 0, True, False, None, "STORAGE", _KEPT),
    Scenario("24", "corrupt, cold", "BOOLEAN", "GLOBAL", 0, True, True, None, "STORAGE", _KEPT),
    Scenario("24", "corrupt, cold", "METERED", "PER_CALL", 1, True, True, None, "STORAGE", _KEPT),
    Scenario("24", "corrupt, cold", "BOOLEAN", "ABSENT", 0, False, True, "Unknown", "STORAGE", _KEPT),
    Scenario("25", "limit reached", "METERED", "PER_CALL", 1, False, False, _EXCEEDS, None, _SILENT),
    Scenario("25", "limit reached", "METERED", "ABSENT", 1, False, False, _EXCEEDS, None, _SAME),
    Scenario(
        "26",
        "clock ahead",
        "BOOLEAN",
        "ABSENT",
        0,
        False,
        False,
        "NoActiveSubscription",
        "clock_suspect",
        _UNDONE,
    ),
)


def row_of(mode: Mode, data: Data, upstream: Upstream, fallback: Fallback) -> Row:
    """The one row that answers a combination.

    Raises:
        ValueError: None or several do: the table is wrong.
    """
    found = [row for row in ROWS if row.answers(mode, data, upstream, fallback)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows answer {mode}, {data}, {upstream}, {fallback}")
    return found[0]


def cells() -> list[Cell]:
    """All 648 cells, in the order of the product."""
    return list(_cells())


def _cells() -> Iterator[Cell]:
    for mode, data, upstream, fallback in product(MODES, DATA, UPSTREAMS, FALLBACKS):
        row = row_of(mode, data, upstream, fallback)
        for is_entitled, kind in product((True, False), KINDS):
            is_negative = row.answer == "SNAPSHOT" and not is_entitled
            yield Cell(
                mode=mode,
                data=data,
                upstream=upstream,
                fallback=fallback,
                is_entitled=is_entitled,
                kind=kind,
                row="16" if is_negative else row.number,
                answer=row.answer,
                has_access=row.answer != "DENY" and not is_negative,
                is_fallback=row.is_fallback,
                reason=NEGATIVE_REASON[kind] if is_negative else row.reason,
                state=row.state,
                waits_for=WAITS_FOR[mode],
            )


def main() -> None:
    """Print how many cells run and how many wait for what."""
    counts = Counter(cell.waits_for for cell in cells())
    print(f"{sum(counts.values())} cells: {counts.pop(None, 0)} run")
    for what, count in sorted((str(what), count) for what, count in counts.items()):
        print(f"{count} wait for {what}")
    rows = sorted({scenario.row for scenario in ROWS_NOW})
    print(f"{len(ROWS_NOW)} scenarios of the rows {', '.join(rows)} run besides")


if __name__ == "__main__":
    main()
