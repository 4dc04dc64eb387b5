"""Life vectors at the command line: every step is a command, with the clock standing at its instant."""

from pathlib import Path
from typing import Any

import pytest

from stigg_local.cli.main import main
from tests.vectors.life import run_life
from tests.vectors.life_cli import CommandLifeLevel, Ran, unsaid
from tests.vectors.runner import vectors

# The plain run takes a part of them; all run with the slow tests.
EVERY = 5
# The command line collects no money, so what a payment provider answers cannot be told to it.
UNPAID = [(name, vector) for name, vector in vectors("life") if "payments" not in vector]
SAID = [(name, vector) for name, vector in UNPAID if not list(unsaid(vector))]


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=name, marks=() if number % EVERY == 0 else pytest.mark.stress)
        for number, (name, vector) in enumerate(SAID)
    ],
)
def test_the_command_line_lives_as_the_vector_says(
    vector: dict[str, Any], data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that each open the directory anew say what one client says that stays open.

    Left out are vectors with `payments`, as the command line has no payment provider, and those with an argument
    that no command takes, which the next test lists. `tick` is passed over: no answer depends on it.
    """
    monkeypatch.delenv("STIGG_LOCAL_DATA_DIR", raising=False)

    def run(words: list[str]) -> Ran:
        capsys.readouterr()
        code = main(words)
        return Ran(code, *capsys.readouterr())

    run_life(vector, lambda clock: CommandLifeLevel(vector["catalog"], clock, data_dir, run))


def test_next_to_all_vectors_can_be_said_in_commands() -> None:
    """What is left out is named, so that no vector goes missing unseen."""
    left_out = {name: said for name, vector in UNPAID if (said := [argument for argument, _ in unsaid(vector)])}
    assert left_out == {
        # `customer provision --metadata` is the customer's.
        "40-journeys: plan selection gives the plan that was asked for": ["metadata"],
        # There is `--trial`; what is no trial is said with `--skip-trial`, another argument.
        "42-trial-life: a trial override of false starts paid": ["trial_override"],
        # What is typed is text, so a number cannot be meant, and an empty mapping has no pair to type.
        "43-provisioning: metadata holds text": ["metadata", "metadata"],
        "43-provisioning: an unknown subscription is not found": ["metadata"],
    }
    assert len(SAID) >= 150
