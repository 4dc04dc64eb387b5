"""pytest fixtures: `stigg_clock`, `stigg_catalog` and `stigg`.

Override `stigg_catalog` (and `stigg_clock`) in a conftest; `stigg` is a fresh client of them for each test.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stigg_local.client import Stigg
    from stigg_local.testing.clock import ManualClock


@pytest.fixture
def stigg_clock() -> "ManualClock":
    """A clock that stands still at the beginning of 2025."""
    from stigg_local.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def stigg_catalog() -> Mapping[str, Any]:
    """The catalog of the client: one product without plans; override it with yours, a mapping or a path."""
    return {"schema": 1, "products": [{"id": "product-test"}]}


@pytest.fixture
def stigg(stigg_catalog: Any, stigg_clock: "ManualClock") -> "Iterator[Stigg]":
    """A fresh client with the catalog and the clock of the other two fixtures."""
    from stigg_local.testing.memory import memory_client

    client = memory_client(stigg_catalog, clock=stigg_clock)
    try:
        yield client
    finally:
        client.close()
