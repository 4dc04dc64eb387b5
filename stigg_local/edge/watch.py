"""Waiting for a path to change, whatever the way in which it is changed: events of its directories, else a poll.

Laws: a wait that ends means "look again" and promises nothing; without events, and where they miss a change, as on
network mounts, it ends by itself after `POLL_S`.
"""

import os
import stat
from threading import Event
from typing import NamedTuple

from stigg_local.clock import SystemClock

POLL_S = 5.0
# One write of a file makes several events; they are waited for this long together.
DEBOUNCE_MS = 200
# How often the watching thread looks at its stop event: an idle process pays for it, a closing one waits for it.
STEP_MS = 50
# As many as Linux follows.
LINKS_MAX = 40


class Route(NamedTuple):
    """Where a path leads at the moment.

    Attributes:
        directories: Every directory in which a name of the path is looked up last or is a link, as (path without
            links, device, inode): a directory that was replaced is another one.
        names: What may change in them so that the path leads elsewhere or to other bytes.
    """

    directories: tuple[tuple[str, int, int], ...]
    names: frozenset[str]


def route_of(path: str) -> Route:
    """Follow an absolute path link by link; where it breaks off, the last directory that exists counts.

    A directory of Kubernetes shows why every link counts: the file is a link into `..data`, which is a link that
    is replaced, and nothing happens in the directory that the file itself is in.
    """
    current = "/"
    parts = path.split("/")[::-1]
    directories: dict[str, tuple[str, int, int]] = {}
    names: set[str] = set()
    links = 0

    def look_in(directory: str) -> None:
        try:
            found = os.stat(directory)
        except OSError:
            return
        directories[directory] = (directory, found.st_dev, found.st_ino)

    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            current = os.path.dirname(current)
            continue
        name = os.path.join(current, part)
        names.add(name)
        try:
            is_link = stat.S_ISLNK(os.lstat(name).st_mode)
        except OSError:
            look_in(current)
            break
        if is_link:
            look_in(current)
            links += 1
            if links > LINKS_MAX:
                break
            try:
                target = os.readlink(name)
            except OSError:
                break
            if target.startswith("/"):
                current = "/"
            parts += target.split("/")[::-1]
        elif parts:
            current = name
        else:
            look_in(current)
    return Route(tuple(directories.values()), frozenset(names | set(directories)))


class Watch:
    """Waits for events along one route."""

    def __init__(self, route: Route) -> None:
        """Begin to collect events.

        Raises:
            Exception: Whatever keeps the system from watching, for example too many watches.
        """
        # `watchfiles.watch` would log every change of the directory in the application's name.
        from watchfiles._rust_notify import RustNotify

        self._names = route.names
        directories = [directory for directory, _, _ in route.directories]
        self._events = RustNotify(directories, False, False, 0, False, False)

    def wait(self, stop: Event) -> None:
        """Return when something on the route changed, it is time to poll, or `stop` is set.

        Raises:
            Exception: The system stopped watching.
        """
        clock = SystemClock()
        end = clock.monotonic() + POLL_S
        while (left_s := end - clock.monotonic()) > 0:
            changes = self._events.watch(DEBOUNCE_MS, STEP_MS, max(1, int(left_s * 1000)), stop)
            # A text says why nothing came: time is up, or the event is set.
            if isinstance(changes, str) or any(name in self._names for _, name in changes):
                return

    def close(self) -> None:
        """Let go of the system's watches."""
        self._events.close()
