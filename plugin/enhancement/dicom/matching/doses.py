"""Words for a dose of contrast, and for a part of one."""

from __future__ import annotations

from collections.abc import Sequence

from enhancement.dicom.matching.words import compiled, plain, words

_DOSE = r"(?:doses?|dosis|dosi|dos|dawk\w*|davk\w*|doz\w*|annos\w*|доз\w*)"
_LOW = (
    r"(?:low|reduced|small|partial|micro|half|quarter|tenth|third|faible|demi|quart|reduite?|niedrig\w*|halbe?\w*|viertel\w*"
    r"|zehntel|baja|media|mitad|cuart\w*|reducida|bassa|mezza|quarto|ridotta|lage|halve|kwart|lag|halv|lav|kvart\w*|baixa|meia"
    r"|nisk\w*|polow\w*|cwierc\w*|nizk\w*|polovi\w*|dusuk|yarim|ceyrek|alacsony|fel|negyed|pieni|matala|puolikas"
    r"|низк\w*|полови\w*|четверт\w*|малая|малой)"
)
LOW_DOSE = (
    rf"\b{_LOW} (?:de |di |da |do |d |of |a )?(?:the |la |une )?{_DOSE}\b|\b{_DOSE} {_LOW}\b|\b(?:viertel|halb"
    rf"|niedrig|zehntel|klein)dos\w*"
    r"|\blowdose\b|\bquarter\b|\bld ?gad\w*|低[剂劑]量|低用量|低投与|半量|저용량|χαμηλ\w* δοσ\w*"
)
_LOW_AS_STORED = (
    r"(?<![\d.,])(?:5|10|20|25|30|33|40|50) ?(?:%|percent|pct|proz)|(?<![\d./])1 ?/ ?(?:2|3|4|5"
    r"|10)(?![\d/])(?= ?(?:dos|gd|gad|km|c\b|$))"
    r"|(?<![\d.,])1 ?/ ?(?:4|10)(?![\d/.])|(?<!\d)0[.,]0(?:1|2|25|3|33|4|5)(?!\d)"
)
_FULL = (
    r"\b(?:full|standard|normal|voll\w*|ganze?|plein\w*|completa?|double|doppel\w*"
    r"|triple|high|hohe) (?:de )?dos\w*|(?<!\d)(?:100|200) ?%"
)
_NUMBERED = r"(?:1 ?/ ?\d+|\d+ ?%|\d[.,]\d+) ?(?:mmol|dos|doz|gd|gad|km)"


def says_low_dose(descriptions: Sequence[str]) -> bool:
    """Whether a description says that only a part of the dose had been given."""
    for description in descriptions:
        stored = plain(description)
        if compiled(_FULL).search(stored) or compiled(_FULL).search(words(description)):
            return False
        if compiled(LOW_DOSE).search(words(description)) or compiled(_LOW_AS_STORED).search(stored):
            return True
    return False


def says_a_dose(descriptions: Sequence[str]) -> bool:
    """Whether a description speaks of a dose, low or full: then there was one."""
    if any(compiled(_NUMBERED).search(plain(description)) for description in descriptions):
        return True
    return any(
        compiled(pattern).search(words(description)) is not None
        for description in descriptions
        for pattern in (LOW_DOSE, _FULL)
    )
