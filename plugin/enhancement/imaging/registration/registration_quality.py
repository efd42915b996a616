"""How well two series agree in a pose, against what chance gives and against the poses beside it; for the gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from enhancement.imaging.registration.prepared_pair import COARSE_MM, PreparedPair
from enhancement.imaging.registration.similarity import Similarity
from enhancement.imaging.registration.transforms import Vector, of_points, rotation_matrix

_WRONG_POSES = 24
_BESIDE_MM = 4.0
_BESIDE_RADIANS = np.radians(4.0)


@dataclass(frozen=True)
class Registration:
    """A transform and how well it fits.

    Attributes
    ----------
    transform : sitk.Transform
        Points of the fixed space (LPS, mm) to points of the moving one.
    information : float
        Mutual information in nats at the result, on a coarse lattice.
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


def judge(pair: PreparedPair, transform: sitk.Transform) -> Registration:
    """Compare a result with wrong poses and with its neighbours.

    Parameters
    ----------
    pair : PreparedPair
    transform : sitk.Transform
        Linear; points of the fixed space to points of the moving one.

    Raises
    ------
    RegistrationFailed
        If the brain mask has next to no voxels.
    """
    center = pair.fixed.center
    similarity = Similarity.of(pair.fixed.coarse, pair.fixed.around(COARSE_MM), pair.moving_coarse(transform))
    moved = of_points(transform)

    def beside(turn: Vector, shift: Vector) -> float:
        matrix = rotation_matrix(turn)
        return similarity(lambda points: moved((points - center) @ matrix.T + center + shift))

    rng = np.random.default_rng(7)
    wrong = []
    for _ in range(_WRONG_POSES):
        direction, shift = rng.normal(size=(2, 3))
        turn = np.radians(rng.uniform(15, 30)) * direction / np.linalg.norm(direction)
        wrong.append(beside(turn, shift * rng.uniform(20, 40) / np.linalg.norm(shift)))
    axes, still_there = np.concatenate([np.eye(3), -np.eye(3)]), np.zeros(3)
    neighbours = [beside(still_there, axis * _BESIDE_MM) for axis in axes]
    neighbours += [beside(axis * _BESIDE_RADIANS, still_there) for axis in axes]
    return Registration(transform, similarity(moved), float(np.mean(wrong)), max(neighbours))
