"""What a description says of contrast: given, not given, or nothing.

The words are in `mark_words.py`. Both are looked for, and what is negated is taken out before the positive ones are.
"""

from __future__ import annotations

import re
from functools import lru_cache

from enhancement.dicom.matching import mark_words as vocabulary
from enhancement.dicom.matching.words import compiled, plain, words


def contrast_mark(
    description: str, given: tuple[str, ...] | list[str] = (), not_given: tuple[str, ...] | list[str] = ()
) -> bool | None:
    """What a description says of contrast: True, False, or None where it says nothing or both.

    Parameters
    ----------
    given, not_given : sequence of str
        A site's own patterns, beside the built-in ones.

    Examples
    --------
    >>> contrast_mark("T1 utan kontrast"), contrast_mark("T1 med kontrast"), contrast_mark("T1 W/WO CONTRAST")
    (False, True, None)
    """
    return _mark(description, tuple(given), tuple(not_given))


@lru_cache(maxsize=8192)
def _mark(description: str, given: tuple[str, ...], not_given: tuple[str, ...]) -> bool | None:
    stored = compiled(vocabulary.EITHER).sub(" ", plain(description))
    negative = _any(vocabulary.MINUS, stored) or any(_found(pattern, stored) for pattern in not_given)
    without_minus = compiled(vocabulary.MINUS).sub(" ", stored)
    positive = False
    for cut in (True, False):  # "T1postGd" is cut at its capitals, "ProHance" is not
        text = _about_agents(words(without_minus, cut=cut))
        negative = negative or _any(vocabulary.NOT_GIVEN, text)
        rest = compiled(vocabulary.NEGATED).sub(" ", text)
        positive = positive or _any(vocabulary.GIVEN, rest) or any(_found(pattern, rest) for pattern in given)
    if any(compiled(pattern).search(_un_negated(stored)) for pattern in given):
        positive = True
    return None if positive == negative else positive


def _any(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text) is not None


def _found(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text) is not None or compiled(pattern).search(words(text)) is not None


def _un_negated(stored: str) -> str:
    """The text as stored, or nothing where its words hold a negation: a site's "Gd" is not in "ohne Gd"."""
    return "" if _any(vocabulary.NEGATED, words(stored)) or _any(vocabulary.MINUS, stored) else stored


_JOINED_AFTER = re.compile(vocabulary.JOINED_AFTER)
_JOINED_BEFORE = re.compile(vocabulary.JOINED_BEFORE)


def _about_agents(text: str) -> str:
    """Words with joined ones cut ("t1pre"), and without what is about something else."""
    text = _JOINED_BEFORE.sub(r"\1 \2", _JOINED_AFTER.sub(r"\1 \2", text))
    for pattern in (vocabulary.OTHER_CONTRASTS, vocabulary.BOTH, vocabulary.PROCEDURES):
        text = compiled(pattern).sub(" ~ ", text)  # a sign, so that what stood apart is not joined
    return text
