"""What tests of applications need: a clock that is moved by hand, and a client in one line."""

from stigg_local.testing.clock import ManualClock
from stigg_local.testing.memory import memory_client

__all__ = ["ManualClock", "memory_client"]
