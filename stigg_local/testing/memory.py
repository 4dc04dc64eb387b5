"""A client on a directory of its own, gone when it is closed."""

import os
from collections.abc import Mapping
from typing import Any

from stigg_local.client import Stigg
from stigg_local.clock import Clock


def memory_client(
    catalog: str | os.PathLike[str] | Mapping[str, Any], *, clock: Clock | None = None, **arguments: Any
) -> Stigg:
    """An embedded client that keeps nothing: the real engine, on a private temporary directory.

    Args:
        catalog: A catalog file or a mapping.
        clock: For example a `ManualClock`.
        arguments: Further arguments of `Stigg`.
    """
    return Stigg(catalog=catalog, clock=clock, **arguments)
