"""Tissues around the brain of a real head, from its labels: the counterpart of `simulation.outer_head`.

The labels have one number for all soft tissue. Fat lies right under the skin and in the orbits; deeper, fat and
muscle alternate as they do in the drawn heads.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.fields import smooth_noise
from simulation.head_labels import (
    ARTERY,
    BONE,
    CORD,
    CSF,
    EYE,
    EYE_MUSCLE,
    MARROW,
    MUCOSA,
    OPTIC_NERVE,
    PARENCHYMA,
    SKIN,
    SOFT,
    VEIN,
    VENTRICLES,
    Labels,
    select,
    table,
)
from simulation.outer_head import HeadDraw, Outer, signed_distance

#: Vessels outside the brain: a code beside those of `Outer`, which has none for blood.
BLOOD = 64
_ORBIT_MM = 9.0

_CODES = table(
    {
        CSF: Outer.CSF, BONE: Outer.BONE, MARROW: Outer.MARROW, SOFT: Outer.MUSCLE, SKIN: Outer.FAT,
        EYE: Outer.VITREOUS, EYE_MUSCLE: Outer.MUSCLE, OPTIC_NERVE: Outer.CORD, MUCOSA: Outer.MUCOSA,
        CORD: Outer.CORD, VEIN: BLOOD, ARTERY: BLOOD,
    }
    | dict.fromkeys((*PARENCHYMA, *VENTRICLES), Outer.INSIDE)
).astype(np.uint8)  # fmt: skip


def outer_of_labels(
    draw: HeadDraw, labels: Labels, cavity: Volume, spacing_mm: float, *, dura_mm: float
) -> NDArray[np.uint8]:
    """Class of every voxel of a real head.

    Parameters
    ----------
    draw
        Thickness of skin and subcutaneous fat, share of fat; the other thicknesses are the head's own.
    labels : (z, y, x)
    cavity : (z, y, x) mm
        Signed distance from the inner surface of the dura; what has no label within it is fluid.
    dura_mm
        Thickness of the dura to be painted on the skull; 0 where a model of the brain brings its own.

    Returns
    -------
    (z, y, x) uint8, codes of `Outer`, and `BLOOD`
    """
    rng = np.random.default_rng(draw.seed)
    noise = smooth_noise(rng, _shape(labels), 14 / spacing_mm)
    noise += np.float32(0.6) * smooth_noise(rng, _shape(labels), 6 / spacing_mm)
    depth = -_skin_distance(labels, spacing_mm)
    orbit = signed_distance(select(labels, (EYE, EYE_MUSCLE, OPTIC_NERVE)), spacing_mm) < _ORBIT_MM
    out = _CODES[labels]
    soft = labels == SOFT
    fatty = (noise > np.float32(0.9 - 1.6 * draw.fat)) | (depth < draw.scalp_mm) | orbit
    out[soft & fatty] = Outer.FAT
    out[((labels == SKIN) | soft) & (depth < draw.skin_mm)] = Outer.SKIN
    out[(labels == 0) & (cavity < 0)] = Outer.CSF
    if dura_mm > 0:
        out[(cavity >= 0) & (cavity < dura_mm) & (out != BLOOD)] = Outer.DURA
    return out


def _shape(labels: Labels) -> tuple[int, int, int]:
    return labels.shape[0], labels.shape[1], labels.shape[2]


def _skin_distance(labels: Labels, spacing_mm: float) -> Volume:
    """Signed distance to the air around the head, whose own air does not count."""
    air = sitk.GetImageFromArray(np.pad((labels == 0).astype(np.uint8), 1, constant_values=1))
    around = sitk.GetArrayFromImage(sitk.ConnectedThreshold(air, [(0, 0, 0)], 1, 1))[1:-1, 1:-1, 1:-1]
    return signed_distance(around == 0, spacing_mm)
