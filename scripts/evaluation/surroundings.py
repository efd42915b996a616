"""What a reader sees around a mark: whether it is a ball or part of a tube, what it hangs on, where it lies.

A vessel goes on beyond the mark, on one side or two; it hangs on a tree that leaves the neighbourhood; it has a
counterpart on the other side of the head; it lies where vessels lie. A lesion is a ball of its own, or hangs on a
vessel by little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from evaluation.reader import Candidate, Ground, blobness, hessian, smooth_at
from evaluation.regions import Spacing, block_mean

#: What is told of a mark, in this order; all are numbers without unit but for the depth.
FEATURES = (
    "contrast",  # log of its contrast, in brain medians
    "peak",  # contrast over the brightest voxel near its centre: low where a small bright thing sits in a large mark
    "diameter",  # log of mm
    "ball",  # weakest over strongest curvature at its scale
    "ball_within",  # the same at 0.6 of it
    "full",  # log of what is connected above half height over the ball's volume
    "long_80", "long_65", "long_50", "long_35",  # reach of what is connected above this height, over the diameter
    "leaves",  # how much of the way to the window's border that at 0.35 goes
    "shell",  # part of the shell around it that enhances
    "wet",  # part of the shell that is fluid or outside the brain
    "arms",  # bright places on the shell: 0 of a ball, 1 of a vessel's end, 2 of a vessel
    "along",  # the darker of the two continuations along its weakest curvature, over the peak
    "before",  # T1 before contrast over the brain's median
    "depth",  # log of 1 + mm below the brain's surface
    "place", "places",  # how often normal structures enhance there, and at most within 2 mm
    "twin",  # the brightest within 5 mm of the mirrored place, over the peak
    "pitfall",  # log of how often a reader who knew all but this was wrong near there
)  # fmt: skip

_LEVELS = (0.8, 0.65, 0.5, 0.35)
_TWIN_MM = 5.0
_PLACES_MM = 2.0
_RARE = 3e-6


@dataclass(frozen=True)
class Place:
    """What a reader knows of anatomy, on the grid of the image that is read.

    Parameters
    ----------
    normal : (z, y, x), 0 to 1
        How often normal structures enhance.
    mirror : callable
        Swaps left and right of a volume.
    pitfalls : (z, y, x), marks a patient in 8 mm3
        How often a reader would be wrong there: at the pineal gland, the glomus of the plexus, a venous angle.
    """

    normal: Volume
    mirror: Callable[[Volume], Volume]
    pitfalls: Volume


def describe(candidates: Sequence[Candidate], ground: Ground, t1: Volume, place: Place) -> NDArray[np.float64]:
    """The features of every candidate.

    Parameters
    ----------
    candidates : sequence
    ground : Ground
        The image's enhancement and its masks, cut to the brain.
    t1 : (z, y, x), intensities
        Of the whole grid.
    place : Place

    Returns
    -------
    (candidates, `FEATURES`)
    """
    view = _View(ground, t1, place)
    scales = {d: _Scale(ground, view.fine, d) for d in sorted({c.mark.diameter_mm for c in candidates})}
    rows = [_features(candidate, view, scales[candidate.mark.diameter_mm]) for candidate in candidates]
    return np.array(rows, dtype=np.float64).reshape(-1, len(FEATURES))


def pitfall(density: float) -> float:
    """The feature of that name; the floor is a mark in 8 mm3 of 300,000 patients."""
    return float(np.log(max(density, 0.0) + _RARE))


class _View:
    """Volumes that all marks of an image share, cut to the brain."""

    def __init__(self, ground: Ground, t1: Volume, place: Place) -> None:
        window, step = ground.window, ground.spacing_zyx_mm
        self.spacing: Spacing = step
        self.fine = ndimage.gaussian_filter(ground.excess, [0.6 / s for s in step])
        whole = np.zeros(t1.shape, np.float32)
        whole[window] = self.fine
        reach = [2 * round(_TWIN_MM / s) + 1 for s in step]
        self.twin = ndimage.maximum_filter(place.mirror(whole), size=reach)[window]
        self.before = ndimage.uniform_filter(t1[window] / np.float32(np.median(t1[window][ground.inside])), 3)
        padded = np.pad(ground.inside, 1)
        self.depth = ndimage.distance_transform_edt(padded, sampling=step)[1:-1, 1:-1, 1:-1]
        self.place = place.normal[window]
        self.pitfalls = place.pitfalls[window]
        self.places = ndimage.maximum_filter(self.place, size=[2 * round(_PLACES_MM / s) + 1 for s in step])


class _Scale:
    """Volumes of one diameter, on its grid."""

    def __init__(self, ground: Ground, fine: Volume, diameter_mm: float) -> None:
        self.factor = ground.factor(diameter_mm)
        self.step = ground.step(diameter_mm)
        self.excess = block_mean(fine, self.factor)
        self.wet = block_mean((ground.csf | ~ground.inside).astype(np.float32), self.factor)
        coarse = block_mean(ground.excess, self.factor)
        self.smooth = smooth_at(coarse, diameter_mm, self.step)
        self.within = smooth_at(coarse, 0.6 * diameter_mm, self.step)

    def index(self, voxel: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.asarray(np.minimum(voxel // np.array(self.factor), np.array(self.excess.shape) - 1), dtype=np.intp)


def _features(candidate: Candidate, view: _View, scale: _Scale) -> list[float]:
    mark, voxel = candidate.mark, tuple(int(i) for i in candidate.voxel)
    index = scale.index(candidate.voxel)
    near = _Neighbourhood(scale, index, mark.diameter_mm)
    z, y, x = voxel
    return [
        float(np.log(max(mark.score, 1e-3))),
        float(min(mark.score / near.peak, 3.0)),
        float(np.log(mark.diameter_mm)),
        blobness(scale.smooth, index, scale.step),
        blobness(scale.within, index, scale.step),
        *near.connected(),
        near.shell(0.3 * mark.score),
        near.wet(),
        float(near.arms()),
        near.along(scale),
        float(view.before[z, y, x]),
        float(np.log1p(view.depth[z, y, x])),
        float(view.place[z, y, x]),
        float(view.places[z, y, x]),
        float(min(view.twin[z, y, x] / near.peak, 2.0)),
        pitfall(float(view.pitfalls[z, y, x])),
    ]


class _Neighbourhood:
    """A mark's surroundings, out to 1.5 diameters and 4 mm."""

    def __init__(self, scale: _Scale, index: NDArray[np.intp], diameter_mm: float) -> None:
        self.step, self.diameter = scale.step, diameter_mm
        self.reach_mm = 1.5 * diameter_mm + 4
        reach = [int(np.ceil(self.reach_mm / s)) for s in scale.step]
        window = tuple(slice(max(int(i) - r, 0), int(i) + r + 1) for i, r in zip(index, reach, strict=True))
        self.excess, self.fluid = scale.excess[window], scale.wet[window]
        axes = [
            ((np.arange(part.stop - part.start)[: self.excess.shape[a]] + part.start - int(index[a])) * scale.step[a])
            ** 2
            for a, part in enumerate(window)
        ]
        self.distance = np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])
        self.index = index
        self.middle = self.distance <= max(1.5, *scale.step)
        self.peak = max(float(self.excess[self.middle].max()), 1e-3)

    def _tree(self, height: float) -> Mask:
        """What hangs together with the middle above a part of the peak."""
        high = self.excess > height * self.peak
        labels, _ = ndimage.label(high, np.ones((3, 3, 3)))
        own = np.unique(labels[self.middle & high])
        return np.isin(labels, own[own > 0])

    def connected(self) -> list[float]:
        """`full`, the four lengths, `leaves`."""
        trees = [self._tree(height) for height in _LEVELS]
        reaches = [float(self.distance[tree].max()) if tree.any() else 0.0 for tree in trees]
        volume = max(float(trees[2].sum()), 1.0) * float(np.prod(self.step))
        full = float(np.log(volume / (np.pi / 6 * self.diameter**3)))
        return [full, *(reach / self.diameter for reach in reaches), reaches[3] / self.reach_mm]

    def _shell(self) -> Mask:
        return np.asarray((self.distance > self.diameter / 2 + 1) & (self.distance <= self.diameter + 1))

    def shell(self, height: float) -> float:
        return float((self.excess[self._shell()] > height).mean()) if self._shell().any() else 0.0

    def wet(self) -> float:
        return float(self.fluid[self._shell()].mean()) if self._shell().any() else 0.0

    def arms(self) -> int:
        inner = self.diameter / 2 + 1
        shell = (self.distance > inner) & (self.distance <= inner + 1.5 * max(1.0, *self.step))
        labels, count = ndimage.label((self.excess > 0.35 * self.peak) & shell, np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        return min(int((sizes >= 2).sum()), 5)

    def along(self, scale: _Scale) -> float:
        """The darker of two places beyond the mark, along the axis on which it curves least."""
        _, axes = np.linalg.eigh(hessian(scale.smooth, self.index, scale.step))
        away = axes[:, 2] * (self.diameter / 2 + 2) / np.array(scale.step)
        places = np.array([self.index + away, self.index - away]).T
        return float(ndimage.map_coordinates(scale.excess, places, order=1, mode="nearest").min() / self.peak)
