"""Every check of every vector is explained: the answer is the getter's, the winner the one that a person names."""

import json
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stigg_local.core.answer import Entitlement
from stigg_local.core.explanation import Explanation
from stigg_local.testing import ManualClock
from tests.shell.test_explain import asked, becomes_yes, wrong
from tests.vectors.person import Shelf, claims, rule
from tests.vectors.runner import FIXTURES, GETTERS, ClientLevel, catalog_path, run, snake, vectors

CLIENT = list(vectors("client"))
BY_HAND: dict[str, dict[str, list[str | None]]] = json.loads((FIXTURES / "explain/winners.json").read_text())


def catalog_of(path: Path) -> dict[str, Any]:
    """A catalog file as it is written."""
    return dict(json.loads(path.read_text()) if path.suffix == ".json" else tomllib.loads(path.read_text()))


class Explaining(ClientLevel):
    """A client whose every single answer is explained too, and compared with what a person says."""

    applies = False

    def __init__(self, vector: dict[str, Any], clock: ManualClock, winners: list[str | None] | None = None) -> None:
        super().__init__(vector, clock)
        self.clock = clock
        self.winners = None if winners is None else iter(winners)
        self.compared = 0
        self.shelf = Shelf()
        self.shelf.publish(catalog_of(catalog_path(vector["catalog"])))

    def do(self, do: dict[str, Any]) -> None:
        super().do(do)
        if do["type"] == "applyCatalog":
            self.shelf.publish(catalog_of(catalog_path(do["catalog"])))

    def check(self, check: dict[str, Any]) -> dict[str, Any]:
        expected = None if self.winners is None else next(self.winners)
        arguments = {snake(key): value for key, value in check.items() if key != "get"}
        if check["get"] in GETTERS:
            kind = None if check["get"] == "entitlement" else check["get"].upper()
            answer, explanation = asked(self.client, kind, arguments)
            self.look(answer, explanation)
            if expected is not None:
                assert expected == named(explanation)
        else:
            # A list is explained item by item, and so is all that is not in it.
            for feature_id in self.shelf.features:
                request = {"customer_id": arguments["customer_id"], "feature_id": feature_id}
                request["resource_id"] = arguments.get("resource_id")
                self.look(*asked(self.client, None, request))
        return super().check(check)

    def look(self, answer: Entitlement, explanation: Explanation) -> None:
        assert [] == wrong(answer, explanation)
        if self.applies:
            assert [] == [way for way in explanation.ways if not becomes_yes(self.client, explanation, way)]
        question = explanation.question
        if answer.is_fallback or question.feature_id not in self.shelf.features or answer.type == "CREDIT":
            return
        reason = answer.access_denied_reason
        if reason in ("CustomerNotFound", "CustomerIsArchived", "CustomerResourceNotFound"):
            assert {"FALLBACK"} >= {source.kind for source in explanation.sources}
            return
        found = claims(
            self.shelf,
            self.client,
            question.customer_id,
            question.feature_id,
            question.resource_id,
            explanation.now_ms,
        )
        winner = explanation.winner
        if not found:
            assert winner is None
            return
        best = found[0]
        assert winner is not None
        assert winner.gives is not None
        self.compared += 1
        assert rule(best, found[1] if len(found) > 1 else None) == winner.rule
        assert (best.source.start_ms, getattr(best.source, "subscription_id", None)) == (
            winner.start_ms,
            winner.subscription_id,
        )
        assert best.given.is_granted == winner.gives.is_granted
        if winner.gives.limit is not None and not best.given.is_unlimited:
            assert float(best.given.limit) == winner.gives.limit
        assert best.given.is_unlimited == winner.gives.is_unlimited
        assert best.owed_to == {item.base_plan_id or item.package_id for item in winner.packages}
        allowed = frozenset[str]().union(*(claim.values for claim in found if claim.given.is_granted))
        if answer.type == "ENUM" and best.given.is_granted:
            told = [source.gives.enum_values or () for source in explanation.sources if source.counts and source.gives]
            assert allowed == {value for each in told for value in each}
        adds = [item.adds for item in winner.packages if item.counts]
        if winner.packages and winner.gives.limit is not None and answer.type in ("METERED", "NUMERIC"):
            assert round(sum(add or 0 for add in adds), 6) == winner.gives.limit


def named(explanation: Explanation) -> str:
    """The winner in the words of the hand-written table."""
    winner = explanation.winner
    if winner is None:
        return "nothing"
    if winner.kind == "PROMOTION":
        return "promotion"
    return f"trial {winner.plan_id}" if winner.kind == "TRIAL" else str(winner.plan_id)


class Applying(Explaining):
    """The same, and every way is tried."""

    applies = True


@pytest.mark.parametrize("part", range(4))
def test_a_person_names_the_same_winner(part: int) -> None:
    """For each check of each vector: the answer, the winner, the rule, what it gives and to whom it owes that."""
    compared = 0
    for name, vector in CLIENT[part::4]:
        levels: list[Explaining] = []

        def level(
            clock: ManualClock, vector: dict[str, Any] = vector, levels: list[Explaining] = levels
        ) -> Explaining:
            levels.append(Explaining(vector, clock))
            return levels[-1]

        try:
            run(vector, level)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        compared += levels[0].compared
    assert compared > 80


@pytest.mark.parametrize("stem", BY_HAND)
def test_the_winner_is_the_one_named_by_hand(stem: str) -> None:
    """The table was filled in with pencil and paper, next to the vectors."""
    by_name = dict(CLIENT)
    for name, winners in BY_HAND[stem].items():
        vector = by_name[f"{stem}: {name}"]
        assert len(winners) == sum("check" in step for step in vector["steps"]), name
        run(vector, partial(Explaining, vector, winners=winners))


@pytest.mark.stress
@pytest.mark.parametrize("vector", [vector for _, vector in CLIENT], ids=[name for name, _ in CLIENT])
def test_every_way_of_every_vector_leads_to_yes(vector: dict[str, Any]) -> None:
    """Applied to a copy of the directory, each way turns the answer into the one that it promised."""
    run(vector, partial(Applying, vector))
