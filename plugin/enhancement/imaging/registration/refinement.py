"""From a pose that is right within centimetres to one that is right within a fraction of a voxel.

A quasi-Newton climb on the mutual information, from coarse to fine, with new points on each level.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import optimize

from enhancement.errors import RegistrationFailed
from enhancement.imaging.registration.mutual_information import MutualInformation
from enhancement.imaging.registration.prepared_pair import PreparedPair
from enhancement.imaging.registration.transforms import (
    Matrix,
    Vector,
    linear_parts,
    linear_transform,
    of_points,
    rotation_matrix,
)

Freedom = Literal["rigid", "affine"]

_RADIUS_MM = 70.0  # of a head: a parameter of rotation moves its surface as one of translation does, in mm
_LEAST_SEEN = 0.1
_ITERATIONS = 60


def refine(pair: PreparedPair, start: sitk.Transform, *, freedom: Freedom = "rigid") -> sitk.AffineTransform:
    """Improve a transform.

    Parameters
    ----------
    pair : PreparedPair
    start : sitk.Transform
        Linear; points of the fixed space to points of the moving one. What it scales or shears stays scaled or sheared.
    freedom : "rigid" or "affine"

    Raises
    ------
    RegistrationFailed
        If hardly any of the brain lies within the moving series.
    """
    matrix, offset = linear_parts(start)
    for number, (still, points) in enumerate(zip(pair.fixed.levels, pair.fixed.scattered, strict=True)):
        pose = linear_transform(matrix, offset)
        information = MutualInformation.of(still, points, pair.moving_level(number, pose), of_points(pose))
        if len(information.points) < _LEAST_SEEN * len(points):
            raise RegistrationFailed("two series of one head were to overlap, found none after the search")
        matrix, offset = _climb(information, matrix, offset, freedom)
    return linear_transform(matrix, offset)


def _climb(information: MutualInformation, matrix: Matrix, offset: Vector, freedom: Freedom) -> tuple[Matrix, Vector]:
    center = information.points.mean(axis=0)
    arms = (information.points - center) @ matrix.T
    pivot = matrix @ center + offset
    move, derivative = (_turn, _by_turn) if freedom == "rigid" else (_stretch, _by_stretch)

    def objective(parameters: Vector) -> tuple[float, Vector]:
        step, shift = move(parameters[3:] / _RADIUS_MM), parameters[:3]
        value, slope = information(arms @ step.T + pivot + shift)
        by_matrix = derivative(parameters[3:] / _RADIUS_MM, slope.T @ arms)
        return -value, -np.concatenate([slope.sum(axis=0), by_matrix / _RADIUS_MM])

    zero = np.zeros(6 if freedom == "rigid" else 12)
    options = {"maxiter": _ITERATIONS, "ftol": 1e-7, "gtol": 1e-6}
    best = optimize.minimize(objective, zero, jac=True, method="L-BFGS-B", options=options).x
    step = move(best[3:] / _RADIUS_MM)
    return step @ matrix, pivot + best[:3] - step @ matrix @ center


def _turn(vector: Vector) -> Matrix:
    return rotation_matrix(vector)


def _by_turn(vector: Vector, by_matrix: Matrix) -> Vector:
    """Derivative by a rotation vector from that by the matrix, through the left Jacobian of SO(3)."""
    turned = by_matrix @ rotation_matrix(vector).T
    axial = np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]])
    angle = float(np.linalg.norm(vector))
    if angle < 1e-6:
        return axial
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    jacobian = np.eye(3) + (1 - np.cos(angle)) / angle**2 * cross
    jacobian += (angle - np.sin(angle)) / angle**3 * cross @ cross
    result: Vector = jacobian.T @ axial
    return result


def _stretch(entries: NDArray[np.float64]) -> Matrix:
    return np.eye(3) + entries.reshape(3, 3)


def _by_stretch(entries: NDArray[np.float64], by_matrix: Matrix) -> NDArray[np.float64]:
    return by_matrix.ravel()
