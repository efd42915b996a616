"""Free text of technologists, in six languages, into words that rules can be written for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PUNCTUATION = re.compile(r"[^a-z0-9+*]+")
_LONGEST = 256


@lru_cache(maxsize=4096)
def words(description: str) -> str:
    """Lower-case words of a description: no accents, no punctuation but + and *, camel case cut.

    Examples
    --------
    >>> words("Après_Gado-AxT1W+C (MPRAGE)")
    'apres gado ax t1w+c mprage'
    """
    cut = _CAMEL.sub(" ", description[:_LONGEST])
    plain = unicodedata.normalize("NFKD", cut.replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return _PUNCTUATION.sub(" ", plain.lower()).strip()


@lru_cache(maxsize=2048)
def compiled(pattern: str) -> re.Pattern[str]:
    """A rule's pattern; case never matters."""
    return re.compile(pattern, re.IGNORECASE)


def found_in(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text as stored, or in its words."""
    expression = compiled(pattern)
    return bool(expression.search(words(text)) or expression.search(text[:_LONGEST]))


# A word for the agent or for its being there, as written in English, French, German, Spanish, Italian, Dutch.
_AGENT = (
    r"(?:gd\w{0,4}|gad\w*|contr\w*|kontr\w*|km|kmm|mdc|mcd|civ|pdc|inj\w*|ki|cm|iv|dotarem|dotagraf|clariscan|magnevist"
    r"|multihance|prohance|omniscan|elucirem|vueway|c|ce|k)"
)
_WITHOUT = r"(?:sans|ss|ohne|sin|senza|zonder|without|w o|wo|no|non|not|vor|voor|avant|av|prima|antes|before|pre)"
_OF = r"(?:(?:di|de|du|del|of|any|the|iv|mezzo|medio|agente|produit) )*"
NEGATED = rf"\b(?:{_WITHOUT} ?{_OF}{_AGENT}|s (?:c|civ|gd|gad\w*|contr\w*)|o ?(?:km|kontr\w*))\b"
# Minus signs count only in the text as stored: "C-", " -C"
_MINUS = r"(?<![\w+])(?:c|km|gd|gado?|k|ki|mdc|iv|civ|inj)-(?!\w)|(?:^|[\s_(])-(?:c|km|gd|ki|iv)\b(?!\w)"
NO_CONTRAST_MARKS: tuple[str, ...] = (
    NEGATED,
    r"\bpre(?!\w)(?! ?(?:op|scan|sat|frontal|treat|rt|surg))",
    r"\bpre(?:contrast|gad\w*|gd|km|inj\w*|c)\b",
    r"\bnativ\w*|\bnatif\b|\bplain\b|\bunenhanced\b|\bbasale?\b|\bblanco\b|\bnoncon\w*|\bnon ?ce\b|\bw o\b|\bwo c\w*\b",
    r"\bleer\b|\bavant\b|\bsine\b|\bvoor\b|\bantes\b|\bprima\b|\bsg\b",
    r"\b(?:ohne|without|senza|sans|zonder|wo|nc)$",
    _MINUS,
)
CONTRAST_MARKS: tuple[str, ...] = (
    r"\+ ?(?:c|ce|gd\w{0,4}|gad\w*|contr\w*|kontr\w*|km|ki|mdc|iv|civ|inj\w*|k|cm)(?![a-z])",
    r"(?<![a-z])(?:c|ce|gd|gad|gado|km|ki|k|iv|mdc|contr\w*) ?\+(?!\w)",
    r"(?<!\d)t1\w*[^+]*\+$",
    r"(?:(?<!\d)t1|\bbravo|rage|spgr|\btfe|\bvibe|\bthrive)\w*(?: .*)? c$",
    r"\b(?:gd|gad|gado\w*|gadolin\w*|gdtpa|gddtpa|gdpta)\b|(?<=t1)(?:gd|gado?|c|ce|km)\b",
    r"\bpost(?!\w)(?! ?(?:op\w*|fossa|proc(?:ess|essing)?\b|surg\w*|treat\w*|rt|chemo|lab\w*|resec\w*|radio\w*))",
    r"\bpost ?(?:c|con\w*|gad\w*|gd\w*|km|inj\w*|kontr\w*|mdc)\b",
    r"\bce\b|\bkm\b|\bkmm?\b|\bmdc\b|\bmcd\b|\bcmc\b|\bpdc\b|\bciv\b|\bcivi\b",
    r"\binj(?:\w*)\b|\bapres\b|\bavec(?: (?:inj\w*|gad\w*|contr\w*|pdc|iv)\b|$)|\bap ?inj\w*\b|\bapgado\w*\b",
    r"\bnach\b|\bmit k\w*\b|\bkontrast\w*\b|\bkontrastmittel\b",
    r"\bcon (?:contr\w*|mdc|gad\w*|gd|civ|mezzo|medio|iv)\b|\btras (?:contr\w*|gad\w*|civ|inj\w*|iv)\b",
    r"\bdespues\b|\bdopo\b",
    r"\bmet (?:contr\w*|gd|gad\w*|km|cm)\b|\bna (?:contr\w*|gd|gad\w*|km|cm|inj\w*|toed\w*)\b",
    r"\b(?:with|w|avec) ?(?:contr\w*|gad\w*|gd|c|ce|iv)\b|\benhanced\b|\bcontrast\w*\b|\bcontraste\w*\b",
    r"\b(?:with|after)$",
    r"\bdotarem|gadovist|gadavist|magnevist|multihance|prohance|omniscan|clariscan|dotagraf|elucirem|artirem\b",
)
# "Phase contrast" and "magnetisation transfer contrast" are not about an injection.
_OTHER_CONTRASTS = r"\b(?:phase|phasen|transfer|tissue|multi|high|fluid|inflow|blood) ?(?:contrast\w*|kontrast\w*)"


def contrast_mark(description: str, given: Sequence[str] = (), not_given: Sequence[str] = ()) -> bool | None:
    """What a description says of contrast: True, False, or None where it says nothing or both.

    Parameters
    ----------
    given, not_given : sequence of str
        A site's own patterns, beside the built-in ones.
    """
    text = _about_agents(description)
    negative = any(
        compiled(p).search(text) or compiled(p).search(description) for p in (*NO_CONTRAST_MARKS, *not_given)
    )
    rest = compiled(NEGATED).sub(" ", _about_agents(compiled(_MINUS).sub(" ", description)))
    positive = any(compiled(p).search(rest) for p in (*CONTRAST_MARKS, *given))
    return None if positive == negative else positive


def _about_agents(description: str) -> str:
    return compiled(_OTHER_CONTRASTS).sub(" ", words(description))
