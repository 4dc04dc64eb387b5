"""Explanations of what reservations hold and of what raw events feed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stigg_local import Stigg
from stigg_local.testing import ManualClock
from tests.shell.clients import FULL_CATALOG, NOON, fill, live


@pytest.fixture
def lived(data_dir: Path) -> Iterator[Stigg]:
    clock = ManualClock(NOON)
    with Stigg(catalog=FULL_CATALOG, data_dir=data_dir, clock=clock) as client:
        for _ in fill(client):
            clock.advance(seconds=1)
        live(client)
        yield client


def test_what_is_reserved_is_not_left(lived: Stigg) -> None:
    found = lived.explain("customer-1", "feature-calls", requested_usage=92)
    assert found.counter is not None
    assert (7, 2, 91) == (found.counter.usage, found.counter.reserved, found.counter.remaining)
    assert "2 reserved" in str(found)
    less = next(way for way in found.ways if way.kind == "LESS")
    assert 91 == less.requested_usage


def test_the_end_of_a_reservation_is_waited_for(lived: Stigg) -> None:
    lived.reserve("customer-2", "feature-calls", 1, resource_id="site-1", idempotency_key="hold-3")
    found = lived.explain("customer-2", "feature-calls", "site-1", requested_usage=3)
    way = next(way for way in found.ways if way.kind == "WAIT")
    assert way.at_ms == found.now_ms + 60_000


def test_held_credits_are_not_left(lived: Stigg) -> None:
    found = lived.explain("customer-1", "currency-ai", requested_usage=90)
    assert found.credits is not None
    assert 87 == found.credits.remaining
    assert 3 == next(way for way in found.ways if way.kind == "CREDITS").amount


def test_ways_to_more_of_what_events_feed_are_found(lived: Stigg) -> None:
    found = lived.explain("customer-4", "feature-tokens", requested_usage=900)
    assert found.counter is not None
    assert (150, 850) == (found.counter.usage, found.counter.remaining)
    assert 1050 == next(way for way in found.ways if way.kind == "PROMOTION").limit
