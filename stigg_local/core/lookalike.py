"""Ids that a person takes for each other although they are different: another alphabet's letters, case, blanks.

Law: look-alikes are different ids and stay so; this only finds them.
"""

import unicodedata

# Letters of other alphabets, and signs, that look like a Latin letter, a digit or a hyphen in most typefaces.
_CYRILLIC = dict(
    zip("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501", "aeopcyxijshd", strict=True)
)
_CYRILLIC_CAPITALS = dict(
    zip(
        "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405",
        "ABEKMHOPCTYXIJS",
        strict=True,
    )
)
_GREEK = dict(zip("\u03bf\u03b1\u03c1\u03bd\u03b9\u03ba\u03c5\u03c7", "oapvikux", strict=True))
_GREEK_CAPITALS = dict(
    zip(
        "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
        "ABEZHIKMNOPTYX",
        strict=True,
    )
)
_SIGNS = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\u02d7", "-") | {"|": "l", "1": "l", "0": "o"}
_MAP = str.maketrans(_CYRILLIC | _CYRILLIC_CAPITALS | _GREEK | _GREEK_CAPITALS | _SIGNS)


def skeleton(id: str) -> str:
    """What is the same for two ids exactly where they look alike."""
    text = id if id.isascii() else unicodedata.normalize("NFKC", id)
    return " ".join(text.translate(_MAP).casefold().split())
