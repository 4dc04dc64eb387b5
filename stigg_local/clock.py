"""The only module that reads clocks and makes ids; everything else is handed them.

Wall time is float seconds on the read path (what `time.time` gives) and integer milliseconds elsewhere.
"""

import os
import time
from typing import Protocol


class Clock(Protocol):
    """What the engine needs from a clock; `testing.ManualClock` is the other implementation."""

    def time(self) -> float:
        """Wall clock, seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back, counts suspended time where it can."""

    def boot_id(self) -> str:
        """Changes whenever `monotonic` starts anew."""


_CLOCK_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        # The C function itself: a Python method around it would cost the read path 30 ns.
        self.time = time.time

    def monotonic(self) -> float:
        """Seconds since boot, suspended time included where the system offers it."""
        return time.clock_gettime(_CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """The kernel's id of this boot; empty where there is none."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return ""


def wall_ms(clock: Clock) -> int:
    """The clock's wall time as epoch milliseconds."""
    # A thousandth of a millisecond makes up for binary fractions: 0.123 s is 123 ms, not 122.
    return int(clock.time() * 1000 + 0.001)


def new_id(prefix: str = "") -> str:
    """A fresh random id: the prefix and 32 hexadecimal digits."""
    return prefix + os.urandom(16).hex()


def new_short_id() -> str:
    """Ten hexadecimal digits, for ids that people read."""
    return os.urandom(5).hex()
