"""Time that never goes back: the larger of the wall clock and the highest time this store has written.

Law: the mark follows the wall clock, except where the wall ran more than 24 hours ahead of the monotonic time
elapsed in this boot; then answers follow the wall, the mark stays, and `is_suspect` says so.
"""

from stigg_local.clock import Clock, wall_ms

JUMP_MAX_MS = 24 * 3600 * 1000


class HighWater:
    """The mark in memory; what is stored of it is `mark_ms` in each write and the anchor once per boot."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._time = clock.time
        self._boot_id = clock.boot_id()
        self.mark_ms = 0
        self.is_suspect = False
        self._anchor_ms = 0
        self._anchor_monotonic_ms = 0
        # Up to here the wall is believed without asking the monotonic clock again.
        self._believed_until_ms = -1

    def now_ms(self) -> int:
        """The effective time, epoch milliseconds UTC."""
        wall = int(self._time() * 1000 + 0.001)
        if wall <= self.mark_ms:
            if self.is_suspect:
                self._examine(wall)
            return self.mark_ms
        if wall <= self._believed_until_ms:
            self.mark_ms = wall
            return wall
        return self._examine(wall)

    def raise_to(self, mark_ms: int) -> None:
        """Take over a mark that another process wrote."""
        if mark_ms > self.mark_ms:
            self.mark_ms = mark_ms

    def load(self, mark_ms: int, anchor: str | None) -> None:
        """Start from what is stored: the mark, and the anchor of a boot as `anchor()` gave it."""
        self.raise_to(mark_ms)
        monotonic_ms = int(self._clock.monotonic() * 1000)
        boot_id, _, numbers = (anchor or "").partition("|")
        parts = numbers.split("|")
        if anchor is not None and boot_id == self._boot_id and len(parts) == 2:
            self._anchor_ms, self._anchor_monotonic_ms = int(parts[0]), int(parts[1])
        if self._anchor_ms == 0 or self._anchor_monotonic_ms > monotonic_ms:
            # A new boot, or a clock that starts anew: it may go on from the mark.
            self._anchor_ms = self.mark_ms or wall_ms(self._clock)
            self._anchor_monotonic_ms = monotonic_ms
        self._believed_until_ms = -1
        self.now_ms()

    def anchor(self) -> str:
        """Where this boot started, as one text to store."""
        return f"{self._boot_id}|{self._anchor_ms}|{self._anchor_monotonic_ms}"

    def confirm(self) -> None:
        """Believe the wall clock as it is now, however far it jumped."""
        self._anchor_ms = wall_ms(self._clock)
        self._anchor_monotonic_ms = int(self._clock.monotonic() * 1000)
        self._believed_until_ms = -1
        self.now_ms()

    def _examine(self, wall: int) -> int:
        elapsed_ms = int(self._clock.monotonic() * 1000) - self._anchor_monotonic_ms
        allowed_ms = self._anchor_ms + max(0, elapsed_ms) + JUMP_MAX_MS
        if wall <= allowed_ms:
            self.is_suspect = False
            self._believed_until_ms = allowed_ms
            self.mark_ms = max(self.mark_ms, wall)
            return self.mark_ms
        self.is_suspect = True
        self._believed_until_ms = -1
        return max(wall, self.mark_ms)
