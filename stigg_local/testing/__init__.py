"""What tests of applications need: a clock moved by hand, a client in one line, a payment provider with a script."""

from typing import TYPE_CHECKING, Any

from stigg_local.testing.clock import ManualClock
from stigg_local.testing.memory import memory_client

if TYPE_CHECKING:
    from stigg_local.testing.payments import ScriptedPayments

__all__ = ["ManualClock", "ScriptedPayments", "memory_client"]


def __getattr__(name: str) -> Any:
    # The life cycle's records are imported only by tests that pay.
    if name == "ScriptedPayments":
        from stigg_local.testing.payments import ScriptedPayments

        return ScriptedPayments
    raise AttributeError(f"module `stigg_local.testing` has no attribute `{name}`")
