"""`did you mean`: near names are found, far ones and absurd ones are not."""

import pytest

from stigg_local.core.nearest import KNOWN_MAX, WORD_LENGTH_MAX, nearest

KNOWN = ["usageLimit", "isUnlimited", "feature-api-calls", "MONTHLY"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("usageLimt", "usageLimit"),
        ("usage_limit", "usageLimit"),
        ("feature-api-cals", "feature-api-calls"),
        ("Monthly", "MONTHLY"),
        ("zzz", None),
        ("", None),
        (7, None),
        (None, None),
        ("u" * (WORD_LENGTH_MAX + 1), None),
    ],
)
def test_the_nearest_name_is_found(word: object, expected: str | None) -> None:
    assert expected == nearest(word, KNOWN)


def test_among_very_many_names_only_one_of_another_spelling_is_found() -> None:
    known = [f"feature-{index}" for index in range(KNOWN_MAX + 1)]
    assert "feature-7" == nearest("Feature_7", known)
    assert None is nearest("featur-7", known)


def test_nothing_is_near_to_nothing() -> None:
    assert None is nearest("word", [])
