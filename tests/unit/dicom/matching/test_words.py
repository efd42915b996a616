"""What a description says of contrast, in six languages: given, not given, or nothing."""

from __future__ import annotations

import pytest

from enhancement.dicom.matching.marks import contrast_mark

GIVEN = """
T1 +C|AX T1 C+|T1 IV+|T1 gado+|3D T1 INJ|T1 après inj.|T1 AVEC|T1 post-gadolinio|T1 con gd|T1 tras civ|T1 dopo mdc
T1 CMC|t1_mpr_KM|T1 nach KM i.v.|T1 mit Gadolinium|t1_mpr_nKM|T1 na Gd|T1 met contrast|T1 w/Gd|T1 with|T1_Gd-DTPA
T1 Gadovist|T1postGd|AX BRAVO C|T1GAD|T1 C/C|POST-OP T1 C+
"""
NOT_GIVEN = """
T1 C-|T1 -C|T1 (-C)|T1 IV-|T1 INJ-|T1 Gd-|T1 sans gado|T1 avant injection|T1 av inj|T1 sin contraste|T1 S/C|T1 senza mdc
T1 basale|T1 ohne KM|T1 o KM|t1_mpr_oKM|T1 o. KM|T1 nativ|T1 leer|T1 zonder gd|T1 voor contrast|T1 blanco
T1 w/o contrast|T1 without|T1 NC|T1 non-contrast|T1 PRE|preKM T1|T1 unenhanced
"""
NOTHING = "T1|T1 MPRAGE|T1 post op|T1 POST FOSSA|T1 phase contrast|T1 MTC|T1 SE COR|T1 civic|T1 high contrast|SAG T1 CC"


def _listed(text: str) -> list[str]:
    return [description for line in text.strip().splitlines() for description in line.split("|")]


@pytest.mark.parametrize("description", _listed(GIVEN))
def test_given(description: str) -> None:
    """Words for the agent, its sign, and after."""
    assert contrast_mark(description) is True


@pytest.mark.parametrize("description", _listed(NOT_GIVEN))
def test_not_given(description: str) -> None:
    """Without, before, native, and the minus sign."""
    assert contrast_mark(description) is False


@pytest.mark.parametrize("description", _listed(NOTHING))
def test_nothing(description: str) -> None:
    """Operations, fossae and other contrasts."""
    assert contrast_mark(description) is None
