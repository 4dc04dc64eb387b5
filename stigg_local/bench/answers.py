"""A hash of answers without their instants, so that a faster wrong answer is seen."""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

# The engine's clock may differ from the wall by so much around a correction.
SLACK_MS = 1000
# What depends on when the customers were written, and so differs between two equal runs.
_INSTANTS = frozenset(
    ("asOf", "validUntil", "usagePeriodAnchor", "usagePeriodStart", "usagePeriodEnd", "nextResetDate")
)


def answers_hash(answers: Iterable[Any]) -> str:
    """A hash of what the answers say.

    Args:
        answers: Each has `to_dict()`.
    """
    digest = blake2b(digest_size=8)
    for answer in answers:
        digest.update(json.dumps(_without_instants(answer.to_dict()), sort_keys=True, default=str).encode())
    return digest.hexdigest()


def differing(held: Sequence[Any], fresh: Sequence[Any], *, between_ms: tuple[int, int]) -> int:
    """How many answers say something else than those to the same questions asked a moment later.

    Args:
        held, fresh: The two answers to each question.
        between_ms: When the first was asked for and the last one had come: what changed by time alone in between
            is no difference.
    """
    return sum(
        _without_instants(one.to_dict()) != _without_instants(other.to_dict()) and not _has_ended(one, *between_ms)
        for one, other in zip(held, fresh, strict=True)
    )


def _has_ended(answer: Any, from_ms: int, to_ms: int) -> bool:
    if answer.valid_until is None:
        return False
    ended_ms: float = answer.valid_until.timestamp() * 1000
    return from_ms - SLACK_MS <= ended_ms <= to_ms + SLACK_MS


def _without_instants(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_instants(item) for key, item in value.items() if key not in _INSTANTS}
    return [_without_instants(item) for item in value] if isinstance(value, list) else value
