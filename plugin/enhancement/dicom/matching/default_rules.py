"""The built-in rules, as the same data that a site writes in its settings.

Order matters: exclusions first (`default_exclusions.py`), then per role the first rule that fits; the first role in
the order of this file is taken.
"""

from __future__ import annotations

from typing import Any

from enhancement.dicom.matching.default_exclusions import EXCLUDE
from enhancement.dicom.matching.rule_words import (
    ADC,
    DIFFUSION,
    DWI,
    FLAIR,
    GIVEN,
    MIXED,
    T1,
    T1_SEQUENCES,
    T2,
    VARIABLE_FLIP,
    any_of,
    at_least,
    at_most,
    kind,
    rule,
    text,
)
from enhancement.settings import Condition, Role, Rule, Rules

_NOT_T1 = (text(FLAIR + r"(?<!t1 flair)(?<!t1flair)"), text(DWI), text(ADC), text(T2))
_LONG_ECHO = (at_least("EchoTime", 60.0),)


def _three_d_gradient_echo(*more: Condition, none: tuple[Condition, ...]) -> tuple[Rule, ...]:
    """T1-weighted by physics: prepared by inversion, spoiled with a short TR, or with a large flip angle.

    What is left, TR 18 to 45 ms with a small flip angle, is how inflow angiography is made.
    """
    every = (
        any_of("ScanningSequence", "GR"),
        any_of("MRAcquisitionType", "3D"),
        at_most("EchoTime", 8.0),
        at_most("RepetitionTime", 3500.0),
        *more,
    )
    not_these = (
        *none,
        any_of("ScanningSequence", "EP"),
        DIFFUSION,
        at_least("InversionTime", 1600.0),
        any_of("SequenceVariant", "TOF"),
        MIXED,
    )
    return (
        rule("3D gradient echo, short TR", *every, at_most("RepetitionTime", 18.0), none=not_these),
        rule("3D gradient echo, prepared", *every, at_least("RepetitionTime", 1000.0), none=not_these),
        rule("3D gradient echo, prepared", *every, at_least("InversionTime", 200.0), none=not_these),
        rule("3D gradient echo, large flip angle", *every, at_least("FlipAngle", 26.0), none=not_these),
    )


def _t1(*more: Condition, none: tuple[Condition, ...] = ()) -> tuple[Rule, ...]:
    """A T1-weighted image by name or by physics."""
    return (
        rule(
            "T1 in the description",
            text(T1),
            *more,
            none=(*none, text(DWI), text(ADC), text(rf"{T2}(?!.*{T1})(?<!t1)"), *_LONG_ECHO),
        ),
        rule("a T1-weighted sequence by name", text(T1_SEQUENCES), *more, none=(*none, *_NOT_T1, *_LONG_ECHO)),
        *_three_d_gradient_echo(*more, none=none),
        rule(
            "2D gradient echo, short echo, large flip angle",
            any_of("ScanningSequence", "GR"),
            any_of("MRAcquisitionType", "2D"),
            at_most("EchoTime", 10.0),
            at_most("RepetitionTime", 900.0),
            at_least("RepetitionTime", 60.0),
            at_least("FlipAngle", 45.0),
            *more,
            none=(*none, any_of("ScanningSequence", "EP"), DIFFUSION, MIXED),
        ),
        rule(
            "spin echo, short TE and TR",
            any_of("ScanningSequence", "SE"),
            at_most("EchoTime", 35.0),
            at_most("RepetitionTime", 1300.0),
            at_least("RepetitionTime", 200.0),
            *more,
            none=(*none, any_of("ScanningSequence", "EP", "GR"), DIFFUSION, MIXED),
        ),
        rule(
            "inversion recovery spin echo, short TI and TE",
            any_of("ScanningSequence", "IR"),
            at_least("InversionTime", 350.0),
            at_most("InversionTime", 1250.0),
            at_most("EchoTime", 40.0),
            *more,
            none=(*none, any_of("ScanningSequence", "EP"), DIFFUSION, MIXED),
        ),
    )


_IS_VARIABLE_FLIP = text(VARIABLE_FLIP)
_THREE_D_SPIN_ECHO = (
    any_of("ScanningSequence", "SE"),
    any_of("MRAcquisitionType", "3D"),
    at_most("RepetitionTime", 1500.0),
)
_NOT_THREE_D_SPIN_ECHO = (any_of("ScanningSequence", "GR", "EP", "IR"), DIFFUSION, *_LONG_ECHO)

_ROLES: dict[Role, tuple[Rule, ...]] = {
    Role.ADC: (
        rule("ADC map by ImageType", kind("ADC/ADC_UNSPECIFIED"), none=(text(r"\be ?adc\b|\bexp"),)),
        rule("ADC in the description", text(ADC), none=(at_least("BValues", 50.0),)),
    ),
    Role.DWI: (
        rule("diffusion-weighted images", DIFFUSION, none=(kind("ADC"),)),
        rule("diffusion in the description", text(DWI), none=(kind("ADC"), text(ADC))),
    ),
    Role.FLAIR: (
        rule(
            "FLAIR in the description",
            text(FLAIR),
            none=(text(rf"{T1}(?!.*{T2})"), text(DWI), at_most("InversionTime", 1100.0)),
        ),
        rule(
            "long inversion time and echo",
            at_least("InversionTime", 1300.0),
            at_most("InversionTime", 3500.0),
            at_least("EchoTime", 70.0),
            at_least("RepetitionTime", 3500.0),
            none=(DIFFUSION, any_of("ScanningSequence", "EP")),
        ),
    ),
    Role.T1C_VFA: (
        *_t1(GIVEN, _IS_VARIABLE_FLIP)[:2],
        rule("3D spin echo by name", text(T1), GIVEN, *_THREE_D_SPIN_ECHO, none=_NOT_THREE_D_SPIN_ECHO),
        rule(
            "3D spin echo, short TE", GIVEN, *_THREE_D_SPIN_ECHO, at_most("EchoTime", 45.0), none=_NOT_THREE_D_SPIN_ECHO
        ),
    ),
    Role.T1C: _t1(GIVEN, none=(_IS_VARIABLE_FLIP,)),
    Role.T1: _t1(none=(GIVEN,)),
    Role.T2: (
        rule(
            "T2 in the description",
            text(T2),
            none=(text(FLAIR), text(T1), text(DWI), text(ADC), at_most("EchoTime", 45.0)),
        ),
        rule(
            "spin echo, long TE and TR",
            any_of("ScanningSequence", "SE"),
            at_least("EchoTime", 65.0),
            at_least("RepetitionTime", 1800.0),
            none=(
                any_of("ScanningSequence", "EP", "GR"),
                Condition(keyword="InversionTime", at_least=100.0),
                DIFFUSION,
            ),
        ),
    ),
}

DEFAULT_RULES = Rules(exclude=EXCLUDE, roles=_ROLES)


def as_settings(rules: Rules = DEFAULT_RULES) -> dict[str, Any]:
    """Rules in the form of the settings file, for a site to start from."""
    return rules.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
