"""A clock that stands still until it is moved."""

from datetime import datetime

from stigg_local.core.period import to_ms, to_text
from stigg_local.errors import InvalidInput


class ManualClock:
    """A clock for tests; pass it as `Stigg(clock=…)`.

    All of them are clocks of one machine that never slept: where one that starts later opens a directory, also in
    another process, the time in between has passed. A leap of the wall clock alone is `jump`.

    Args:
        start: Aware datetime or ISO-8601 text.
    """

    def __init__(self, start: datetime | str = "2025-01-01T00:00:00Z") -> None:
        self._wall_ms = to_ms(start, name="start")
        self._monotonic_ms = self._wall_ms

    def time(self) -> float:
        """Wall clock, seconds since the epoch."""
        return self._wall_ms / 1000

    def monotonic(self) -> float:
        """Seconds that have passed, counted from the epoch: the wall clock, had it never jumped."""
        return self._monotonic_ms / 1000

    def boot_id(self) -> str:
        """The same for all of them."""
        return "manual"

    def advance(
        self,
        *,
        seconds: float = 0,
        milliseconds: int = 0,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
    ) -> None:
        """Let time pass: wall and monotonic together."""
        passed = round((seconds + 60 * minutes + 3600 * hours + 86_400 * days) * 1000) + milliseconds
        if passed < 0:
            raise InvalidInput(f"time would pass by `{passed}` ms", hint="use set or jump to go back")
        self._wall_ms += passed
        self._monotonic_ms += passed

    def set(self, instant: datetime | str) -> None:
        """Let time pass until an instant; an earlier instant moves the wall clock alone, as `jump` does."""
        wall_ms = to_ms(instant, name="instant")
        self._monotonic_ms += max(0, wall_ms - self._wall_ms)
        self._wall_ms = wall_ms

    def jump(self, instant: datetime | str) -> None:
        """Set the wall clock, forwards or back, with no time passing."""
        self._wall_ms = to_ms(instant, name="instant")

    def __repr__(self) -> str:
        return f"ManualClock({to_text(self._wall_ms)!r})"
