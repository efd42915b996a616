"""Label maps of real heads: what each number means.

The brain has FreeSurfer's numbers. Those from 502 on are not documented where the maps come from. They were
looked at in all three planes: where they lie, in all twenty heads, leaves no doubt (see `EXTRA`). They are the
classes of SimNIBS' CHARM atlas.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int16]

#: Outside the brain: number, and what was seen there.
EXTRA = {
    502: "arteries: carotids from the neck through the siphon, vertebral arteries, basilar",
    506: "eye",
    507: "soft tissue: muscle, fat, cartilage, glands, all in one",
    508: "muscles of the eye",
    509: "mucosa of the nose: turbinates and septum",
    511: "skin, as a shell of 2 to 4 mm with what lies right under it",
    512: "spinal cord below the brain stem",
    514: "veins: sagittal, straight, transverse and sigmoid sinus, jugular veins",
    515: "compact bone, teeth",
    516: "spongy bone: diploe, skull base, vertebrae, jaw",
    530: "optic nerve, from the eye to the chiasm",
}
ARTERY, EYE, SOFT, EYE_MUSCLE, MUCOSA, SKIN, CORD, VEIN, BONE, MARROW, OPTIC_NERVE = EXTRA

CSF = 24
WHITE = (2, 41, 7, 46, 16, 28, 60, 85, 25, 57)
DEEP_GREY = (10, 49, 11, 50, 12, 51, 13, 52, 26, 58)
GREY = (3, 42, 8, 47, 17, 53, 18, 54, 30, 62, *DEEP_GREY)
PLEXUS = (136, 163, 137, 164)
VENTRICLES = (4, 43, 5, 44, 14, 15, 72, *PLEXUS)
CEREBELLUM = (7, 8, 46, 47)
CEREBELLAR_CORTEX = (8, 47)
BRAIN_STEM = (16, 28, 60)
LEFT_CEREBRUM = (2, 3, 10, 11, 12, 13, 17, 18, 25, 26, 30)
RIGHT_CEREBRUM = (41, 42, 49, 50, 51, 52, 53, 54, 57, 58, 62)
PARENCHYMA = (*WHITE, *GREY)
_PAIRS = {2: 41, 3: 42, 4: 43, 5: 44, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54, 25: 57, 26: 58,
          28: 60, 30: 62, 136: 163, 137: 164}  # fmt: skip

# Nuclei are mixtures: the share of white matter in grey structures, and less than 0 that of grey matter in white ones.
# T1 at 3 T comes out near Wansapura 1999 and Deoni 2005: thalamus 1.2 s, pallidum 1.0 s, putamen 1.25 s, cortex 1.4 s.
# A T1 offset alone made the nuclei brighter than cortex on FLAIR, which they are not: iron and myelin shorten T2, too.
MIXTURE = {
    10: 0.42, 49: 0.42, 11: 0.10, 50: 0.10, 12: 0.24, 51: 0.24, 13: 0.72, 52: 0.72, 26: 0.10, 58: 0.10,
    30: 0.24, 62: 0.24, 8: 0.08, 47: 0.08, 7: -0.06, 46: -0.06, 16: -0.16, 28: -0.32, 60: -0.32, 85: -0.2,
}  # fmt: skip
# What is left: logarithm of T1 relative to the mixture.
LOG_T1 = {
    10: -0.02, 49: -0.02, 12: -0.03, 51: -0.03, 13: -0.08, 52: -0.08, 17: 0.02, 53: 0.02, 18: 0.04, 54: 0.04,
    16: 0.03, 28: 0.02, 60: 0.02,
}  # fmt: skip
_SIZE = 531


def table(values: Mapping[int, float]) -> NDArray[np.float32]:
    """A look-up table over all numbers; 0 where nothing is given."""
    result = np.zeros(_SIZE, np.float32)
    result[list(values)] = list(values.values())
    return result


def select(labels: Labels, wanted: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where one of these numbers stands."""
    chosen = np.zeros(_SIZE, bool)
    chosen[list(wanted)] = True
    return chosen[labels]


def swap_sides(labels: Labels) -> Labels:
    """Left numbers for right ones and the other way round."""
    numbers = np.arange(_SIZE, dtype=np.int16)
    for left, right in _PAIRS.items():
        numbers[left], numbers[right] = right, left
    return numbers[labels]
