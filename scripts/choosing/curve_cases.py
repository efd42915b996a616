"""The cases of the learning curve: real ones with and without implants, and simulated ones, on the network's grid.

They are prepared once by the plugin's own preparation and kept in the run's folder, so that a row costs one prediction
a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from choosing.recipe import ChoosingRecipe
from choosing.truth import find_truth
from enhancement.arrays import Mask, Volume
from enhancement.errors import InputError
from enhancement.imaging.bias_field import estimate_bias_field
from enhancement.imaging.brain.extraction import BrainExtractedInput
from enhancement.imaging.measured_enhancement import Measured, measured_enhancement
from enhancement.imaging.preparation import prepare
from enhancement.imaging.registration.register import resample
from enhancement.network.manifest import InputChannel
from evaluation.real import ENHANCING_LABEL, outlined, read_case
from evaluation.regions import find_regions
from simulation.patient import PatientConfig, simulate_patient

_DIAMETERS_MM = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_STRENGTHS = (0.15, 0.7)
_IMPLANTS = 18
_APART_VOXELS = 16


@dataclass(frozen=True)
class Implant:
    """A lesion that was added: its voxels on the grid, its diameter, and the median-relative strength."""

    index: NDArray[np.int64]
    added: Volume
    diameter_mm: float
    strength: float


@dataclass(frozen=True)
class CurveCase:
    """One case.

    Attributes
    ----------
    name : str
    volumes : {role: (z, y, x)}
        Bias field removed, each in its own numbers; noise-free `clean` among them where it is known.
    brain, lesion : (z, y, x)
    measured : Measured
        What the series themselves say of the agent.
    white, roi : (z, y, x)
        Calm white matter, and the part of it that a reader would outline.
    enhancement : (z, y, x), optional
        Of simulated cases: what the agent added, in the units of the T1c.
    implants : list of Implant
        What the T1c holds beside its own.
    """

    name: str
    volumes: dict[str, Volume]
    brain: Mask
    lesion: Mask
    measured: Measured
    white: Mask
    roi: Mask
    enhancement: Volume | None = None
    implants: list[Implant] = field(default_factory=list)


def describe(
    name: str,
    volumes: dict[str, Volume],
    brain: Mask,
    lesion: Mask,
    enhancement: Volume | None = None,
    implants: Sequence[Implant] = (),
) -> CurveCase:
    """A case with what can be found from its T1 and T1c alone."""
    t1, t1c = volumes["T1"], volumes["T1C"]
    regions = find_regions(t1, t1c, brain, lesion=lesion, abnormal=lesion)
    measured = measured_enhancement(t1, t1c, brain)
    return CurveCase(name, volumes, brain, lesion, measured, regions.white, regions.roi, enhancement, list(implants))


def real_case(folder: Path, recipe: ChoosingRecipe) -> CurveCase:
    """A brain-extracted real case with a segmentation, through the plugin's preparation.

    Raises
    ------
    InputError
        If it has no segmentation.
    """
    real = read_case(folder)
    if real.segmentation is None:
        raise InputError(f"a segmentation was needed in {folder.name}, found none; leave the case out")
    channels = [
        InputChannel(role=c.role, z_min=c.limits[0], z_max=c.limits[1], required=c.required)  # type: ignore[index]
        for c in recipe.inputs
    ]
    prepared = prepare(real.images, channels, BrainExtractedInput(), reference="T1C")
    volumes = {role: np.asarray(sitk.GetArrayFromImage(image), np.float32) for role, image in prepared.volumes.items()}
    label = 4 if (sitk.GetArrayFromImage(real.segmentation) == 4).any() else ENHANCING_LABEL
    image = real.images["T1C"]
    outline = sitk.GetImageFromArray(outlined(real, image, label)[0].astype(np.float32))
    outline.CopyInformation(image)
    on_grid = resample(outline, prepared.volumes["T1C"], prepared.to_series["T1C"], "linear")
    inside = prepared.brain_zyx & prepared.covered["T1"] & prepared.covered["T1C"]
    return describe(folder.name, volumes, inside, (sitk.GetArrayFromImage(on_grid) > 0.5) & inside)


def simulated_case(seed: int, config: PatientConfig) -> CurveCase:
    """A simulated patient, its bias fields removed as the plugin does."""
    patient = simulate_patient(seed, config=config)
    truth = find_truth(patient)
    brain = np.asarray(patient.brain_imperfect, bool)
    volumes: dict[str, Volume] = {}
    fields = {}
    for role, volume in (("T1", patient.t1), ("FLAIR", patient.flair), ("ADC", patient.adc), ("T1C", patient.t1c)):
        fields[role] = np.float32(1) if role == "ADC" else _bias_field(volume, brain)
        volumes[role] = (volume / fields[role]).astype(np.float32)
    volumes["clean"] = (patient.t1c_k[1.0] / fields["T1C"]).astype(np.float32)
    enhancement = (truth.enhancement / fields["T1C"]).astype(np.float32)
    return describe(f"sim-{seed}", volumes, brain, truth.disease & brain, enhancement)


def with_implants(case: CurveCase, seed: int) -> CurveCase:
    """Smooth blobs of 2 to 10 mm in calm tissue of a case, brighter in the T1c, a little darker in the T1."""
    rng = np.random.default_rng(seed)
    t1c = case.volumes["T1C"]
    measured = case.measured
    median = float(np.median(t1c[case.brain]))
    vivid = (np.abs(measured.excess_zyx) > 2 * measured.noise) | (t1c < 0.6 * median)
    crowd = ndimage.gaussian_filter(vivid.astype(np.float32), 4)
    free = (ndimage.distance_transform_edt(case.brain) > 6) & (ndimage.distance_transform_edt(~case.lesion) > 14)
    free &= crowd < np.quantile(crowd[free], 0.4)
    volumes = {role: volume.copy() for role, volume in case.volumes.items()}
    implants = []
    for number in range(_IMPLANTS):
        places = np.argwhere(free)
        if not len(places):
            break
        centre = places[rng.integers(len(places))]
        implant = _blob(centre, _DIAMETERS_MM[number % len(_DIAMETERS_MM)], rng, t1c.shape, median)
        implants.append(implant)
        share = np.zeros(t1c.shape, np.float32)
        share.ravel()[implant.index] = implant.added / median
        volumes["T1C"] += share * median
        volumes["T1"] *= 1 - 0.3 * share
        if "FLAIR" in volumes:
            halo = ndimage.gaussian_filter(share, 2.0)
            volumes["FLAIR"] *= 1 + 0.6 * halo / max(float(halo.max()), 1e-6) * float(share.max())
        free[tuple(slice(max(c - _APART_VOXELS, 0), c + _APART_VOXELS) for c in centre)] = False
    return describe(case.name + "+implants", volumes, case.brain, case.lesion, None, implants)


def _blob(
    centre: NDArray[np.int64], diameter_mm: float, rng: np.random.Generator, shape: tuple[int, ...], median: float
) -> Implant:
    strength = float(rng.uniform(*_STRENGTHS))
    window = tuple(slice(int(c) - 9, int(c) + 10) for c in centre)
    offsets = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), -1) - rng.uniform(-0.5, 0.5, 3)
    squeezed = offsets * np.exp(rng.normal(0, 0.1, 3))
    profile = 1 / (1 + np.exp((np.linalg.norm(squeezed, axis=-1) - diameter_mm / 2) / 0.35))
    profile = ndimage.gaussian_filter(profile, 0.4)
    where = profile > 0.2 * profile.max()
    index = np.ravel_multi_index(
        [a[where] for a in np.meshgrid(*[np.arange(s.start, s.stop) for s in window], indexing="ij")], shape
    )
    return Implant(index, (profile[where] * strength * median).astype(np.float32), diameter_mm, strength)


def _bias_field(volume: Volume, brain: Mask) -> Volume:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume, dtype=np.float32))
    mask = sitk.GetImageFromArray(brain.astype(np.uint8))
    return np.asarray(sitk.GetArrayFromImage(estimate_bias_field(image, mask)), dtype=np.float32)
