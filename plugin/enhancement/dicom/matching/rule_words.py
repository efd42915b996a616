"""What the built-in rules are written with: short names for conditions, and the words of each contrast.

Descriptions are matched in their words: lower case, no accents, punctuation as spaces (`words.py`).
"""

from __future__ import annotations

from enhancement.settings import Condition, Rule


def text(pattern: str) -> Condition:
    return Condition(keyword="Description", matches=pattern)


def any_of(keyword: str, *values: str | float) -> Condition:
    return Condition(keyword=keyword, any_of=values)


def kind(kinds: str) -> Condition:
    """Image Type or Frame Type holds one of these values, given with slashes between them."""
    return Condition(keyword="ImageType", any_of=tuple(kinds.split("/")))


def at_least(keyword: str, limit: float) -> Condition:
    return Condition(keyword=keyword, at_least=limit)


def at_most(keyword: str, limit: float) -> Condition:
    return Condition(keyword=keyword, at_most=limit)


def rule(name: str, *every: Condition, none: tuple[Condition, ...] = ()) -> Rule:
    return Rule(name=name, all=every, none=none)


DIFFUSION = Condition(keyword="Diffusion", equals="YES")
GIVEN = Condition(keyword="Contrast", equals="YES")
MIXED = Condition(keyword="Orientations", at_least=2)
DERIVED = kind("DERIVED/SECONDARY")

T1 = (
    r"(?<![a-z0-9])(?:[23]d|ax|axi|axial|sag|cor|tra|trans|obl|iso|wip|ir|fl|gre|se|tse|fse|"
    r"w)*t1(?!(?![23]d)[0-9])"
)

T1_SEQUENCES = (
    r"\bmp ?rage|\bmp2rage|\bbravo\b|\bf?spgr|\bfast spgr|\b3d ?tfe\b|\btfe\b|\btfl|\bvibe|"
    r"\be?thrive\b|\blava\b|\bquick ?3d|\bffe3d|\bir ?prep|\bmpr (?:ns|sag|tra|cor|ax|3d)\b|"
    r"\bturbo ?flash\b|\bir ?spgr|\bgre ?fsp|\bmagic ?prep|\bfast ?3d|\bflash ?3d|"
    r"\b3d ?flash|\bfl3d|\bmemp ?rage|\bme ?mp ?rage|\bincoherent\b"
)
VARIABLE_FLIP = (
    r"\bcube|\bspace\b|\bspc\b|\bvista\b|\biso ?fse|\bbrain ?view|\b(?:black|dark) ?blood|\b[bd]b\b|"
    r"\bmsde\b|\bmvox\b|\bmatrix\b|\bdante\b|\b3d ?(?:t1 ?w? ?)?tse\b|\bxeta\b|\bimsde\b|\bmotsa ?bb\b|\bvwi\b|"
    r"\bvessel ?wall"
)
T2 = (
    r"(?<![a-z0-9])(?:[23]d|ax|axi|axial|sag|cor|tra|trans|obl|iso|wip|se|tse|fse|w|"
    r"frfse)*t2(?!(?![23]d)[0-9]|\*)"
)

FLAIR = r"flair|\bt2 ?(?:spc|space) ?ir\b|dark ?fluid|\bda ?fl\b|\bt2 ?\w* ?tirm\b|\btirm\b|\bt2fl\w*|\bfluid ?att\w*"
DWI = (
    r"\bdwi\w*|\bdti\w*|\w*diff(?!er)\w*|difus\w*|\bdw\b|\bd ?mri\w*|\bdt ?(?:ssh|high|\d+)\w*|"
    r"\bdt\b|\bhardi\b|\bdsi\b|\bnoddi\b|\btracew?\b|\bresolve\b|\bivim\b|\btensor\b|\bb ?(?:500|"
    r"800|1000|1200|1500|2000|2500|3000)\b|\bdki\b|\bt2w? ?trace\b"
)
ADC = (
    r"(?<![a-z])(?:iso|d|avg|avg d)?adc(?![a-z])|apparent ?diff\w*|\bdapp\b|\baverage ?dc\b|"
    r"\bavg ?dc\b|\bcda\b"
)
