"""The known name that a mistyped one was probably meant to be: what `did you mean` says everywhere.

Laws: the answer is one of the known names or None; case, `_` and `-` count for nothing.
"""

from collections.abc import Iterable

# Longer words are not typing mistakes, and comparing them costs the square of their length.
WORD_LENGTH_MAX = 300
# More names than this are not compared one by one; only one equal but for case and dashes is found.
KNOWN_MAX = 5_000
CUTOFF = 0.6


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known name nearest to a word.

    Args:
        word: What was written; anything but text has no nearest name.
        known: The names that would have been right; the first of equally near ones wins.

    Returns:
        A member of `known`, or None where nothing is near.
    """
    if not isinstance(word, str) or not 0 < len(word) <= WORD_LENGTH_MAX:
        return None
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(_folded(name), name)
    folded = _folded(word)
    if folded in names:
        return names[folded]
    if len(names) > KNOWN_MAX:
        return None
    from difflib import get_close_matches

    matches = get_close_matches(folded, names, n=1, cutoff=CUTOFF)
    return names[matches[0]] if matches else None


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")
