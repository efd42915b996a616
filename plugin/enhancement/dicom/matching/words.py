"""Free text of technologists, in any script, into words that rules can be written for."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_LONGEST = 256
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PUNCTUATION = re.compile(r"[^\w+*]+|_+")
# Chinese, Japanese and Korean are written without spaces beside Latin words: "T1增强".
_SCRIPTS = re.compile(r"(?<=[a-z0-9+])(?=[^\W\da-z])|(?<=[^\W\da-z])(?=[a-z0-9])")
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
# Letters that are no accented ones, and do not decompose.
_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"})
# A keyboard set to Cyrillic or Greek gives letters that look Latin: "Т1", "С+", "КМ".
_LOOKALIKE = re.compile(r"(?<![^\W\d_])[ТтΤτ](?=[12](?!\d))|(?<![^\W\d_])[СсϹϲ](?= ?[+-](?!\w))")


@lru_cache(maxsize=8192)
def plain(text: str) -> str:
    """A text as stored, in one form: composed, half width, one kind of dash, Latin letters where Latin is meant.

    Examples
    --------
    >>> plain("Ｔ１　（＋Ｃ） − Т1")
    'T1 (+C) - T1'
    """
    composed = unicodedata.normalize("NFKC", text[:_LONGEST]).translate(_DASHES)
    return _LOOKALIKE.sub(lambda found: "T" if found[0] in "ТтΤτ" else "C", composed)


def without_accents(text: str) -> str:
    """Latin, Greek and Hebrew letters without their marks; marks that make another letter (й, ガ, 조) stay."""
    kept: list[str] = []
    bare = True
    for letter in unicodedata.normalize("NFD", text):
        if not unicodedata.combining(letter):
            bare = letter < "\u0400" or "\u0590" <= letter < "\u0780"
        elif bare:
            continue
        kept.append(letter)
    return unicodedata.normalize("NFC", "".join(kept))


@lru_cache(maxsize=8192)
def words(description: str, *, cut: bool = True) -> str:
    """Lower-case words of a description: no accents, no punctuation but + and *.

    Parameters
    ----------
    cut : bool
        Whether camel case is cut. "T1postGd" needs it, "ProHance" must not be cut.

    Examples
    --------
    >>> words("Après_Gado-AxT1W+C (MPRAGE)")
    'apres gado ax t1w+c mprage'
    >>> words("T1增强"), words("Т1 с контрастом")
    ('t1 增强', 't1 с контрастом')
    """
    text = plain(description)
    text = without_accents((_CAMEL.sub(" ", text) if cut else text).lower().translate(_LETTERS))
    return _SCRIPTS.sub(" ", _PUNCTUATION.sub(" ", text)).strip()


@lru_cache(maxsize=2048)
def compiled(pattern: str) -> re.Pattern[str]:
    """A rule's pattern; case never matters, and accents are composed as in the texts.

    What is no regular expression, such as a site's mark "(+)", is looked for as it is written.
    """
    composed = unicodedata.normalize("NFC", pattern)
    try:
        return re.compile(composed, re.IGNORECASE)
    except re.error:
        return re.compile(re.escape(composed), re.IGNORECASE)


@lru_cache(maxsize=1 << 16)
def found_in(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text as stored, or in its words."""
    expression = compiled(pattern)
    return bool(expression.search(words(text)) or expression.search(plain(text)))
