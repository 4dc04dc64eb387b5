"""Killed holders, two processes that tick, damaged rows: what is held comes back once, and is never guessed."""

import random
import time
from pathlib import Path
from typing import Any

import apsw
import pytest

from stigg_local import Stigg, StoreCorrupt
from stigg_local.testing import ManualClock
from tests.shell.clients import CATALOG, NOON, start

CUSTOMER, CURRENCY = "customer-1", "currency-ai"
CALLS, IMAGES = "feature-calls", "feature-images"

HOLDING = """
client = Stigg(data_dir=args[0])
calls = client.reserve("customer-1", "feature-calls", 60, ttl_seconds=float(args[1]))
images = client.reserve("customer-1", "feature-images", 7, ttl_seconds=float(args[1]))
print(calls.allowed, images.allowed, flush=True)
sys.stdin.read()
"""

TICKING = """
client = Stigg(data_dir=args[0])
print("ready", flush=True)
sys.stdin.readline()
print(sum(client.tick()["ended_holds"] for _ in range(int(args[1]))), flush=True)
client.close()
"""

WORKING = """
client = Stigg(data_dir=args[0])
print("ready", flush=True)
for number in range(10**9):
    with client.reserve("customer-1", currency_id="currency-ai", amount=5, ttl_seconds=1) as hold:
        print("try", flush=True)
        hold.settle(3)
        print("ack", flush=True)
"""


def prepare(data_dir: Path, credits: int = 100) -> None:
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-app"})
        client.grant_credits(CUSTOMER, CURRENCY, credits)


def numbers(client: Stigg) -> tuple[Any, ...]:
    calls = client.get_metered_entitlement(CUSTOMER, CALLS)
    images = client.get_metered_entitlement(CUSTOMER, IMAGES)
    purse = client.get_credit_entitlement(CUSTOMER, CURRENCY)
    held = calls.reserved_usage, images.reserved_usage
    return (*held, calls.current_usage, images.current_usage, purse.current_balance)


def test_a_killed_holder_is_refunded_after_the_end_once(tmp_path: Path) -> None:
    """Nobody has to be there when it ends, and two who look at once refund it once."""
    prepare(tmp_path)
    holder = start(HOLDING, tmp_path, 3)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True True\n"
    holder.kill()
    holder.communicate()
    with Stigg(data_dir=tmp_path) as client:
        assert numbers(client) == (60, 7, 0, 0, 30)
        assert not client.consume(CUSTOMER, CALLS, 41).allowed
        assert client.consume(CUSTOMER, CALLS, 40).allowed
        ticking = [start(TICKING, tmp_path, 20) for _ in range(2)]
        for process in ticking:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(3)
        # As soon as it is over, whether or not anybody has noted it.
        assert numbers(client) == (0, 0, 40, 0, 100)
        told = [int(process.communicate("go\n")[0]) for process in ticking]
        # Each process leads or ticks by itself; what one has done the other finds done.
        assert sum(told) <= 1
        client.tick()
        assert numbers(client) == (0, 0, 40, 0, 100)
        assert client.consume(CUSTOMER, CALLS, 60).allowed
        assert client.consume(CUSTOMER, IMAGES, 10).allowed
        assert not client.consume(CUSTOMER, IMAGES, 1).allowed
        assert client.get_reservations(CUSTOMER) == ()


def kill_while_working(data_dir: Path, rounds: int, seed: int) -> None:
    source = random.Random(seed)
    prepare(data_dir, 1_000_000)
    tried = acknowledged = 0
    for _ in range(rounds):
        worker = start(WORKING, data_dir)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        time.sleep(source.uniform(0, 0.05))
        worker.kill()
        lines = worker.communicate()[0].splitlines()
        tried += lines.count("try")
        acknowledged += lines.count("ack")
    time.sleep(1.1)
    with Stigg(data_dir=data_dir) as client:
        client.tick()
        purse = client.get_credit_entitlement(CUSTOMER, CURRENCY)
        consumed, rest = divmod(purse.total_consumed, 3)
        assert rest == 0
        assert acknowledged <= consumed <= tried
        ledger = [row for row in client.get_credit_ledger(CUSTOMER, limit=1000) if row.type == "CREDITS_CONSUMED"]
        assert len(ledger) == min(consumed, len(ledger))
        assert client.get_reservations(CUSTOMER) == ()


def test_a_worker_killed_anywhere_leaves_what_it_settled_and_nothing_held(tmp_path: Path) -> None:
    """Between reserving and settling, in either, or before."""
    kill_while_working(tmp_path, 8, 1)


@pytest.mark.stress
def test_a_worker_killed_anywhere_leaves_what_it_settled_often(tmp_path: Path) -> None:
    """The same, often."""
    kill_while_working(tmp_path, 200, 2)


# ---------------------------------------------------------------------- damaged rows

DAMAGE = [
    "UPDATE hold SET body = zeroblob(20)",
    "UPDATE hold SET body = (SELECT max(body) FROM hold)",
    "UPDATE hold SET expire_ms = expire_ms + 1",
    "UPDATE hold SET seq = seq + 1",
    "UPDATE hold SET hold_id = hold_id || 'x'",
    "UPDATE hold SET customer_id = 'customer-2'",
    "UPDATE hold SET digest = zeroblob(8)",
    "UPDATE hold SET environment = 'other'",
    "DELETE FROM hold",
    "DELETE FROM hold WHERE hold_id = (SELECT max(hold_id) FROM hold)",
    "UPDATE customer SET numbers = zeroblob(8) WHERE customer_id = 'customer-1'",
]
UNKNOWN = [
    "UPDATE hold SET body = zeroblob(20); UPDATE idempotency SET reply = x'00' WHERE operation = 'reserve'",
    "DELETE FROM hold; UPDATE idempotency SET fingerprint = x'00' WHERE operation = 'reserve'",
]


def edit(data_dir: Path, statements: str) -> None:
    connection = apsw.Connection(str(data_dir / "authority.db"))
    connection.execute(statements)
    connection.close()


def held(data_dir: Path, clock: ManualClock) -> tuple[Any, ...]:
    """Two holds, one that was settled and one that was released."""
    with Stigg(catalog=CATALOG, data_dir=data_dir, clock=clock) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-app"})
        client.provision_customer("customer-2", subscription_params={"plan_id": "plan-app"})
        client.grant_credits(CUSTOMER, CURRENCY, 100)
        client.reserve(CUSTOMER, CALLS, 10).settle(4)
        client.reserve(CUSTOMER, CALLS, 20).release()
        client.reserve(CUSTOMER, CALLS, 30)
        client.reserve(CUSTOMER, IMAGES, 5)
        return numbers(client)


@pytest.mark.parametrize("statement", DAMAGE)
def test_damaged_holds_are_rebuilt(tmp_path: Path, statement: str) -> None:
    """A hold that is lost would let somebody beyond the limit; one made up would refuse somebody."""
    clock = ManualClock(NOON)
    truth = held(tmp_path, clock)
    assert truth == (30, 5, 4, 0, 50)
    edit(tmp_path, statement)
    with Stigg(data_dir=tmp_path, clock=clock) as client:
        assert truth == numbers(client)
        assert client.get_metered_entitlement("customer-2", CALLS).reserved_usage == 0
        assert not client.consume(CUSTOMER, CALLS, 67).allowed
        assert client.consume(CUSTOMER, CALLS, 66).allowed
        clock.advance(seconds=60)
        assert numbers(client) == (0, 0, 70, 0, 100)


@pytest.mark.parametrize("statement", DAMAGE)
def test_damaged_holds_are_rebuilt_by_the_first_write(tmp_path: Path, statement: str) -> None:
    """Whoever comes first repairs, a write too."""
    clock = ManualClock(NOON)
    held(tmp_path, clock)
    edit(tmp_path, statement)
    with Stigg(data_dir=tmp_path, clock=clock) as client:
        assert not client.consume(CUSTOMER, CALLS, 67).allowed
        assert client.consume(CUSTOMER, CALLS, 66).allowed
        assert numbers(client) == (30, 5, 70, 0, 50)


@pytest.mark.parametrize("statement", UNKNOWN)
def test_what_nothing_tells_any_more_is_reported(tmp_path: Path, statement: str) -> None:
    """An answer that may be wrong is none."""
    clock = ManualClock(NOON)
    held(tmp_path, clock)
    edit(tmp_path, statement)
    with Stigg(data_dir=tmp_path, clock=clock) as client:
        assert client.get_metered_entitlement(CUSTOMER, CALLS).is_fallback
        with pytest.raises(StoreCorrupt):
            client.consume(CUSTOMER, CALLS, 1)


def test_every_flipped_byte_of_a_hold_is_noticed(tmp_path: Path) -> None:
    """One bit of each byte of each column, one after the other."""
    clock = ManualClock(NOON)
    truth = held(tmp_path, clock)
    connection = apsw.Connection(str(tmp_path / "authority.db"))
    rows: list[Any] = connection.execute("SELECT hold_id, body, digest FROM hold").fetchall()
    connection.close()
    for column in (1, 2):
        for place in range(0, len(rows[0][column]), 3):
            flipped = bytearray(rows[0][column])
            flipped[place] ^= 1 << (place % 8)
            name = ("body", "digest")[column - 1]
            edit(tmp_path, f"UPDATE hold SET {name} = x'{flipped.hex()}' WHERE hold_id = '{rows[0][0]}'")
            with Stigg(data_dir=tmp_path, clock=clock) as client:
                assert truth == numbers(client), (name, place)
