"""What the network shall answer for a simulated patient: where disease is, and how much the agent added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from simulation.layers import Label
from simulation.patient import SimulatedPatient
from training.simulated import NO_UPTAKE, PHYSIOLOGICAL

#: A lesion's agent reaches beyond the voxels labelled as it, by its soft edge.
_RIM_VOXELS = 2
#: What adds less than this, in units of the brain's mean, is no disease that an image shows.
_VISIBLE = 0.05
#: Calm tissue of which the agent's share is taken.
_PURE = 0.8
#: Volume of a 10 mm sphere in voxels: smaller lesions weigh more, larger ones less.
_REFERENCE_VOXELS = 523.0
_LEAST_WEIGHT, _MOST_WEIGHT = 0.5, 4.0


@dataclass(frozen=True)
class Truth:
    """Answers on the patient's grid.

    Attributes
    ----------
    enhancement : (z, y, x), float32
        What the agent added beyond calm tissue, in units of the T1c; 0 and more, vessels included.
    disease : (z, y, x)
        Where that is disease.
    weight : (z, y, x), float32
        Of the voxels of `disease`: (reference volume / volume of the lesion) ** (1/3); 0 elsewhere.
    centres : tuple of (z, y, x)
        One voxel in the middle of each lesion.
    """

    enhancement: Volume
    disease: Mask
    weight: Volume
    centres: tuple[tuple[int, int, int], ...]


def find_truth(patient: SimulatedPatient) -> Truth:
    """Derive the answers from the noise-free images and the labels."""
    full = patient.t1c_k[1.0]
    added = enhancement_beyond_calm(patient)
    level = float(full[patient.brain].mean())
    disease = near_disease(patient.labels) & (added > _VISIBLE * level) & (patient.brain | patient.brain_imperfect)
    weight, centres = weigh_lesions(disease)
    return Truth(added, disease, weight, centres)


def enhancement_beyond_calm(patient: SimulatedPatient) -> Volume:
    """What the agent added to the T1c beyond what calm tissue takes up.

    Calm grey and white matter brighten by their blood. The larger of their two median gains counts as calm, so that
    nothing calm has any enhancement to speak of.
    """
    full, none = patient.t1c_k[1.0], patient.t1_clean
    calm = patient.brain & (patient.labels == Label.NONE) & (none > 0.3 * float(none[patient.brain].mean()))
    gains = [1.0]
    for tissue in (patient.gm, patient.wm):
        pure = calm & (tissue > _PURE)
        if pure.any():
            gains.append(float(np.median(full[pure] / none[pure])))
    return np.maximum(full - np.float32(max(gains)) * none, 0).astype(np.float32)


def near_disease(labels: NDArray[np.uint8]) -> Mask:
    """Lesions that take up agent with their rim, and no vessel or plexus that lies in it."""
    normal = np.isin(labels, [int(label) for label in PHYSIOLOGICAL])
    sources = (labels != 0) & ~normal & ~np.isin(labels, [int(label) for label in NO_UPTAKE])
    if not sources.any():
        return np.asarray(sources, bool)
    grown: Mask = np.asarray(ndimage.binary_dilation(sources, iterations=_RIM_VOXELS), bool)
    return grown & ~normal


def weigh_lesions(disease: Mask) -> tuple[Volume, tuple[tuple[int, int, int], ...]]:
    """Weight of each diseased voxel, and the middle of each lesion: a 2 mm metastasis is not drowned by a glioma."""
    weight = np.zeros(disease.shape, dtype=np.float32)
    components, _ = ndimage.label(disease, structure=np.ones((3, 3, 3)))
    centres: list[tuple[int, int, int]] = []
    for index, box in enumerate(ndimage.find_objects(components), start=1):
        lesion = components[box] == index
        value = np.clip((_REFERENCE_VOXELS / lesion.sum()) ** (1 / 3), _LEAST_WEIGHT, _MOST_WEIGHT)
        weight[box][lesion] = value
        voxels = np.argwhere(lesion)
        nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
        z, y, x = (int(v) + s.start for v, s in zip(nearest, box, strict=True))
        centres.append((z, y, x))
    return weight, tuple(centres)
