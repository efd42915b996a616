"""Rigid registration of every series to the T1c, and one affine step of the T1c to the atlas.

A coarse search with a cheap mutual information (`similarity.py`) tries the poses that occur in a study: the scanner's
own coordinates, a shifted table, a turned head, a head on its side. SimpleITK's Mattes mutual information then refines
the best one on two levels, with fresh random samples in each round. Transforms map points of the fixed space to
points of the moving one, so that `compose` and one resampling bring every series to the network's grid.

Source: Mattes et al. 2003, IEEE TMI 22(1):120; that fresh samples beat one fixed subset: Klein et al. 2007, IEEE TIP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from enhancement.errors import RegistrationFailed
from enhancement.imaging.similarity import Pose, Similarity, head_points, mask_points, resample_isotropic

Interpolation = Literal["spline", "linear", "nearest"]

_COARSE_MM = 6.0
_AROUND_MM = 20.0  # the search sees skull, scalp and air next to the brain too: they tell poses far apart
_LEVELS = ((4.0, 25_000, 60), (2.0, 30_000, 40))  # voxel mm, samples, iterations a round
_ROUNDS = 2
_ROUGH_MM = 12.0  # lattice and blur of the first walk
_WALKED_STARTS = 30
_REFINED_STARTS = 5
_WIDE_STEPS = ((10.0, 14.0), (5.0, 7.0))  # degrees, mm
_FINE_STEPS = ((4.0, 5.0), (2.0, 2.5), (1.0, 1.2))
_NEIGHBOUR = np.array([np.radians(10.0)] * 3 + [10.0] * 3)

_Pose = NDArray[np.float64]  # rotation vector (radians), translation (mm), about the brain's centre
_Scored = tuple[float, _Pose]
_MARGIN_MM = 12.0
_UNIT_MM = 80.0
_LARGEST_DIFFUSION_MOTION_MM = 30.0  # beyond it the registration went astray, not the patient


@dataclass(frozen=True)
class Registration:
    """A transform and how well it fits.

    Attributes
    ----------
    transform : sitk.Transform
        Points of the fixed space (LPS, mm) to points of the moving one.
    information : float
        Mutual information in nats at the result, on the coarse lattice.
    chance : float
        The same, on average, of poses that are wrong by 20 to 40 mm and 15 to 30 degrees.
    neighbour : float
        The largest of twelve poses that are 4 mm or 4 degrees beside the result: above `information` when the
        result is no optimum.
    """

    transform: sitk.Transform
    information: float
    chance: float
    neighbour: float = 0.0


def register_rigid(fixed: sitk.Image, fixed_brain: sitk.Image, moving: sitk.Image) -> Registration:
    """Find where another series of the same head lies.

    Parameters
    ----------
    fixed : sitk.Image, float32
        The series whose brain is known.
    fixed_brain : sitk.Image, uint8
        Its brain mask. The skull does not count, so that a moved jaw or a fat shift don't either.
    moving : sitk.Image, float32
        The other series, with skull.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    coarse = _Coarse.of(fixed, fixed_brain, moving)
    pose = coarse.search(_rigid_starts(moving, coarse.center))
    transform = _refine(fixed, fixed_brain, moving, _rigid_transform(pose, coarse.center))
    return coarse.judge(transform)


def judge_alignment(fixed: sitk.Image, fixed_brain: sitk.Image, moving: sitk.Image) -> Registration:
    """How well two series agree as they lie, without moving one; for volumes that share a grid."""
    return _Coarse.of(fixed, fixed_brain, moving).judge(sitk.AffineTransform(3))


def register_affine(template: sitk.Image, template_brain: sitk.Image, moving: sitk.Image) -> Registration:
    """Find the brain of a patient in the atlas by 12 parameters.

    Parameters
    ----------
    template : sitk.Image, float32
        The atlas' T1, brain only.
    template_brain : sitk.Image, uint8
        Its brain mask.
    moving : sitk.Image, float32
        A series of the patient, 0 outside the brain.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    coarse = _Coarse.of(template, template_brain, moving)
    pose = coarse.search(_atlas_starts(moving, coarse.center))
    start = sitk.AffineTransform(3)
    rigid = _rigid_transform(pose, coarse.center)
    start.SetCenter(rigid.GetCenter())
    start.SetMatrix(rigid.GetMatrix())
    start.SetTranslation(rigid.GetTranslation())
    transform = _refine(template, template_brain, moving, start)
    return coarse.judge(transform)


def compose(*transforms: sitk.Transform) -> sitk.AffineTransform:
    """Chain linear transforms in the order in which a point passes them: atlas to T1c, then T1c to T1.

    The result is one matrix, which a resampler applies several times faster than a chain.
    """
    matrix, offset = np.eye(3), np.zeros(3)
    for transform in transforms:
        step, shift = linear_parts(transform)
        matrix, offset = step @ matrix, step @ offset + shift
    composed = sitk.AffineTransform(3)
    composed.SetMatrix(matrix.ravel().tolist())
    composed.SetTranslation(offset.tolist())
    return composed


def linear_parts(transform: sitk.Transform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset of a linear transform: p becomes matrix @ p + offset."""
    offset = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(axis)) - offset for axis in np.eye(3).tolist()]
    return np.stack(columns, axis=1), offset


def resample(
    image: sitk.Image,
    grid: sitk.Image,
    transform: sitk.Transform | None = None,
    interpolation: Interpolation = "spline",
) -> sitk.Image:
    """Bring an image to a grid; float32, 0 where it has no data.

    A cubic B-spline rings at edges, so its result is held to the range of the image.
    """
    kind = {"spline": sitk.sitkBSpline, "linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[interpolation]
    moved = sitk.Resample(
        sitk.Cast(image, sitk.sitkFloat32), grid, transform or sitk.Transform(), kind, 0.0, sitk.sitkFloat32
    )
    if interpolation != "spline":
        return moved
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(image)
    return sitk.Clamp(moved, sitk.sitkFloat32, min(extremes.GetMinimum(), 0.0), extremes.GetMaximum())


@dataclass(frozen=True)
class _Coarse:
    similarity: Similarity
    center: NDArray[np.float64]
    rougher: _Coarse | None = None

    @classmethod
    def of(cls, fixed: sitk.Image, brain: sitk.Image, moving: sitk.Image) -> _Coarse:
        """Prepare both resolutions of the search; the rough one has wide basins, the other tells them apart."""
        still, other = resample_isotropic(fixed, _COARSE_MM), resample_isotropic(moving, _COARSE_MM)
        near = sitk.Resample(brain, still, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        inside = mask_points(near, _COARSE_MM)
        if len(inside) < 100:
            raise RegistrationFailed("a brain mask to register was needed, found next to no voxels in it")
        around = sitk.BinaryDilate(near, [round(_AROUND_MM / _COARSE_MM)] * 3)
        points, center = mask_points(around, _COARSE_MM), inside.mean(axis=0)
        rough = Similarity.of(_blurred(still), mask_points(around, _ROUGH_MM), _blurred(other))
        return cls(Similarity.of(still, points, other), center, cls(rough, center))

    def score(self, pose: _Pose) -> float:
        matrix = rotation_matrix(pose[:3])
        offset = self.center + pose[3:]
        return self.similarity(lambda points: (points - self.center) @ matrix.T + offset)

    def search(self, starts: Iterable[_Pose]) -> _Pose:
        """Score all starts, walk uphill from the best, ever fewer and ever finer; return where the highest one ends."""
        rough = self.rougher or self
        ranked = _ranked((rough.score(start), start) for start in starts)
        ranked = _ranked(rough.climb(start, _WIDE_STEPS) for _, start in _apart(ranked, _WALKED_STARTS))
        ranked = _ranked(self.climb(start, _FINE_STEPS) for _, start in _apart(ranked, _REFINED_STARTS))
        if not ranked or ranked[0][0] <= 0:
            raise RegistrationFailed("two series of one head were to overlap, found no pose in which they do")
        return ranked[0][1]

    def climb(self, pose: _Pose, steps: Sequence[tuple[float, float]]) -> _Scored:
        """Walk along each axis and about each axis, with ever smaller steps (degrees, mm)."""
        score = self.score(pose)
        for degrees, mm in steps:
            moves = np.diag([np.radians(degrees)] * 3 + [mm] * 3)
            for _ in range(8):
                before = score
                for move in (*moves, *-moves):
                    candidate = self.score(pose + move)
                    if candidate > score:
                        score, pose = candidate, pose + move
                if score <= before:
                    break
        return score, pose

    def judge(self, transform: sitk.Transform) -> Registration:
        """Compare a result with wrong poses and with its neighbours."""
        moved = _transformer(transform)
        rng = np.random.default_rng(7)
        wrong = []
        for _ in range(24):
            direction, shift = rng.normal(size=(2, 3))
            turn = np.radians(rng.uniform(15, 30)) * direction / np.linalg.norm(direction)
            wrong.append(self._disturbed(moved, turn, shift * rng.uniform(20, 40) / np.linalg.norm(shift)))
        beside = [self._disturbed(moved, np.zeros(3), move) for move in (*np.eye(3) * 4.0, *np.eye(3) * -4.0)]
        turns = np.eye(3) * np.radians(4.0)
        beside += [self._disturbed(moved, turn, np.zeros(3)) for turn in (*turns, *-turns)]
        return Registration(transform, self.similarity(moved), float(np.mean(wrong)), max(beside))

    def _disturbed(self, moved: Pose, turn: NDArray[np.float64], shift: NDArray[np.float64]) -> float:
        matrix = rotation_matrix(turn)
        return self.similarity(lambda points: moved((points - self.center) @ matrix.T + self.center + shift))


def rotation_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation by a vector: its direction is the axis, its length the angle in radians."""
    matrix: NDArray[np.float64] = Rotation.from_rotvec(vector).as_matrix()
    return matrix


def _transformer(transform: sitk.Transform) -> Pose:
    matrix, offset = linear_parts(transform)
    return lambda points: points @ matrix.T + offset


def _blurred(image: sitk.Image) -> sitk.Image:
    return sitk.SmoothingRecursiveGaussian(image, 0.4 * _ROUGH_MM)


def _ranked(scored: Iterable[_Scored]) -> list[_Scored]:
    return sorted(scored, key=lambda item: -item[0])


def _apart(ranked: Sequence[_Scored], count: int) -> list[_Scored]:
    """Keep the best poses that are not neighbours of a better one."""
    kept: list[_Scored] = []
    for score, pose in ranked:
        if all(np.any(np.abs(pose - other) > _NEIGHBOUR) for _, other in kept):
            kept.append((score, pose))
        if len(kept) == count:
            break
    return kept


def _rigid_starts(moving: sitk.Image, center: NDArray[np.float64]) -> list[_Pose]:
    """The scanner's coordinates, and the head's centre near the brain's; turned by up to 22 degrees about each axis."""
    shift = head_points(moving).mean(axis=0) - center
    # The brain's centre lies above and behind the centre of all tissue when the neck is in view.
    grid = product((-20.0, 0.0, 20.0), (-20.0, 0.0, 20.0), (-25.0, 0.0, 25.0, 50.0))
    shifts = [np.zeros(3), *(shift + np.array(offset) for offset in grid)]
    turns = [np.radians(angles) for angles in product((-22.0, 0.0, 22.0), repeat=3)]
    return [np.concatenate([turn, move]) for turn, move in product(turns, shifts)]


def _atlas_starts(moving: sitk.Image, center: NDArray[np.float64]) -> list[_Pose]:
    """The head upright, on either side, on its face, and tilted; the brain's centre on the atlas' centre."""
    shift = head_points(moving).mean(axis=0) - center
    quarter = [np.array([0.0, 0.0, a]) for a in np.radians([0.0, 90.0, -90.0, 180.0])]
    quarter += [np.array([a, 0.0, 0.0]) for a in np.radians([90.0, -90.0])]
    quarter += [np.array([0.0, a, 0.0]) for a in np.radians([90.0, -90.0])]
    tilts = [np.zeros(3), *(np.radians(a) * axis for a in (-25.0, 25.0) for axis in np.eye(3))]
    shifts = [shift + np.array([0.0, 0.0, z]) for z in (-20.0, 0.0, 20.0)]
    return [np.concatenate([_rotated(q, t), s]) for q, t, s in product(quarter, tilts, shifts)]


def _rotated(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = rotation_matrix(first) @ rotation_matrix(second)
    vector: NDArray[np.float64] = Rotation.from_matrix(matrix).as_rotvec()
    return vector


def _rigid_transform(pose: NDArray[np.float64], center: NDArray[np.float64]) -> sitk.VersorRigid3DTransform:
    transform = sitk.VersorRigid3DTransform()
    transform.SetCenter(center.tolist())
    transform.SetMatrix(rotation_matrix(pose[:3]).ravel().tolist(), 1e-6)
    transform.SetTranslation(pose[3:].tolist())
    return transform


def _refine(fixed: sitk.Image, brain: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> sitk.Transform:
    window = bounding_window(brain, _MARGIN_MM)
    fixed, brain = sitk.RegionOfInterest(fixed, *window), sitk.RegionOfInterest(brain, *window)
    for spacing, samples, iterations in _LEVELS:
        still = resample_isotropic(fixed, spacing)
        mask = sitk.Resample(brain, still, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        other = resample_isotropic(moving, spacing)
        for round_ in range(_ROUNDS):
            transform = _descend(
                still, mask, other, transform, samples=samples, iterations=iterations, seed=round_ + 1, step=spacing / 4
            )
    return transform


def _descend(
    fixed: sitk.Image,
    mask: sitk.Image,
    moving: sitk.Image,
    transform: sitk.Transform,
    *,
    samples: int,
    iterations: int,
    seed: int,
    step: float,
) -> sitk.Transform:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(_shrunk_space(mask))
    inside = max(int(sitk.GetArrayViewFromImage(mask).sum()), 1)
    fraction = min(1.0, samples / inside)
    method.SetMetricSamplingStrategy(method.RANDOM if fraction < 1 else method.NONE)
    method.SetMetricSamplingPercentage(fraction, seed)
    method.SetInterpolator(sitk.sitkLinear)
    # The optimiser's step is a length in the space of parameters, where a radian weighs as much as a millimetre: near
    # the optimum of the shift one step would turn the head over. With the head's radius as the unit of length, all
    # parameters move the brain's surface alike.
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step / _UNIT_MM, minStep=0.01 / _UNIT_MM, numberOfIterations=iterations, relaxationFactor=0.6
    )
    rigid = isinstance(transform, sitk.VersorRigid3DTransform)
    method.SetOptimizerScales([4.0] * 3 + [1.0] * 3 if rigid else [1.0] * 12)  # a versor is half an angle
    work = _in_unit(transform, 1.0 / _UNIT_MM)
    method.SetInitialTransform(work, inPlace=True)
    try:
        method.Execute(_shrunk_space(fixed), _shrunk_space(moving))
    except RuntimeError as error:
        raise RegistrationFailed("two series of one head were to overlap, found none after the search") from error
    return _in_unit(work, _UNIT_MM)


def _in_unit(transform: sitk.Transform, factor: float) -> sitk.Transform:
    scaled = type(transform)(transform)
    scaled.SetCenter([c * factor for c in transform.GetCenter()])
    scaled.SetTranslation([t * factor for t in transform.GetTranslation()])
    return scaled


def _shrunk_space(image: sitk.Image) -> sitk.Image:
    shrunk = sitk.Image(image)
    shrunk.SetSpacing([s / _UNIT_MM for s in image.GetSpacing()])
    shrunk.SetOrigin([o / _UNIT_MM for o in image.GetOrigin()])
    return shrunk


def bounding_window(mask: sitk.Image, margin_mm: float) -> tuple[list[int], list[int]]:
    """Size and first voxel of the box around a mask, for sitk.RegionOfInterest.

    Raises
    ------
    RegistrationFailed
        If the mask is empty.
    """
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(mask > 0, sitk.sitkUInt8))
    if not shape.HasLabel(1):
        raise RegistrationFailed("a mask with voxels was needed, found an empty one")
    box = shape.GetBoundingBox(1)
    margin = [round(margin_mm / s) for s in mask.GetSpacing()]
    first = [max(0, box[i] - margin[i]) for i in range(3)]
    last = [min(mask.GetSize()[i], box[i] + box[i + 3] + margin[i]) for i in range(3)]
    return [b - a for a, b in zip(first, last, strict=True)], first


def align_diffusion(images: Sequence[sitk.Image]) -> list[sitk.Image]:
    """Move every diffusion volume onto the first (b = 0), where the patient moved between them.

    Parameters
    ----------
    images : sequence of sitk.Image
        On one grid, the lowest b-value first.

    Returns
    -------
    list of sitk.Image
        On the same grid. A volume that lies within a third of a voxel keeps its voxels untouched.
    """
    fixed = images[0]
    tissue = sitk.OtsuThreshold(fixed, 0, 1, 64)
    tissue = sitk.Cast(sitk.BinaryFillhole(sitk.BinaryMorphologicalOpening(tissue, [1, 1, 0])), sitk.sitkUInt8)
    corners = mask_points(tissue, 20.0)
    if len(corners) < 10:
        return list(images)
    aligned = [fixed]
    for moving in images[1:]:
        start = _rigid_transform(np.zeros(6), corners.mean(axis=0))
        transform = _refine(fixed, tissue, moving, start)
        moved = np.linalg.norm(_transformer(transform)(corners) - corners, axis=1).mean()
        still = moved < min(fixed.GetSpacing()) / 3 or moved > _LARGEST_DIFFUSION_MOTION_MM
        aligned.append(moving if still else resample(moving, fixed, transform, "linear"))
    return aligned
