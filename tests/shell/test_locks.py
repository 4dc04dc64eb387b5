"""The queue of writers between processes: one at a time, in order, and nobody blocked by the dead."""

import json
import signal
import statistics
import time
from pathlib import Path

import pytest

from stigg_local.store.locks import LeaderLock, WriterQueue
from tests.shell.stores import opened, start, total

HOLDER = """
from stigg_local.store.locks import WriterQueue
import time
queue = WriterQueue(args[0])
queue.acquire()
os.write(1, b"held\\n")
sys.stdin.readline()
queue.release()
"""

# Adds one to a number in a file without any lock but the queue; a race would lose some.
ADDER = """
from stigg_local.store.locks import WriterQueue
queue = WriterQueue(args[0])
for _ in range(int(args[2])):
    queue.acquire()
    with open(args[1], "r+") as file:
        number = int(file.read())
        file.seek(0)
        file.write(str(number + 1))
    queue.release()
"""

WRITER = """
import time, json
from stigg_local.clock import SystemClock
store = Store.open(args[0], environment=ENVIRONMENT, clock=SystemClock())
add(store, "warm-up-" + args[1])
print("ready", flush=True)
sys.stdin.readline()
times = []
for number in range(int(args[2])):
    start_s = time.perf_counter()
    add(store, f"{args[1]}-{number}")
    times.append(time.perf_counter() - start_s)
# Unmeasured, so that the checkpoint of the first one to leave does not fall into the others' times.
for number in range(int(args[2]), int(args[2]) + int(args[3])):
    add(store, f"{args[1]}-{number}")
print(json.dumps(times), flush=True)
store.close()
"""


def test_the_queue_is_free_again_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "writer.lock")
    child = start(HOLDER, path, stdin=-1)
    assert child.stdout is not None
    assert "held\n" == child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    queue = WriterQueue(path)
    queue.acquire()
    queue.release()
    queue.close()


def test_a_waiter_that_is_killed_does_not_stop_those_behind_it(tmp_path: Path) -> None:
    path = str(tmp_path / "writer.lock")
    queue = WriterQueue(path)
    queue.acquire()
    waiters = [start(HOLDER, path, stdin=-1) for _ in range(3)]
    time.sleep(0.5)
    waiters[1].send_signal(signal.SIGKILL)
    waiters[1].communicate()
    queue.release()
    for waiter in (waiters[0], waiters[2]):
        # Their order is not known, so both may go on before either is waited for.
        assert waiter.stdin is not None
        waiter.stdin.write("\n")
        waiter.stdin.flush()
    for waiter in (waiters[0], waiters[2]):
        assert "held\n" == waiter.communicate(timeout=20)[0]
    queue.close()


def test_a_wrong_ticket_costs_order_but_never_exclusion(tmp_path: Path) -> None:
    path = str(tmp_path / "writer.lock")
    queue, other = WriterQueue(path), WriterQueue(path)
    queue._words[0] = 12345
    queue.acquire()
    queue._words[0] = 3
    child = start(HOLDER, path, stdin=-1)
    time.sleep(0.4)
    assert child.poll() is None
    queue.release()
    assert "held\n" == child.communicate("\n", timeout=20)[0]
    other.close()
    queue.close()


def test_four_processes_in_the_queue_lose_no_addition(tmp_path: Path) -> None:
    number = tmp_path / "number"
    number.write_text("0")
    children = [start(ADDER, tmp_path / "writer.lock", number, 150) for _ in range(4)]
    for child in children:
        child.communicate(timeout=60)
        assert 0 == child.returncode
    assert "600" == number.read_text()


def test_only_one_leads_and_the_next_one_does_when_it_steps_back(tmp_path: Path) -> None:
    first, second = LeaderLock(str(tmp_path / "leader.lock")), LeaderLock(str(tmp_path / "leader.lock"))
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    first.close()
    second.close()


def race(data_dir: Path, processes: int, writes: int, unmeasured: int = 0) -> list[float]:
    children = [start(WRITER, data_dir, number, writes, unmeasured, stdin=-1) for number in range(processes)]
    for child in children:
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    times: list[float] = []
    for child in children:
        output, _ = child.communicate(timeout=300)
        times += json.loads(output)
    return times


def test_every_write_of_three_processes_is_counted_once(tmp_path: Path) -> None:
    race(tmp_path, 3, 30)
    with opened(tmp_path) as store:
        assert 93 == total(store)


@pytest.mark.stress
def test_eight_writing_processes_wait_for_a_bounded_time(tmp_path: Path) -> None:
    alone = statistics.median(race(tmp_path / "alone", 1, 300))
    times = sorted(race(tmp_path / "eight", 8, 400, 60))
    worst = times[int(len(times) * 0.999)]
    shares = {share: times[int(len(times) * share)] / alone for share in (0.5, 0.99, 0.999)}
    print(f"median alone {alone * 1e6:.0f} us; eight, in medians: {shares}, longest {times[-1] / alone:.1f}")
    with opened(tmp_path / "eight") as store:
        assert 8 * 461 == total(store)
    # The order of magnitude; `benchmarks.commit` reports the figure.
    assert worst / alone <= 500
