"""`client.aio`: awaitable twins of every call that does I/O.

There is no second implementation: each awaits the same method in a worker thread. Reads that are answered from
memory need no twin; the twins of the getters are for the first read of a customer.
"""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stigg_local.client import Stigg

# Calls that answer at once, from memory; they are handed through as they are.
_PLAIN = frozenset({"add_listener", "remove_listener"})
# Groups of calls, each a view of its own: `await client.aio.payments.settle(…)`.
_GROUPS = frozenset({"catalog", "payments"})


class AsyncCalls:
    """A view of calls that are awaited; arguments, results and errors are those of the calls."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(f"`aio` has no `{name}`")
        method = getattr(self._calls, name)
        if not inspect.ismethod(method):
            raise AttributeError(f"`aio` has no `{name}`")
        if name in _PLAIN:
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(partial(method, *arguments, **named))

        call.__name__, call.__doc__ = name, method.__doc__
        return call

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._calls) if not name.startswith("_")]


class AsyncStigg(AsyncCalls):
    """A view of a client whose methods are awaited; arguments, results and errors are the client's."""

    def __init__(self, client: "Stigg") -> None:
        super().__init__(client)
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name in _GROUPS:
            return AsyncCalls(getattr(self._client, name))
        return super().__getattr__(name)

    async def __aenter__(self) -> "AsyncStigg":
        self._client.wait_for_initialization()
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._client.close)
