"""The line of commands by itself: who leads, who is let go when, and an interrupt at every instant of it."""

import dis
import sys
import threading
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

from stigg_local.errors import StoreError
from stigg_local.store import commit
from stigg_local.store.commit import GroupCommit, Member

WAIT_S = 20
# After these CPython looks for a signal, or for an exception that another thread has set.
CHECKED = ("CALL", "RESUME", "JUMP_BACKWARD")


class Interrupter:
    """Throws a keyboard interrupt into the calling thread at the nth instant at which the line's code may get one."""

    def __init__(self, nth: int) -> None:
        self.left = nth
        self.has_struck = False
        self._before: dict[int, int] = {}
        self._names: dict[CodeType, dict[int, str]] = {}

    def __enter__(self) -> None:
        sys.settrace(self._enter)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != commit.__file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._at

    def _at(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "opcode":
            name = self._name(frame.f_code, self._before.get(id(frame), -1))
            self._before[id(frame)] = frame.f_lasti
            if name.startswith(CHECKED):
                self.left -= 1
                if self.left == 0:
                    self.has_struck = True
                    sys.settrace(None)
                    raise KeyboardInterrupt
        else:
            self._before.pop(id(frame), None)
        return self._at

    def _name(self, code: CodeType, offset: int) -> str:
        names = self._names.get(code)
        if names is None:
            names = self._names[code] = {one.offset: one.opname for one in dis.get_instructions(code)}
        return names.get(offset, "")


class Line:
    """A line whose batches do nothing but be counted."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.commit = GroupCommit(self._run)
        self.threads: list[threading.Thread] = []

    def _run(self, batch: list[Member]) -> None:
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        self.batches.append([member.key for member in batch])
        for member in batch:
            member.settle(member.key, None)

    def write(self, key: str) -> Any:
        return self.commit.write(Member(lambda _: None, "test", key))

    def start(self, work: Callable[[], Any]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def in_line(self, count: int) -> None:
        until = time.monotonic() + WAIT_S
        while len(self.commit._line) < count:
            assert time.monotonic() < until
            time.sleep(0.0002)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(WAIT_S)
        assert not any(thread.is_alive() for thread in self.threads)


def write(line: Line) -> None:
    line.write("victim")


def write_all(line: Line) -> None:
    line.commit.write_all([Member(lambda _: None, "test", f"victim-{number}") for number in range(2)])


def stop(line: Line) -> None:
    member = Member()
    try:
        line.commit.pause(member)
    finally:
        line.commit.resume(member)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("act", [write, write_all, stop])
def test_an_interrupt_at_any_instant_leaves_nobody_waiting(act: Callable[[Line], None], place: int) -> None:
    """The victim leads the first batch, leads the next one, or stands between others in it."""
    nth, is_through = 0, False
    while not is_through:
        nth += 1
        line = Line()
        interrupter = Interrupter(nth)

        def victim(line: Line = line, interrupter: Interrupter = interrupter) -> None:
            try:
                with interrupter:
                    act(line)
            except KeyboardInterrupt:
                pass
            else:
                assert not interrupter.has_struck

        others = 0
        if place > 0:
            line.gate.clear()
            line.start(lambda line=line: line.write("first"))  # type: ignore[misc]
            assert line.entered.wait(WAIT_S)
            if place > 1:
                line.start(lambda line=line: line.write("before"))  # type: ignore[misc]
                others = 1
                line.in_line(others)
        thread = line.start(victim)
        while place > 0 and thread.is_alive() and len(line.commit._line) <= others:
            time.sleep(0.0002)
        for number in range(2):
            line.start(lambda line=line, number=number: line.write(f"after-{number}"))  # type: ignore[misc]
        line.gate.set()
        line.join()
        assert "last" == line.write("last")
        stop(line)
        keys = [key for batch in line.batches for key in batch if not key.startswith("victim")]
        assert sorted(set(keys)) == sorted(keys)
        is_through = not interrupter.has_struck
    assert nth > 10


def test_a_second_interrupt_at_any_instant_after_one_inside_a_batch_leaves_nobody_waiting() -> None:
    nth, is_through = 0, False
    while not is_through:
        nth += 1
        line = Line()
        interrupter = Interrupter(nth)
        run = line.commit._run

        def interrupted(
            batch: list[Member], line: Line = line, hit: Interrupter = interrupter, run: Any = run
        ) -> None:
            if batch[0].key == "victim":
                line.in_line(1)
                hit.__enter__()
                raise KeyboardInterrupt
            run(batch)

        def victim(line: Line = line, interrupter: Interrupter = interrupter) -> None:
            try:
                write(line)
            except KeyboardInterrupt:
                interrupter.__exit__()

        line.commit._run = interrupted
        line.start(victim)
        line.start(lambda line=line: line.write("other"))  # type: ignore[misc]
        line.join()
        assert "last" == line.write("last")
        assert [["other"], ["last"]] == line.batches
        is_through = not interrupter.has_struck
    assert nth > 10


@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupt_at_any_instant_of_leaving_lets_the_next_one_lead(count: int) -> None:
    # The first instant is the call itself, before it has begun.
    nth, is_through = 1, False
    while not is_through:
        nth += 1
        line = Line()
        leaving = [Member(lambda _: None, "test", str(number)) for number in range(count)]
        line.commit._line.extend(leaving)
        line.commit._is_busy, leaving[0].state = True, commit._LEADING
        line.start(lambda line=line: line.write("other"))  # type: ignore[misc]
        line.in_line(count + 1)
        interrupter = Interrupter(nth)
        try:
            with interrupter:
                line.commit._leave(*leaving)
        except KeyboardInterrupt:
            pass
        line.join()
        assert [["other"]] == line.batches
        is_through = not interrupter.has_struck
    assert nth > 5


def test_who_was_in_a_batch_is_let_go_by_the_one_before() -> None:
    line = Line()
    line.gate.clear()
    line.start(lambda: line.write("first"))
    assert line.entered.wait(WAIT_S)
    members = [Member(lambda _: None, "test", str(number)) for number in range(4)]
    with line.commit._mutex:
        line.commit._line.extend(members)

    def lead() -> None:
        assert line.commit._wait(members[0])
        line.commit._lead(members[0])

    line.start(lead)
    line.gate.set()
    line.join()
    # Nobody waits for the others, so the first of them is let go and nobody else.
    assert [True, False, True, True] == [member.wake.locked() for member in members]
    for number in range(1, 4):
        assert not line.commit._wait(members[number])
        assert members[number].follower is (members[number + 1] if number < 3 else None)
        assert str(number) == members[number].result
    assert [["first"], ["0", "1", "2", "3"]] == line.batches


def test_one_who_leaves_while_he_waits_lets_the_next_one_go() -> None:
    commit = Line().commit
    first, second = (Member(lambda _: None, "test", key) for key in "ab")
    first.follower = second
    commit._leave(first)
    assert not second.wake.locked()


@pytest.fixture
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "GATHER_S", float(WAIT_S))


@pytest.mark.usefixtures("long_wait")
def test_a_leader_waits_for_those_who_come_back_and_no_longer() -> None:
    line = Line()
    line.commit._full = 3
    started = time.monotonic()
    line.start(lambda: line.write("0"))
    line.in_line(1)
    line.start(lambda: line.write("1"))
    line.in_line(2)
    assert [] == line.batches
    line.start(lambda: line.write("2"))
    line.join()
    assert [["0", "1", "2"]] == line.batches
    assert time.monotonic() - started < WAIT_S


@pytest.mark.usefixtures("long_wait")
def test_a_lone_writer_waits_for_nobody() -> None:
    line = Line()
    started = time.monotonic()
    for number in range(5):
        line.write(str(number))
    assert 5 == len(line.batches)
    assert time.monotonic() - started < WAIT_S


def test_waiting_in_vain_gets_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "GATHER_S", 0.0001)
    line = Line()
    paused = []
    for number in range(20):
        # As if another one had been in the last batch, who never comes.
        line.commit._full = 2
        line.write(str(number))
        paused.append(line.commit._gather_pause)
    assert [1, 0, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10] == paused


def test_a_write_inside_a_batch_is_refused_and_the_line_goes_on() -> None:
    line = Line()
    refused: list[BaseException] = []

    def run(batch: list[Member]) -> None:
        try:
            line.write("inner")
        except StoreError as error:
            refused.append(error)
        for member in batch:
            member.settle(None, None)

    line.commit._run = run
    line.write("outer")
    line.write("next")
    assert 2 == len(refused)
