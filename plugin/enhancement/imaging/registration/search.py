"""Find roughly where a head lies, wherever the table, the patient or the field of view went between two series.

A cheap mutual information (`similarity.py`) tries the poses that occur in a study: the scanner's own coordinates, a
shifted table, a turned head, a head on its side. Blurred heads come first: their basins are wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from enhancement.errors import RegistrationFailed
from enhancement.imaging.registration.prepared_pair import COARSE_MM, PreparedPair
from enhancement.imaging.registration.similarity import Similarity
from enhancement.imaging.registration.transforms import Vector, rotation_about, rotation_matrix

_ROUGH_MM = 12.0  # lattice and blur of the first walk
_WALKED_STARTS = 30
_REFINED_STARTS = 5
_WIDE_STEPS = ((10.0, 14.0), (5.0, 7.0))  # degrees, mm
_FINE_STEPS = ((4.0, 5.0), (2.0, 2.5), (1.0, 1.2))
_NEIGHBOUR = np.array([np.radians(10.0)] * 3 + [10.0] * 3)

_Pose = NDArray[np.float64]  # rotation vector (radians), translation (mm), about the brain's centre
_Scored = tuple[float, _Pose]
_Starts = Callable[[Vector], list[_Pose]]  # of the shift that brings the head's centre onto the brain's


def find_rigid(pair: PreparedPair) -> sitk.AffineTransform:
    """Where the head of one series lies in another, within some millimetres and degrees.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    return _find(pair, _rigid_starts)


def find_in_atlas(pair: PreparedPair) -> sitk.AffineTransform:
    """Where the atlas' brain lies in a brain-extracted series, whichever way up the patient lay.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    return _find(pair, _atlas_starts)


@dataclass(frozen=True)
class Walker:
    """Goes uphill on the similarity of two series.

    Attributes
    ----------
    similarity : Similarity
    center : (3,), LPS, mm
        Of the brain in the fixed space; poses turn about it.
    """

    similarity: Similarity
    center: Vector

    def score(self, pose: _Pose) -> float:
        """Similarity at a pose."""
        matrix = rotation_matrix(pose[:3])
        offset = self.center + pose[3:]
        return self.similarity(lambda points: (points - self.center) @ matrix.T + offset)

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


def _find(pair: PreparedPair, starts_of: _Starts) -> sitk.AffineTransform:
    # With their receive fields, two series agree in any pose by the slopes of the fields, and wrong ones outscore the
    # true one.
    fixed, still, other = pair.fixed, pair.fixed.coarse, pair.moving.coarse
    center = fixed.center
    rough = Walker(Similarity.of(_blurred(still), fixed.around(_ROUGH_MM), _blurred(other)), center)
    fine = Walker(Similarity.of(still, fixed.around(COARSE_MM), other), center)
    pose = walk_to_best(rough, fine, starts_of(pair.moving.center - center))
    return rotation_about(pose[:3], center, pose[3:])


def walk_to_best(rough: Walker, fine: Walker, starts: Iterable[_Pose]) -> _Pose:
    """Score all starts, walk uphill from the best, ever fewer and ever finer; return where the highest one ends."""
    ranked = _ranked((rough.score(start), start) for start in starts)
    # Where a field of view ends in the head, many turns at one wrong place may outscore the only start near the truth.
    chosen = _ranked([*_apart(ranked, _WALKED_STARTS), *_best_at_each_place(ranked)])
    ranked = _ranked(rough.climb(start, _WIDE_STEPS) for _, start in _apart(chosen, len(chosen)))
    # Blurred heads can lie better in a wrong pose than in the right one, so the finer level chooses among all that
    # were reached, and the scanner's own coordinates, which are nearly always near, are among them whatever was.
    reached = [*(pose for _, pose in _apart(ranked, _WALKED_STARTS)), np.zeros(6)]
    ranked = _ranked((fine.score(pose), pose) for pose in reached)
    ranked = _ranked(fine.climb(start, _FINE_STEPS) for _, start in _apart(ranked, _REFINED_STARTS))
    if not ranked or ranked[0][0] <= 0:
        raise RegistrationFailed("two series of one head were to overlap, found no pose in which they do")
    return ranked[0][1]


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


def _best_at_each_place(ranked: Sequence[_Scored]) -> list[_Scored]:
    """Of the poses that share a translation, the one with the best turn."""
    best: dict[tuple[float, ...], _Scored] = {}
    for score, pose in ranked:
        best.setdefault(tuple(pose[3:].round(3)), (score, pose))
    return list(best.values())


def _rigid_starts(shift: Vector) -> list[_Pose]:
    """The scanner's coordinates, and the head's centre near the brain's; turned by up to 22 degrees about each axis."""
    # The brain's centre lies above and behind the centre of all tissue when the neck is in view.
    grid = product((-20.0, 0.0, 20.0), (-20.0, 0.0, 20.0), (-25.0, 0.0, 25.0, 50.0))
    shifts = [np.zeros(3), *(shift + np.array(offset) for offset in grid)]
    turns = [np.radians(angles) for angles in product((-22.0, 0.0, 22.0), repeat=3)]
    return [np.concatenate([turn, move]) for turn, move in product(turns, shifts)]


def _atlas_starts(shift: Vector) -> list[_Pose]:
    """The head upright, on either side, on its face, and tilted; the brain's centre on the atlas' centre."""
    quarter = [np.array([0.0, 0.0, a]) for a in np.radians([0.0, 90.0, -90.0, 180.0])]
    quarter += [np.array([a, 0.0, 0.0]) for a in np.radians([90.0, -90.0])]
    quarter += [np.array([0.0, a, 0.0]) for a in np.radians([90.0, -90.0])]
    tilts = [np.zeros(3), *(np.radians(a) * axis for a in (-25.0, 25.0) for axis in np.eye(3))]
    shifts = [shift + np.array([0.0, 0.0, z]) for z in (-20.0, 0.0, 20.0)]
    return [np.concatenate([_rotated(q, t), s]) for q, t, s in product(quarter, tilts, shifts)]


def _rotated(first: Vector, second: Vector) -> Vector:
    matrix = rotation_matrix(first) @ rotation_matrix(second)
    vector: Vector = Rotation.from_matrix(matrix).as_rotvec()
    return vector
