"""The exceptions a caller can meet, and the one table that maps them to other worlds.

```text
StiggError                      code, message, hint, retryable
|- InvalidInput                 caller: fix the call
|  `- CatalogInvalid            caller: fix the catalog; .problems lists every mistake
|- NotAuthenticated             operator: fix the key
|- NotFound                     caller: the id does not exist
|- Conflict                     caller: the state moved, read again
|  `- IdempotencyConflict       caller: the key was used with another body
|- NotAllowed                   caller: a rule of the domain refuses
|  `- NotAvailableOffline       caller: this deployment cannot do that
|- AuthorityUnavailable         nobody: retry later
|- ProtocolError                us: the two sides disagree
|- StoreError                   operator: disk or file
|  |- StoreBusy                 nobody: retry later
|  |- StorageFull               operator: make room; reads go on
|  |- StoreCorrupt              operator: restore or rebuild
|  |- UsageQueueFull            nobody: retry later; nothing was taken in
|  `- SchemaTooNew              operator: a newer program wrote this file
|- FallbackFileError            operator: file, line, key path
`- ClientClosed                 caller: used after close, or in a process that inherited it
```

No access is not an error and stale data is not an error: both are values.
"""

from typing import Any

MESSAGE_LENGTH_MAX = 800


class StiggError(Exception):
    """Base of everything this package raises.

    Args:
        message: What is wrong, lower case, with the offending value in backticks.
        code: The field's own word for it, for example `CustomerNotFound`; default: the class's.
        hint: The way out, or None.

    Attributes:
        retryable: True where the same call may succeed later unchanged.
    """

    default_code = "UnexpectedError"
    retryable = False

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        message = _readable(message)
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = None if hint is None else _readable(hint)

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON can hold it: `code`, `message`, `hint`, `retryable`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "retryable": self.retryable}


def _readable(text: str) -> str:
    """Text that every log and terminal takes, however large or strange the value was that it quotes."""
    if len(text) > MESSAGE_LENGTH_MAX:
        text = f"{text[: MESSAGE_LENGTH_MAX // 2]} … {text[-MESSAGE_LENGTH_MAX // 2 :]}"
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class InvalidInput(StiggError):
    """The call itself is wrong; nothing was done."""

    default_code = "BadUserInput"


class CatalogInvalid(InvalidInput):
    """A catalog has mistakes; `problems` holds all of them, in file order."""

    default_code = "CatalogInvalid"

    def __init__(self, message: str, *, problems: tuple[Any, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems

    def to_dict(self) -> dict[str, Any]:
        """As `StiggError.to_dict`, with `problems`."""
        return super().to_dict() | {"problems": [problem.to_dict() for problem in self.problems]}


class NotAuthenticated(StiggError):
    """The key is missing, unknown or not allowed here."""

    default_code = "Unauthenticated"


class NotFound(StiggError):
    """An id in the call does not exist."""

    default_code = "NotFound"


class Conflict(StiggError):
    """The state is not what the call assumed."""

    default_code = "Conflict"


class IdempotencyConflict(Conflict):
    """The idempotency key was used before with another body; nothing was done."""

    default_code = "IdempotencyConflict"


class NotAllowed(StiggError):
    """A rule of the domain refuses; the code names the rule."""

    default_code = "NotAllowed"


class NotAvailableOffline(NotAllowed):
    """This deployment cannot do what was asked."""

    default_code = "NotAvailableOffline"


class AuthorityUnavailable(StiggError):
    """The authority did not answer in time."""

    default_code = "AuthorityUnavailable"
    retryable = True


class ProtocolError(StiggError):
    """Two sides disagree about the protocol."""

    default_code = "ProtocolError"


class StoreError(StiggError):
    """The disk or the file failed."""

    default_code = "StoreError"


class StoreBusy(StoreError):
    """Another process held the file for too long."""

    default_code = "StoreBusy"
    retryable = True


class StorageFull(StoreError):
    """No room on the disk; the write was undone whole and reads go on."""

    default_code = "StorageFull"
    retryable = True


class StoreCorrupt(StoreError):
    """Stored bytes do not match their digest; they were not used."""

    default_code = "StoreCorrupt"


class UsageQueueFull(StoreError):
    """Too many queued reports wait to be stored; this one was not taken in."""

    default_code = "UsageQueueFull"
    retryable = True


class SchemaTooNew(StoreError):
    """A newer version of this package wrote the file; it was not touched."""

    default_code = "SchemaTooNew"


class FallbackFileError(StiggError):
    """A fallback file cannot be used; the message names file, line and key path."""

    default_code = "FallbackFileError"


class ClientClosed(StiggError):
    """The client was closed, or was inherited by a process that cannot use it."""

    default_code = "ClientClosed"


# Class -> (HTTP status, exit code of the command line). The nearest class in the MRO counts.
TABLE: dict[type[StiggError], tuple[int, int]] = {
    StiggError: (500, 1),
    InvalidInput: (400, 2),
    NotAuthenticated: (401, 2),
    NotFound: (404, 2),
    Conflict: (409, 3),
    NotAllowed: (422, 3),
    AuthorityUnavailable: (503, 4),
    ProtocolError: (500, 1),
    StoreError: (500, 1),
    StoreBusy: (503, 4),
    UsageQueueFull: (503, 4),
    FallbackFileError: (400, 2),
    ClientClosed: (500, 1),
}


def http_status(error: StiggError) -> int:
    """The HTTP status that stands for this error."""
    return next(TABLE[kind][0] for kind in type(error).__mro__ if kind in TABLE)


def exit_code(error: StiggError) -> int:
    """The exit code of the command line that stands for this error."""
    return next(TABLE[kind][1] for kind in type(error).__mro__ if kind in TABLE)
