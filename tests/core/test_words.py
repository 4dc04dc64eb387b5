"""The words of the field: found by value, by name and by the wire's aliases."""

import inspect

import pytest

from stigg_local.core import words
from stigg_local.core.answer import ANSWERS
from stigg_local.core.words import AccessDeniedReason, FeatureType, MeterType, Word

CLASSES = [
    item for _, item in inspect.getmembers(words, inspect.isclass) if issubclass(item, Word) and item is not Word
]


@pytest.mark.parametrize("word", CLASSES)
def test_every_word_is_found_by_every_name(word: type[Word]) -> None:
    """A member prints as its value, under whatever name it was asked for."""
    for name, member in word.__members__.items():
        assert member is word(member.value) is word(name)
        assert str(member) == member.value


@pytest.mark.parametrize("value", ["nothing", 7, None])
def test_another_word_is_none(value: object) -> None:
    """It is refused, not guessed."""
    with pytest.raises(ValueError, match="not a valid"):
        FeatureType(value)  # type: ignore[arg-type]


def test_the_wires_words_are_aliases() -> None:
    """One member each, so that code may compare with either."""
    assert AccessDeniedReason.RequestedUsageExceedsLimit is AccessDeniedReason("RequestedUsageExceedingLimit")
    assert AccessDeniedReason.CustomerNotEntitledForFeature is AccessDeniedReason("NoFeatureEntitlementInSubscription")
    assert (FeatureType.Numeric, MeterType.None_) == (FeatureType("NUMBER"), MeterType("None"))
    assert {"BOOLEAN", "NUMERIC", "METERED", "ENUM", "CREDIT"} == set(ANSWERS)
