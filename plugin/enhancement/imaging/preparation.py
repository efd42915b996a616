"""From the scanner's grids to the network's input: the one preprocessing of use, training on real data, evaluation.

Strip the T1c, register the others to it, the stripped T1c to the atlas, widen the mask by the atlas', resample each
series once, divide by its bias field, normalise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.errors import MissingRole
from enhancement.imaging.atlas import GRID_SPACING_MM, load_atlas, network_grid
from enhancement.imaging.bias_field import estimate_bias_field
from enhancement.imaging.brain.edge import widen
from enhancement.imaging.brain.extraction import BrainExtractor
from enhancement.imaging.intensity import BrainStatistics, normalise
from enhancement.imaging.registration.register import Registration, register_affine, register_rigid
from enhancement.imaging.registration.transforms import compose
from enhancement.imaging.resampling import antialiased, resample

Progress = Callable[[str, float], None]
_ANTIALIAS = 0.42  # as in training


class Channel(Protocol):
    """What a model's manifest says of one input."""

    @property
    def role(self) -> str: ...
    @property
    def z_min(self) -> float: ...
    @property
    def z_max(self) -> float: ...


@dataclass(frozen=True)
class StudyImages:
    """The series of one study, each on its own grid (LPS, mm).

    `adc` is in mm^2/s; `b0` lies on the ADC's grid and drives its registration, because an ADC map has hardly any
    edges between grey and white matter.
    """

    t1: sitk.Image
    t1c: sitk.Image
    flair: sitk.Image | None = None
    adc: sitk.Image | None = None
    b0: sitk.Image | None = None
    t2: sitk.Image | None = None

    def by_role(self) -> dict[str, sitk.Image]:
        """The images that there are, by the role names of manifests."""
        found = {"T1": self.t1, "FLAIR": self.flair, "ADC": self.adc, "T2": self.t2, "T1C": self.t1c}
        return {role: image for role, image in found.items() if image is not None}


@dataclass(frozen=True)
class NetworkInput:
    """What the network sees, and the way back.

    Attributes
    ----------
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
        The brain on the T1c's own grid; where the extractor's mask was tight, the widened one, as is `brain_zyx`.
    missing : tuple of str
        Roles of the manifest that the study does not have.
    """

    inputs_czyx: NDArray[np.float32]
    brain_zyx: NDArray[np.bool_]
    volumes: Mapping[str, sitk.Image]
    fields: Mapping[str, sitk.Image]
    covered: Mapping[str, NDArray[np.bool_]]
    statistics: Mapping[str, BrainStatistics]
    to_series: Mapping[str, sitk.Transform]
    registrations: Mapping[str, Registration]
    brain: sitk.Image
    missing: tuple[str, ...]


@dataclass
class Stopwatch:
    """Tells a progress callback where the work is, and adds up the seconds of each stage."""

    progress: Progress | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _since: float = 0.0

    def stage(self, name: str, fraction: float) -> None:
        """Begin a stage; what the callback raises stops the work here."""
        self.stop()
        self._stage, self._since = name, time.perf_counter()
        if self.progress is not None:
            self.progress(name, fraction)

    def stop(self) -> None:
        """End the stage under way."""
        if self._stage:
            spent = time.perf_counter() - self._since
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + spent
        self._stage = ""


def prepare(
    images: StudyImages,
    channels: Sequence[Channel],
    extractor: BrainExtractor,
    *,
    bias_field: bool = True,
    watch: Stopwatch | None = None,
) -> NetworkInput:
    """Bring a study to the network's grid.

    Parameters
    ----------
    images : StudyImages
        T1 and T1c at least.
    channels : sequence of Channel
        The manifest's inputs.
    extractor : BrainExtractor
        Applied to the T1c alone; its mask is carried to the others.
    bias_field : bool
        Whether to divide T1-weighted and FLAIR volumes by their bias field (N4).
    watch : Stopwatch, optional
        For progress (0 to 0.4 of the whole) and stage times.

    Raises
    ------
    SkullStripFailed, RegistrationFailed
        If there is no brain, or no overlap.
    MissingRole
        If the model needs a series that the study lacks.
    """
    watch = watch or Stopwatch()
    found = images.by_role()
    roles = [channel.role for channel in channels]
    _require(found, channels)
    watch.stage("finding the brain", 0.02)
    extracted = extractor.extract(images.t1c)
    brain = extracted.mask
    registrations: dict[str, Registration] = {}
    others = [role for role in roles if role in found and role != "T1C"]
    for index, role in enumerate(others):
        watch.stage(f"registering {role}", 0.06 + 0.2 * index / max(len(others), 1))
        moving = images.b0 if role == "ADC" and images.b0 is not None else found[role]
        registrations[role] = register_rigid(images.t1c, brain, moving)
    watch.stage("registering to the atlas", 0.26)
    registrations["ATLAS"] = _to_atlas(images.t1c, brain)
    to_t1c = registrations["ATLAS"].transform
    to_series = {role: compose(to_t1c, registrations[role].transform) for role in others} | {"T1C": to_t1c}
    if extracted.possible is not None:
        brain = widened(extracted.possible, images.t1c, to_t1c, images.t1, registrations.get("T1"))
    watch.stage("resampling", 0.32)
    grid = network_grid()
    brain_on_grid = sitk.Cast(resample(brain, grid, to_t1c, "linear") > 0.5, sitk.sitkUInt8)
    volumes = {role: _resample_role(found[role], grid, to_series[role], role) for role in to_series}
    covered = {role: field_of_view(found[role], grid, to_series[role]) for role in to_series}
    fields: dict[str, sitk.Image] = {}
    if bias_field:
        watch.stage("correcting the bias field", 0.36)
        for role in [role for role in volumes if role != "ADC"]:
            fields[role] = estimate_bias_field(volumes[role], brain_on_grid)
            volumes[role] = volumes[role] / fields[role]
    watch.stage("normalising", 0.39)
    brain_zyx = sitk.GetArrayFromImage(brain_on_grid) > 0
    inputs, statistics = _normalised(volumes, covered, brain_zyx, channels)
    return NetworkInput(
        inputs_czyx=inputs,
        brain_zyx=brain_zyx,
        volumes=volumes,
        fields=fields,
        covered=covered,
        statistics=statistics,
        to_series=to_series,
        registrations=registrations,
        brain=brain,
        missing=tuple(role for role in roles if role not in found),
    )


def for_network_grid(image: sitk.Image) -> sitk.Image:
    """An image that can be sampled on the network's grid of 1 mm, smoothed as in training."""
    return antialiased(image, GRID_SPACING_MM[0], strength=_ANTIALIAS)


def field_of_view(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> NDArray[np.bool_]:
    """Which voxels of a grid a series has data for."""
    full = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    full.CopyInformation(image)
    inside = sitk.Resample(full, grid, transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    return np.asarray(sitk.GetArrayViewFromImage(inside) > 0)


def _require(found: Mapping[str, sitk.Image], channels: Sequence[Channel]) -> None:
    lacking = [c.role for c in channels if getattr(c, "required", False) and c.role not in found]
    if lacking:
        raise MissingRole(f"the model needs {', '.join(lacking)}, found only {', '.join(sorted(found))}")


def _to_atlas(t1c: sitk.Image, brain: sitk.Image) -> Registration:
    atlas = load_atlas()
    stripped = sitk.Mask(sitk.Cast(t1c, sitk.sitkFloat32), brain)
    return register_affine(atlas.t1, atlas.brain, stripped)


def widened(
    brain: sitk.Image,
    t1c: sitk.Image,
    atlas_to_t1c: sitk.Transform,
    t1: sitk.Image,
    t1_found: Registration | None,
) -> sitk.Image:
    """A tight mask with the template's edge; see `brain_edge`.

    Parameters
    ----------
    brain : sitk.Image, uint8
    t1c, t1 : sitk.Image
        Each on its own grid.
    atlas_to_t1c : sitk.Transform
        Points of the atlas to points of the T1c.
    t1_found : Registration or None
        Where the T1 lies; without it fat at the edge is not looked for.
    """
    template = resample(load_atlas().brain, t1c, atlas_to_t1c.GetInverse(), "nearest")
    before = None if t1_found is None else resample(t1, t1c, t1_found.transform, "linear")
    return widen(brain, template, t1c, before)


def _resample_role(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, role: str) -> sitk.Image:
    # An ADC map is full of invalid zeros, at which a spline would ring.
    return resample(for_network_grid(image), grid, transform, "linear" if role == "ADC" else "spline")


def _normalised(
    volumes: Mapping[str, sitk.Image],
    covered: Mapping[str, NDArray[np.bool_]],
    brain: NDArray[np.bool_],
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
