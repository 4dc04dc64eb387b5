"""Forks: nobody hangs, nothing acknowledged is lost, on either side."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stigg_local.errors import ClientClosed
from stigg_local.store import Store
from stigg_local.store.digest import slot_of
from tests.shell.stores import add, measured, opened, total


def in_child(work: Callable[[], None]) -> int:
    """Fork, run `work` in the child, and give its pid; the child ends with 0 where `work` returned."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        # A child that hangs must fail, not stop the test.
        signal.alarm(30)
        work()
        code = 0
    except BaseException as error:
        print(f"child: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_reads_and_writes_after_a_fork(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "parent-1")

        def work() -> None:
            assert 1 == total(store)
            assert 2 == add(store, "child")
            assert 2 == total(store)

        assert 0 == wait_for(in_child(work))
        assert 3 == add(store, "parent-2")
        assert ["parent-1", "child", "parent-2"] == measured(store)


def test_a_child_has_its_own_keeper_and_leaves_the_lead_with_its_parent(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        until = time.monotonic() + 10
        while not store.status()["is_leader"]:
            assert time.monotonic() < until
            time.sleep(0.02)

        def work() -> None:
            add(store, "child")
            time.sleep(0.3)
            assert not store.status()["is_leader"]
            assert store._keeper is not None

        assert 0 == wait_for(in_child(work))
        assert store.status()["is_leader"]


def test_a_child_closes_the_store_without_harming_the_parent(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "parent-1")
        assert 0 == wait_for(in_child(store.close))
        assert 2 == add(store, "parent-2")


def test_both_sides_see_each_others_changes_in_the_generation(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "parent")
        before = store.load_customer("customer-1").generation

        def work() -> None:
            add(store, "child")

        assert 0 == wait_for(in_child(work))
        assert before != store.generation[slot_of("customer-1")]


def test_a_fork_that_python_does_not_see_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "parent")
        read_end, write_end = os.pipe()
        # With the interpreter's lock held: the child of a call that lets go of it may wait for it for ever.
        pid = ctypes.PyDLL(None).fork()
        if pid == 0:
            answers = []
            for call in (
                lambda: store.load_customer("customer-1"),
                lambda: store.read(lambda tx: tx.seq),
                lambda: add(store, "child"),
                lambda: Store.open(tmp_path, environment="production", clock=store._site.clock),
            ):
                try:
                    call()
                    answers.append("went through")
                except ClientClosed as error:
                    answers.append("refused" if error.hint and "os.fork" in error.hint else "no hint")
            os.write(write_end, ",".join(answers).encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            assert "refused,refused,refused,refused" == pipe.read()
        os.waitpid(pid, 0)
        assert 2 == add(store, "after")


def fork_rounds(data_dir: Path, rounds: int) -> int:
    """Fork under load: threads of the parent read and write, each child writes, all of it is there."""
    acknowledged: list[str] = []
    with opened(data_dir) as store:
        add(store, "first")
        stop = threading.Event()

        def write(number: int) -> None:
            count = 0
            while not stop.is_set():
                count += 1
                add(store, f"parent-{number}-{count}")
                acknowledged.append(f"parent-{number}-{count}")

        def read() -> None:
            while not stop.is_set():
                assert total(store) >= 1
                store.read(lambda tx: tx.counters("customer-1"))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        threads += [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        pids = []
        for number in range(rounds):

            def work(number: int = number) -> None:
                for i in range(3):
                    add(store, f"child-{number}-{i}")
                assert total(store) >= 4

            pids.append(in_child(work))
            acknowledged += [f"child-{number}-{i}" for i in range(3)]
            if len(pids) == 4:
                assert [0] * 4 == [wait_for(pid) for pid in pids]
                pids = []
        assert [0] * len(pids) == [wait_for(pid) for pid in pids]
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        stored = measured(store)
        assert set(acknowledged) | {"first"} == set(stored)
        assert len(stored) == len(set(stored)) == total(store)
        return len(stored)


def test_forks_under_load_hang_nobody_and_lose_nothing(tmp_path: Path) -> None:
    fork_rounds(tmp_path, 6)


@pytest.mark.stress
def test_50_forks_under_load_hang_nobody_and_lose_nothing(tmp_path: Path) -> None:
    print("rows", fork_rounds(tmp_path, 50))


def _in_spawned(data_dir: str, key: str) -> None:
    with opened(Path(data_dir)) as store:
        add(store, key)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_every_start_method_share_the_file(tmp_path: Path, method: str) -> None:
    with opened(tmp_path) as store:
        add(store, "parent")
        context: Any = multiprocessing.get_context(method)
        child = context.Process(target=_in_spawned, args=(str(tmp_path), method))
        child.start()
        child.join(30)
        assert 0 == child.exitcode
        assert ["parent", method] == measured(store)
