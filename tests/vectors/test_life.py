"""Every life vector, at the client and at the independent model."""

from typing import Any

import pytest

from tests.vectors.life import ClientLifeLevel, ModelLevel, run_life
from tests.vectors.life_core import CoreLife
from tests.vectors.runner import catalog_path, vectors

LIFE = list(vectors("life"))
ROWS = pytest.mark.parametrize("vector", [vector for _, vector in LIFE], ids=[name for name, _ in LIFE])


@ROWS
def test_model_lives_as_the_vector_says(vector: dict[str, Any]) -> None:
    """The model is what random lives are compared with: it has to know every rule that is written down."""
    run_life(vector, lambda clock: ModelLevel(vector, clock))


CORE = [(name, vector) for name, vector in LIFE if not name.startswith("50-")]


@pytest.mark.parametrize("vector", [vector for _, vector in CORE], ids=[name for name, _ in CORE])
def test_core_lives_as_the_vector_says(vector: dict[str, Any]) -> None:
    """The rules alone, without store, memo, threads and clock, say what the client says."""
    run_life(vector, lambda clock: CoreLife(catalog_path(vector["catalog"]), clock, vector.get("payments")))


@ROWS
def test_client_lives_as_the_vector_says(vector: dict[str, Any]) -> None:
    """The public client in process is the level that applications see."""
    run_life(vector, lambda clock: ClientLifeLevel(catalog_path(vector["catalog"]), clock, vector.get("payments")))


@pytest.mark.parametrize("number", range(1, 33))
def test_every_settled_rule_has_a_vector(number: int) -> None:
    """A rule without a vector is a rule that nobody holds the engine to."""
    assert any(f"§19.{number} " in f"{vector['source']} " for _, vector in LIFE)
