"""From the scanner's grids to the network's input: the one preprocessing of use, training on real data, evaluation.

Strip the reference series, register the others to it and it to the atlas, widen the mask by the atlas', resample each
series once, divide it by its bias field, normalise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Mask
from enhancement.errors import MissingRole
from enhancement.imaging.atlas import GRID_SPACING_MM, load_atlas, network_grid
from enhancement.imaging.bias_field import estimate_bias_field
from enhancement.imaging.brain.edge import widen
from enhancement.imaging.brain.extraction import BrainExtractor
from enhancement.imaging.intensity import BrainStatistics, normalise
from enhancement.imaging.registration.register import FixedSeries, Registration, register_affine, register_rigid
from enhancement.imaging.registration.transforms import compose
from enhancement.imaging.resampling import antialiased, resample
from enhancement.progress import Stopwatch

_ANTIALIAS = 0.42  # as in training


class Channel(Protocol):
    """What a model's manifest says of one input."""

    @property
    def role(self) -> str: ...
    @property
    def z_min(self) -> float: ...
    @property
    def z_max(self) -> float: ...


#: The series of one study by role, each on its own grid (LPS, mm). "ADC" is a map in mm^2/s; "DWI" is the b = 0 image
#: on the map's grid. It drives the map's registration, because an ADC map has hardly any edges between grey and white
#: matter.
StudyImages = Mapping[str, sitk.Image]


@dataclass(frozen=True)
class NetworkInput:
    """What the network sees, and the way back.

    Attributes
    ----------
    reference : str
        Role of the series that everything was brought to, and that the result will lie on.
    inputs_czyx : (c, z, y, x), float32 in [0, 1]
        In the manifest's order; a missing input is all zeros.
    brain_zyx : (z, y, x), bool
        The brain on the network's grid.
    volumes : mapping of role to sitk.Image
        Resampled and bias corrected, in each series' own numbers.
    fields : mapping of role to sitk.Image
        The bias field that each volume was divided by; empty when that is switched off.
    covered : mapping of role to (z, y, x) bool
        Where the series has data.
    statistics : mapping of role to BrainStatistics
    to_series : mapping of role to sitk.Transform
        Points of the network's grid to points of each series.
    registrations : mapping of role to Registration
        Rigid ones by role, and the affine one as "ATLAS".
    brain : sitk.Image, uint8
        The brain on the reference's own grid; where the extractor's mask was tight, the widened one, as is `brain_zyx`.
    missing : tuple of str
        Roles of the manifest that the study does not have.
    """

    reference: str
    inputs_czyx: NDArray[np.float32]
    brain_zyx: Mask
    volumes: Mapping[str, sitk.Image]
    fields: Mapping[str, sitk.Image]
    covered: Mapping[str, Mask]
    statistics: Mapping[str, BrainStatistics]
    to_series: Mapping[str, sitk.Transform]
    registrations: Mapping[str, Registration]
    brain: sitk.Image
    missing: tuple[str, ...]


def prepare(
    images: StudyImages,
    channels: Sequence[Channel],
    extractor: BrainExtractor,
    *,
    reference: str,
    bias_field: bool = True,
    watch: Stopwatch | None = None,
) -> NetworkInput:
    """Bring a study to the network's grid.

    Parameters
    ----------
    images : StudyImages
        The reference at least.
    channels : sequence of Channel
        The manifest's inputs.
    extractor : BrainExtractor
        Applied to the reference alone; its mask is carried to the others.
    reference : str
        Role of the series that the others are registered to.
    bias_field : bool
        Whether to divide every volume but the ADC by its bias field (N4).
    watch : Stopwatch, optional
        For progress (0 to 0.4 of the whole) and stage times.

    Raises
    ------
    BrainExtractionFailed, RegistrationFailed
        If there is no brain, or no overlap.
    MissingRole
        If the model needs a series that the study lacks.
    """
    watch = watch or Stopwatch()
    roles = [channel.role for channel in channels]
    _require(images, channels)
    watch.stage("finding the brain", 0.02)
    extracted = extractor.extract(images[reference])
    registrations = _register(images, roles, reference, extracted.mask, watch)
    to_series = _ways(registrations, reference)
    brain = extracted.mask
    if extracted.possible is not None:
        t1 = _before_contrast(images, reference, registrations)
        brain = widened(extracted.possible, images[reference], to_series[reference], t1)
    watch.stage("resampling", 0.32)
    grid = network_grid()
    brain_on_grid = sitk.Cast(resample(brain, grid, to_series[reference], "linear") > 0.5, sitk.sitkUInt8)
    volumes = {role: _resample_role(images[role], grid, to_series[role], role) for role in to_series}
    covered = {role: field_of_view(images[role], grid, to_series[role]) for role in to_series}
    fields: dict[str, sitk.Image] = {}
    if bias_field:
        watch.stage("correcting the bias field", 0.36)
        fields = {role: estimate_bias_field(volumes[role], brain_on_grid) for role in volumes if role != "ADC"}
        volumes |= {role: volumes[role] / field for role, field in fields.items()}
    watch.stage("normalising", 0.39)
    brain_zyx = sitk.GetArrayFromImage(brain_on_grid) > 0
    inputs, statistics = _normalised(volumes, covered, brain_zyx, channels)
    return NetworkInput(
        reference=reference,
        inputs_czyx=inputs,
        brain_zyx=brain_zyx,
        volumes=volumes,
        fields=fields,
        covered=covered,
        statistics=statistics,
        to_series=to_series,
        registrations=registrations,
        brain=brain,
        missing=tuple(role for role in roles if role not in images),
    )


def _ways(registrations: Mapping[str, Registration], reference: str) -> dict[str, sitk.Transform]:
    """From points of the network's grid to points of each series; the reference is reached first."""
    to_reference = registrations["ATLAS"].transform
    others = [role for role in registrations if role != "ATLAS"]
    ways = {role: compose(to_reference, registrations[role].transform) for role in others}
    return ways | {reference: to_reference}


def _register(
    images: StudyImages, roles: Sequence[str], reference: str, brain: sitk.Image, watch: Stopwatch
) -> dict[str, Registration]:
    """Every other series to the reference, by role, and the reference to the atlas, as "ATLAS"."""
    registrations: dict[str, Registration] = {}
    fixed = FixedSeries(images[reference], brain)
    others = [role for role in roles if role in images and role != reference]
    for index, role in enumerate(others):
        watch.stage(f"registering {role}", 0.06 + 0.2 * index / max(len(others), 1))
        moving = images.get("DWI", images[role]) if role == "ADC" else images[role]
        registrations[role] = register_rigid(fixed, moving)
    watch.stage("registering to the atlas", 0.26)
    brain_alone = sitk.Mask(sitk.Cast(images[reference], sitk.sitkFloat32), brain)
    registrations["ATLAS"] = register_affine(_template(), brain_alone)
    return registrations


def _before_contrast(
    images: StudyImages, reference: str, registrations: Mapping[str, Registration]
) -> sitk.Image | None:
    """The T1 on the reference's grid, where there is one."""
    if reference == "T1":
        return images[reference]
    if "T1" not in registrations:
        return None
    return resample(images["T1"], images[reference], registrations["T1"].transform, "linear")


def for_network_grid(image: sitk.Image) -> sitk.Image:
    """An image that can be sampled on the network's grid of 1 mm, smoothed as in training."""
    return antialiased(image, GRID_SPACING_MM[0], strength=_ANTIALIAS)


def field_of_view(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> Mask:
    """Which voxels of a grid a series has data for."""
    full = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    full.CopyInformation(image)
    inside = sitk.Resample(full, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    return np.asarray(sitk.GetArrayViewFromImage(inside) > 0)


def _require(found: Mapping[str, sitk.Image], channels: Sequence[Channel]) -> None:
    lacking = [c.role for c in channels if getattr(c, "required", False) and c.role not in found]
    if lacking:
        raise MissingRole(f"the model needs {', '.join(lacking)}, found only {', '.join(sorted(found))}")


@lru_cache(maxsize=1)
def _template() -> FixedSeries:
    return FixedSeries(load_atlas().t1, load_atlas().brain)


def widened(
    brain: sitk.Image, reference: sitk.Image, atlas_to_reference: sitk.Transform, t1: sitk.Image | None
) -> sitk.Image:
    """A tight mask with the template's edge; see `brain.edge`.

    Parameters
    ----------
    brain : sitk.Image, uint8
        On the reference's grid.
    reference : sitk.Image
    atlas_to_reference : sitk.Transform
        Points of the atlas to points of the reference.
    t1 : sitk.Image or None
        Before contrast, on the reference's grid; without it fat at the edge is not looked for.
    """
    template = resample(load_atlas().brain, reference, atlas_to_reference.GetInverse(), "nearest")
    return widen(brain, template, reference, t1)


def _resample_role(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, role: str) -> sitk.Image:
    # An ADC map is full of invalid zeros, at which a spline would ring.
    return resample(for_network_grid(image), grid, transform, "linear" if role == "ADC" else "spline")


def _normalised(
    volumes: Mapping[str, sitk.Image],
    covered: Mapping[str, Mask],
    brain: Mask,
    channels: Sequence[Channel],
) -> tuple[NDArray[np.float32], dict[str, BrainStatistics]]:
    inputs = np.zeros((len(channels), *brain.shape), dtype=np.float32)
    statistics: dict[str, BrainStatistics] = {}
    for index, channel in enumerate(channels):
        if channel.role in volumes:
            array = sitk.GetArrayFromImage(volumes[channel.role])
            inputs[index], statistics[channel.role] = normalise(
                channel.role, array, brain, channel.z_min, channel.z_max, covered[channel.role]
            )
    return inputs, statistics
