"""Kills, forks and neighbours, seen from the public client: nothing acknowledged is lost, doubled or unseen.

Every process here is real and every kill is SIGKILL.
"""

import multiprocessing
import os
import random
import select
import signal
import subprocess
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import apsw
import pytest

from stigg_local import ClientClosed, Stigg
from tests.shell.clients import CATALOG, start

CUSTOMER, FEATURE = "customer-1", "feature-calls"
PATIENCE_S = 60.0


def prepare(data_dir: Path) -> None:
    """One customer with an endless meter."""
    with Stigg(catalog=CATALOG, data_dir=data_dir) as client:
        client.provision_customer(CUSTOMER, subscription_params={"plan_id": "plan-endless"})


def usage(client: Stigg) -> int | float:
    return client.get_metered_entitlement(CUSTOMER, FEATURE).current_usage


# ---------------------------------------------------------------------- kills

REPORTING = """
# Loaded before the first report, so that a kill meets reports and not imports.
import stigg_local.authority.authority
client = Stigg(data_dir=args[0])
for number in range(10**9):
    key = f"{args[1]}-{number}"
    sys.stdout.write(f"try {key}\\n"); sys.stdout.flush()
    client.report_usage("customer-1", "feature-calls", 1, idempotency_key=key)
    sys.stdout.write(f"ack {key}\\n"); sys.stdout.flush()
"""


def kill_while_reporting(data_dir: Path, rounds: int, seed: int) -> tuple[int, int]:
    """Kill a reporting process again and again; returns how much was acknowledged and attempted."""
    source = random.Random(seed)
    prepare(data_dir)
    attempted: list[str] = []
    acknowledged: list[str] = []
    for number in range(rounds):
        process = start(REPORTING, data_dir, number)
        assert process.stdout is not None
        first = process.stdout.readline()
        if number == 0:
            # However slow the machine is, something is acknowledged before the first kill.
            first += process.stdout.readline()
        time.sleep(source.uniform(0, 0.03))
        process.kill()
        # Through the same reader: `communicate` would lose what that one has read ahead.
        rest = process.stdout.read()
        process.communicate()
        # The kill may cut the last line.
        lines = (first + rest).rpartition("\n")[0].splitlines()
        attempted += [line[4:] for line in lines if line.startswith("try ")]
        acknowledged += [line[4:] for line in lines if line.startswith("ack ")]
        with Stigg(data_dir=data_dir) as client:
            assert len(acknowledged) <= usage(client) <= len(attempted), f"round {number}"
    with Stigg(data_dir=data_dir) as client:
        for key in attempted:
            client.report_usage(CUSTOMER, FEATURE, 1, idempotency_key=key)
        assert len(attempted) == usage(client)
    with Stigg(data_dir=data_dir) as client:
        assert len(attempted) == usage(client)
    return len(acknowledged), len(attempted)


def test_what_was_acknowledged_before_a_kill_is_there_once(data_dir: Path) -> None:
    acknowledged, _ = kill_while_reporting(data_dir, 4, 1)
    assert acknowledged > 0


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_what_was_acknowledged_before_two_hundred_kills_is_there_once(data_dir: Path) -> None:
    acknowledged, attempted = kill_while_reporting(data_dir, 200, 2)
    print(f"200 kills: {acknowledged} acknowledged, {attempted} attempted, 0 lost, 0 doubled")
    assert acknowledged > 200


# ---------------------------------------------------------------------- forks


@contextmanager
def load(client: Stigg) -> Iterator[list[int]]:
    """Threads that read and report until the end; the list has how many units each reported."""
    stop = threading.Event()
    reported = [0, 0]
    failures: list[BaseException] = []

    def report(place: int) -> None:
        try:
            while not stop.is_set():
                client.report_usage(CUSTOMER, FEATURE, 1)
                reported[place] += 1
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            while not stop.is_set():
                before = sum(reported)
                assert usage(client) >= before
                client.reload_entitlements(CUSTOMER)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=report, args=(place,)) for place in range(2)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield reported
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads), "a thread of the parent hangs"
    assert [] == failures


def in_fork(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; returns its process id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return process


def wait(process: int) -> int:
    """The exit code of a child that must not hang."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError("the child hangs")


def fork_under_load(data_dir: Path, rounds: int) -> None:
    prepare(data_dir)
    units = 3
    with Stigg(data_dir=data_dir) as client:
        usage(client)

        def work() -> None:
            before = usage(client)
            for _ in range(units):
                result = client.report_usage(CUSTOMER, FEATURE, 1)
                assert result is not None
                now = usage(client)
                assert now >= result.current_usage > before
                before = now

        with load(client) as reported:
            for _ in range(rounds):
                assert 0 == wait(in_fork(work))
        total = sum(reported) + rounds * units
        assert total == usage(client)
    with Stigg(data_dir=data_dir) as client:
        assert total == usage(client)


def test_a_child_forked_under_load_reads_and_reports(data_dir: Path) -> None:
    fork_under_load(data_dir, 5)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_fifty_children_forked_under_load_read_and_report(data_dir: Path) -> None:
    fork_under_load(data_dir, 50)


def test_a_lock_that_another_thread_held_at_the_fork_does_not_stop_the_child(data_dir: Path) -> None:
    """The window is too small to be met by chance."""
    prepare(data_dir)
    with Stigg(data_dir=data_dir) as client:
        assert client._embedded is not None
        with client._embedded.replica._lock, client._embedded.catalogs._lock:

            def work() -> None:
                client.catalog.apply(CATALOG | {"products": [*CATALOG["products"], {"id": "product-new"}]})
                client.report_usage(CUSTOMER, FEATURE, 1)
                assert 1 == usage(client)

            assert 0 == wait(in_fork(work))
        assert 1 == usage(client)


def test_what_a_child_was_told_is_on_disk_stays_after_the_parent_closes(data_dir: Path) -> None:
    prepare(data_dir)
    client = Stigg(data_dir=data_dir)
    assert 0 == usage(client)
    told_read, told_write = os.pipe()
    closed_read, closed_write = os.pipe()

    def work() -> None:
        client.report_usage(CUSTOMER, FEATURE, 5)
        os.write(told_write, b"x")
        # The parent closes now; the child's client is its own.
        os.read(closed_read, 1)
        client.report_usage(CUSTOMER, FEATURE, 2)
        assert 7 == usage(client)

    process = in_fork(work)
    os.read(told_read, 1)
    client.close()
    os.write(closed_write, b"x")
    assert 0 == wait(process)
    for descriptor in (told_read, told_write, closed_read, closed_write):
        os.close(descriptor)
    with Stigg(data_dir=data_dir) as again:
        assert 7 == usage(again)


def _report_in_child(data_dir: str, connection: "multiprocessing.connection.Connection") -> None:
    client = _inherited[data_dir]
    client.report_usage(CUSTOMER, FEATURE, 1)
    connection.send(usage(client))


_inherited: dict[str, Stigg] = {}


def test_a_child_made_by_multiprocessing_uses_the_client_as_it_is(data_dir: Path) -> None:
    prepare(data_dir)
    context = multiprocessing.get_context("fork")
    with Stigg(data_dir=data_dir) as client:
        _inherited[str(data_dir)] = client
        usage(client)
        for number in range(3):
            here, there = context.Pipe()
            process = context.Process(target=_report_in_child, args=(str(data_dir), there))
            process.start()
            assert number + 1 == here.recv()
            process.join(PATIENCE_S)
            assert 0 == process.exitcode
            process.close()
            here.close()
            there.close()
            assert number + 1 == usage(client)
        del _inherited[str(data_dir)]


def test_a_child_may_close_its_client_and_open_another(data_dir: Path) -> None:
    prepare(data_dir)
    with Stigg(data_dir=data_dir) as client:
        usage(client)

        def work() -> None:
            client.close()
            with Stigg(data_dir=data_dir) as other:
                other.report_usage(CUSTOMER, FEATURE, 1)
                assert 1 == usage(other)

        assert 0 == wait(in_fork(work))
        assert 1 == usage(client)


FORKED_IN_C = """
import ctypes
client = Stigg(data_dir=args[0])
client.get_metered_entitlement("customer-1", "feature-calls")
process = ctypes.PyDLL(None).fork()
if process == 0:
    # What is in memory is still answered; whatever touches the disk is refused.
    told = []
    for call in (
        lambda: client.report_usage("customer-1", "feature-calls", 1),
        lambda: client.get_metered_entitlement("customer-2", "feature-calls"),
        lambda: Stigg(data_dir=args[0]),
    ):
        try:
            call()
            told.append("worked")
        except StiggError as error:
            told.append(f"{type(error).__name__}: {error.hint}")
    sys.stdout.write("\\n".join(told)); sys.stdout.flush()
    os._exit(0)
os.waitpid(process, 0)
"""


def test_a_child_forked_in_c_is_told_the_way_out(data_dir: Path) -> None:
    prepare(data_dir)
    process = start("from stigg_local import StiggError\n" + FORKED_IN_C, data_dir)
    told = process.communicate(timeout=PATIENCE_S)[0].splitlines()
    assert 0 == process.returncode
    assert ["ClientClosed"] * 3 == [line.split(":")[0] for line in told], told
    assert all("os.fork" in line for line in told)


# ---------------------------------------------------------------------- neighbours

NEIGHBOUR = """
client = Stigg(data_dir=args[0])
def usage():
    return client.get_metered_entitlement("customer-1", "feature-calls").current_usage
usage()
sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    word = line.strip()
    if word == "report":
        client.report_usage("customer-1", "feature-calls", 1)
    elif word == "die":
        # Between the commit and everything that follows it.
        from stigg_local.store.generation import Generation
        Generation.settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        client.report_usage("customer-1", "feature-calls", 1)
    sys.stdout.write(f"{usage()}\\n"); sys.stdout.flush()
"""


class Neighbours:
    """Processes on one directory that are told what to do, one at a time."""

    def __init__(self, data_dir: Path, count: int) -> None:
        self.data_dir = data_dir
        self.processes: list[subprocess.Popen[str]] = []
        for _ in range(count):
            self.add()

    def add(self) -> None:
        process = start(NEIGHBOUR, self.data_dir)
        self.processes.append(process)
        assert "ready" == self.answer(process)

    def tell(self, process: subprocess.Popen[str], word: str) -> str:
        assert process.stdin is not None
        process.stdin.write(word + "\n")
        process.stdin.flush()
        return self.answer(process)

    def answer(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        assert readable, "a process hangs"
        return process.stdout.readline().strip()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@contextmanager
def neighbours(data_dir: Path, count: int) -> Iterator[Neighbours]:
    prepare(data_dir)
    found = Neighbours(data_dir, count)
    try:
        yield found
    finally:
        found.close()


def ping_pong(data_dir: Path, rounds: int) -> None:
    with neighbours(data_dir, 4) as found:
        for number in range(rounds):
            writer = found.processes[number % 4]
            assert str(number + 1) == found.tell(writer, "report")
            for process in found.processes:
                assert str(number + 1) == found.tell(process, "read"), f"round {number}"


def test_four_processes_see_each_others_usage_at_their_next_read(data_dir: Path) -> None:
    ping_pong(data_dir, 40)


@pytest.mark.stress
def test_four_processes_see_each_others_usage_for_a_thousand_rounds(data_dir: Path) -> None:
    ping_pong(data_dir, 1000)


def killed_after_commit(data_dir: Path, rounds: int) -> None:
    with neighbours(data_dir, 4) as found:
        expected = 0
        for number in range(rounds):
            victim = found.processes.pop(number % 3)
            assert "" == found.tell(victim, "die")
            victim.communicate()
            assert -signal.SIGKILL == victim.returncode
            expected += 1
            for process in found.processes:
                assert str(expected) == found.tell(process, "read"), f"round {number}"
            # The next writer is not held up by what the dead one left behind.
            expected += 1
            assert str(expected) == found.tell(found.processes[0], "report")
            for process in found.processes:
                assert str(expected) == found.tell(process, "read"), f"round {number}"
            found.add()


def test_a_writer_killed_between_commit_and_return_is_seen_at_the_next_read(data_dir: Path) -> None:
    killed_after_commit(data_dir, 3)


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_forty_writers_killed_between_commit_and_return_are_seen_at_the_next_read(data_dir: Path) -> None:
    killed_after_commit(data_dir, 40)


WRITING = """
import time
client = Stigg(data_dir=args[0])
client.report_usage("customer-1", "feature-calls", 1)
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
took = []
end = time.perf_counter() + float(args[1])
while time.perf_counter() < end:
    before = time.perf_counter()
    client.report_usage("customer-1", "feature-calls", 1)
    took.append((before, time.perf_counter()))
sys.stdout.write(" ".join(f"{one:.7f},{two:.7f}" for one, two in took)); sys.stdout.flush()
client.close()
"""


def raw_commit(directory: Path) -> float:
    """Median seconds of a one-row commit at full durability on a database of its own."""
    connection = apsw.Connection(str(directory / "raw.db"))
    for statement in ("PRAGMA journal_mode = wal", "PRAGMA synchronous = full", "CREATE TABLE IF NOT EXISTS t (x)"):
        connection.execute(statement).fetchall()
    took = []
    for number in range(400):
        before = time.perf_counter()
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        took.append(time.perf_counter() - before)
    connection.close()
    return median(took)


def eight_writers(data_dir: Path, seconds: float) -> tuple[list[tuple[float, float]], float]:
    """When each report of eight processes began and ended, shortest first, and what a raw commit takes."""
    prepare(data_dir)
    before = raw_commit(data_dir)
    processes = [start(WRITING, data_dir, seconds) for _ in range(8)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()
        spans: list[tuple[float, float]] = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            for span in process.communicate(timeout=PATIENCE_S)[0].split():
                begin, _, end = span.partition(",")
                spans.append((float(begin), float(end)))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with Stigg(data_dir=data_dir) as client:
        assert len(spans) + 8 == usage(client)
    # The faster of the two, because other load on the machine only makes a commit slower.
    return sorted(spans, key=lambda span: span[1] - span[0]), min(before, raw_commit(data_dir))


def overtaken(spans: list[tuple[float, float]]) -> list[int]:
    """How many reports of others ended while each was waiting, fewest first; the clock is one for all processes."""
    ends = sorted(end for _, end in spans)
    return sorted(bisect_left(ends, end) - bisect_right(ends, begin) for begin, end in spans)


def test_eight_processes_write_in_turn_and_every_report_counts_once(data_dir: Path) -> None:
    spans, _ = eight_writers(data_dir, 0.5)
    # A fair queue lets each of the others through about once, whatever else the machine does.
    assert overtaken(spans)[-1] <= 50


@pytest.mark.stress
def test_eight_processes_write_and_none_is_overtaken_more_than_fifty_times(data_dir: Path) -> None:
    """Measured against a bare commit of the same minute: on a busy machine the waiting is for the processor."""
    spans, commit = eight_writers(data_dir, 10)
    at = {place: spans[int(len(spans) * place) - 1] for place in (0.5, 0.99, 0.999, 1.0)}
    ratios = {place: (end - begin) / commit for place, (begin, end) in at.items()}
    counts = overtaken(spans)
    print(
        f"8 writers: {len(spans)} reports, a raw commit takes {commit * 1e6:.0f} us; in its time:"
        f" p50 {ratios[0.5]:.1f}, p99 {ratios[0.99]:.1f}, p99.9 {ratios[0.999]:.1f}, max {ratios[1.0]:.1f};"
        f" reports of others in between: p50 {counts[len(counts) // 2]}, max {counts[-1]}"
    )
    assert counts[-1] <= 50
    # The order of magnitude, for the machine may be busy; `benchmarks.commit` reports the figure.
    assert ratios[0.999] <= 500


# ---------------------------------------------------------------------- the end of a process


def test_a_process_that_never_closes_its_client_ends_promptly(data_dir: Path) -> None:
    prepare(data_dir)
    process = start(
        "client = Stigg(data_dir=args[0])\nclient.report_usage('customer-1', 'feature-calls', 1)", data_dir
    )
    process.communicate(timeout=PATIENCE_S / 4)
    assert 0 == process.returncode
    with Stigg(data_dir=data_dir) as client:
        assert 1 == usage(client)


def test_closing_is_prompt_while_other_threads_report(data_dir: Path) -> None:
    prepare(data_dir)
    client = Stigg(data_dir=data_dir)
    acknowledged = [0, 0, 0]
    failures: list[BaseException] = []

    def report(place: int) -> None:
        try:
            while True:
                client.report_usage(CUSTOMER, FEATURE, 1)
                acknowledged[place] += 1
        except ClientClosed:
            return
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=report, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    while not all(acknowledged):
        time.sleep(0.001)
    client.close()
    for thread in threads:
        thread.join(PATIENCE_S / 4)
    assert not any(thread.is_alive() for thread in threads)
    assert [] == failures
    with Stigg(data_dir=data_dir) as again:
        assert sum(acknowledged) <= usage(again) <= sum(acknowledged) + 3
