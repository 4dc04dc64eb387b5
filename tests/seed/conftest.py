"""A client on the catalog of the snippets."""

from collections.abc import Iterator

import pytest

from stigg_local import Stigg
from stigg_local.testing import ManualClock
from tests.vectors.runner import catalog_path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock("2024-01-15T00:00:00Z")


@pytest.fixture
def stigg(clock: ManualClock) -> Iterator[Stigg]:
    client = Stigg(catalog=catalog_path("seed"), clock=clock)
    client.wait_for_initialization()
    yield client
    client.close()
