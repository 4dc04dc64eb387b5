"""Every vector of `fixtures/vectors`, at every level."""

from typing import Any

import pytest

from stigg_local.core import credit, period
from stigg_local.core.period import FOREVER_MS, to_ms
from tests.vectors.model import CoreLevel
from tests.vectors.runner import ClientLevel, run, vectors

CLIENT = list(vectors("client"))
PERIOD = list(vectors("period"))
BURN = list(vectors("burn"))


@pytest.mark.parametrize("vector", [vector for _, vector in CLIENT], ids=[name for name, _ in CLIENT])
def test_client_answers_as_the_vector_says(vector: dict[str, Any]) -> None:
    """The public client in process is the level that applications see."""
    run(vector, lambda clock: ClientLevel(vector, clock))


@pytest.mark.parametrize("vector", [vector for _, vector in CLIENT], ids=[name for name, _ in CLIENT])
def test_core_answers_as_the_vector_says(vector: dict[str, Any]) -> None:
    """The rules alone, without store, memo or counters, must say what the client says."""
    run(vector, lambda clock: CoreLevel(vector, clock))


@pytest.mark.parametrize("vector", [vector for _, vector in PERIOD], ids=[name for name, _ in PERIOD])
def test_period_arithmetic_gives_the_window(vector: dict[str, Any]) -> None:
    """Month ends, leap days and boundary instants are where calendars go wrong."""
    given, expected = vector["period"], vector["expect"]
    start = to_ms(given["subscriptionStart"], name="subscriptionStart")
    anchor = period.anchor_of(given["resetPeriod"], given["configuration"], start)
    window = period.window(given["resetPeriod"], to_ms(given["anchor"], name="anchor"), to_ms(given["at"], name="at"))
    actual = {"start": window[0], "end": window[1], "anchor": anchor}
    assert {key: to_ms(value, name=key) for key, value in expected.items()} == actual


@pytest.mark.parametrize("vector", [vector for _, vector in BURN], ids=[name for name, _ in BURN])
def test_burn_order_takes_what_the_vector_says(vector: dict[str, Any]) -> None:
    """The order inside one balance does not show in the balance."""
    given = vector["burn"]
    at_ms = to_ms(given["at"], name="at")

    def ms(grant: dict[str, Any], key: str, default: int) -> int:
        value = grant.get(key)
        return default if value is None else to_ms(value, name=key)

    grants = sorted(
        (
            credit.Grant(
                id=grant["id"],
                currency_id="currency",
                resource_id="",
                grant_type=grant["grantType"],
                amount=grant["amount"],
                consumed=grant.get("consumed", 0),
                priority=grant.get("priority", 0),
                effective_ms=ms(grant, "effectiveAt", 0),
                expire_ms=ms(grant, "expireAt", FOREVER_MS),
                created_ms=ms(grant, "createdAt", ms(grant, "effectiveAt", 0)),
            )
            for grant in given["grants"]
        ),
        key=credit.burn_key,
    )
    spendable = [grant for grant in grants if credit.is_spendable(grant, at_ms)]
    empty = credit.overdraft_of("currency", "", at_ms=at_ms, new_id="overdraft")
    taken = dict(credit.burn(spendable, given["amount"], overdraft=empty).taken)
    expected = vector["expect"]
    assert expected.get("overdraft", 0) == taken.pop("overdraft", 0)
    assert {key: value for key, value in expected["consumed"].items() if value} == taken
