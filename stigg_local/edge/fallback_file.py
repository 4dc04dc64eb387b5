"""The fallback file of a client: the last good values in memory, kept up to date while the file is edited.

Laws: a reader sees the values of one whole file; a file that is half written, wrong, empty or gone changes nothing
but `last_error`. Only bytes that stayed the same for `QUIET_S` are taken.
"""

import atexit
import hashlib
import os
from collections.abc import Callable
from threading import Event, Lock, RLock, Thread, current_thread, get_ident
from typing import Any
from weakref import WeakSet, ref

from msgspec import Struct

from stigg_local.core.fallback import Fallbacks
from stigg_local.edge.fallback_reader import fallback_bytes, file_name, parse_fallback_file
from stigg_local.edge.watch import POLL_S, Route, Watch, route_of
from stigg_local.errors import FallbackFileError
from stigg_local.log import logger

# A part of a TOML file is often a valid file. A writer in place that pauses for longer is not told from one that
# has finished; one that renames a finished file over the old one is never met half-way.
QUIET_S = 0.3
# A file that is never quiet for this many looks in a row is reported.
RESTLESS_LOOKS = 20
HASH_DIGITS = 12
CLOSE_WAIT_S = 1.0
FORK_WAIT_S = 5.0


class _State(Struct, frozen=True):
    """What `status` tells, swapped as one."""

    digest: str
    version: int
    last_error: str | None


class _Sample(Struct, frozen=True):
    """What one look at the file found: its bytes' digest, or why there are none."""

    digest: str | None
    content: bytes
    error: str | None

    def is_same(self, other: "_Sample") -> bool:
        """Whether the file looked the same."""
        return (self.digest, self.error) == (other.digest, other.error)


class FallbackFile:
    """Fallback values that follow a file; closed by `close`, or when nobody holds it any more.

    Attributes:
        name: The path as given, in characters that print.
    """

    def __init__(self, path: str | os.PathLike[str], *, on_change: Callable[[], None] | None = None) -> None:
        """Load the file and begin to follow it.

        Args:
            path: A `.toml`, `.json` or `.yaml` file.
            on_change: Called in the following thread after other values were taken.

        Raises:
            FallbackFileError: The file is missing, cannot be read or is invalid.
            InvalidInput: Not a path.
        """
        self.name = file_name(path)
        self._path = _absolute(os.fsdecode(path))
        self._on_change = on_change
        content = fallback_bytes(self._path, self.name)
        self._fallbacks = parse_fallback_file(content, self.name)
        self._state = _State(hashlib.sha256(content).hexdigest(), 1, None)
        self._refused: str | None = None
        self._is_closed = False
        self._follower: _Follower | None = None
        self._lock = Lock()
        FORKS.add(self)
        self._follow()

    def fallbacks(self) -> Fallbacks:
        """The values of the last good file."""
        if self._follower is None:
            self._follow()
        return self._fallbacks

    def status(self) -> dict[str, Any]:
        """`path`, `sha256` (its beginning) and `version` (1, 2, …) of what was taken last, and `last_error`.

        `last_error` is None while the file is what was taken.
        """
        if self._follower is None:
            self._follow()
        state = self._state
        return {
            "path": self.name,
            "sha256": state.digest[:HASH_DIGITS],
            "version": state.version,
            "last_error": state.last_error,
        }

    def close(self) -> None:
        """Stop following; the last values stay. Closing again does nothing."""
        with self._lock:
            self._is_closed = True
            follower = self._follower
        if follower is not None:
            follower.end()

    def __del__(self) -> None:
        # Not there where the constructor raised.
        follower = getattr(self, "_follower", None)
        if follower is not None:
            follower.stop.set()

    def __repr__(self) -> str:
        return f"FallbackFile({self.name!r}, version={self._state.version})"

    def _follow(self) -> None:
        """Start the thread: in the constructor, and in a forked child when it first asks."""
        if self._is_closed:
            return
        with self._lock:
            if self._follower is None and not self._is_closed:
                try:
                    self._follower = _Follower(self._path, ref(self))
                except RuntimeError as error:
                    # The system has no thread to give: the values stay, and the next question tries again.
                    self._note(f"{self.name}: cannot be followed: {error}")

    def after_fork(self) -> None:
        """In a child: threads stayed behind, and a lock that one of them held is never released."""
        self._lock = Lock()
        self._follower = None

    # ------------------------------------------------------------------ the follower's steps

    def look(self, stop: Event) -> bool:
        """Take the file if it is another one, good and quiet; whether other values were taken."""
        try:
            return self._look(stop)
        except Exception as error:
            self._note(f"{self.name}: {error!r}")
            return False

    def _look(self, stop: Event) -> bool:
        sample = self._sample()
        if self._is_known(sample):
            return False
        restless = 0
        while not stop.wait(QUIET_S):
            again = self._sample()
            if again.is_same(sample):
                return self._take(again)
            sample = again
            restless += 1
            if restless == RESTLESS_LOOKS:
                self._note(f"{self.name}: never stays the same for {QUIET_S} s (rename finished files over it)")
        return False

    def changed(self) -> None:
        """Tell the owner; an error of the owner's is logged and ends nothing."""
        if self._on_change is None:
            return
        try:
            self._on_change()
        except Exception:
            _logger().exception("listener of the fallback file failed", path=self.name)

    def _sample(self) -> _Sample:
        try:
            content = fallback_bytes(self._path, self.name)
        except FallbackFileError as error:
            return _Sample(None, b"", str(error))
        return _Sample(hashlib.sha256(content).hexdigest(), content, None)

    def _is_known(self, sample: _Sample) -> bool:
        """Whether all that follows from the sample was done before."""
        state = self._state
        if sample.digest is None:
            return sample.error == state.last_error
        if state.last_error is None:
            return sample.digest == state.digest
        return sample.digest == self._refused

    def _take(self, sample: _Sample) -> bool:
        state = self._state
        self._refused = None
        if sample.digest is None:
            self._note(sample.error)
            return False
        if sample.digest == state.digest:
            self._note(None)
            return False
        try:
            with FORKS.lock:
                fallbacks = parse_fallback_file(sample.content, self.name)
        except FallbackFileError as error:
            self._refused = sample.digest
            self._note(str(error))
            return False
        self._fallbacks = fallbacks
        self._state = _State(sample.digest, state.version + 1, None)
        _logger().info(
            "fallback file taken", path=self.name, version=state.version + 1, sha256=sample.digest[:HASH_DIGITS]
        )
        return True

    def _note(self, error: str | None) -> None:
        """Remember how the last look ended, and say so once."""
        state = self._state
        if error == state.last_error:
            return
        self._state = _State(state.digest, state.version, error)
        if error is None:
            _logger().info("fallback file is what it was", path=self.name, version=state.version)
        else:
            _logger().warning("fallback file refused, the last good one stays", path=self.name, error=error)


class _Follower:
    """The thread of one process that looks at the file whenever it may have changed.

    It holds the file only while it looks, so that a file that was forgotten ends its thread.
    """

    def __init__(self, path: str, file: "ref[FallbackFile]") -> None:
        self.stop = Event()
        self._path = path
        self._file = file
        self._is_polling = False
        self._thread = Thread(target=self._run, name="stigg-local-fallback", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop, and wait for it unless the owner's callback is what calls."""
        self.stop.set()
        if self._thread is not current_thread():
            self._thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        route: Route | None = None
        watch: Watch | None = None
        while not self.stop.is_set():
            found = route_of(self._path)
            if watch is None or found != route:
                route, watch = found, self._watched(found, watch)
            # After the watch began, so that nothing falls between.
            if not self._look():
                break
            if route_of(self._path) == route:
                watch = self._wait(watch)
        if watch is not None:
            watch.close()

    def _look(self) -> bool:
        """Look once; False when the file was forgotten."""
        file = self._file()
        if file is None:
            return False
        if file.look(self.stop):
            file.changed()
        return True

    def _watched(self, route: Route, before: Watch | None) -> Watch | None:
        """A watch of the route, None where the system has none to give."""
        try:
            with FORKS.lock:
                if before is not None:
                    before.close()
                watch = Watch(route)
        except Exception as error:
            self._only_poll(error)
            return None
        self._is_polling = False
        return watch

    def _wait(self, watch: Watch | None) -> Watch | None:
        """Wait until it is time to look again; None where the watch is of no more use."""
        if watch is None:
            self.stop.wait(POLL_S)
            return None
        try:
            watch.wait(self.stop)
        except Exception as error:
            self._only_poll(error)
            watch.close()
            self.stop.wait(POLL_S)
            return None
        return watch

    def _only_poll(self, error: Exception) -> None:
        if not self._is_polling:
            self._is_polling = True
            _logger().warning("directories cannot be watched, polling alone", path=self._path, error=str(error))


class _Forks:
    """What this process does with its fallback files when it forks and when it ends.

    Attributes:
        lock: Held while a following thread imports or parses: a child inherits neither half an import nor its lock.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self._files: WeakSet[FallbackFile] = WeakSet()
        self._is_registered = False
        self._holder = 0

    def add(self, file: FallbackFile) -> None:
        """Take the file through every fork from now on, and its thread to an end before the interpreter's."""
        with self.lock:
            self._files.add(file)
            if self._is_registered:
                return
            self._is_registered = True
            # These have fork hooks of their own. Were they imported while a fork waits in ours, only the second
            # half of theirs would run in it.
            import concurrent.futures.thread  # noqa: F401
            import logging  # noqa: F401

            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)
            # A daemon thread that is met by the interpreter's end inside of a native library can take it down.
            atexit.register(self._at_exit)

    def _before(self) -> None:
        # A thread that hangs in a file system must not keep the application from forking.
        if self.lock.acquire(timeout=FORK_WAIT_S):
            self._holder = get_ident()

    def _in_parent(self) -> None:
        if self._holder == get_ident():
            self._holder = 0
            self.lock.release()

    def _in_child(self) -> None:
        self.lock = RLock()
        self._holder = 0
        for file in list(self._files):
            file.after_fork()

    def _at_exit(self) -> None:
        for file in list(self._files):
            file.close()


FORKS = _Forks()


def _absolute(path: str) -> str:
    """The path as it has to be read after the process went to another directory; links stay as they are."""
    try:
        return os.path.join(os.getcwd(), path)
    except FileNotFoundError:
        # The current directory is gone, which matters to a relative path alone: it leads nowhere.
        return path


def _logger() -> Any:
    """The logger, which is imported when there is something to say."""
    with FORKS.lock:
        return logger()
