"""The fixtures that every test may use: a clock that stands still and a directory for data."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stigg_local.testing import ManualClock


@pytest.fixture
def clock() -> "ManualClock":
    """A clock that moves only when the test moves it."""
    from stigg_local.testing import ManualClock

    return ManualClock("2025-01-31T10:00:00Z")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Where a client keeps its files; not created yet, as on a user's first day."""
    return tmp_path / "stigg"
