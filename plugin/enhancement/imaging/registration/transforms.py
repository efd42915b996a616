"""Linear transforms as matrices: composition, parts, and rotations by a vector."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from enhancement.imaging.registration.similarity import Pose

Matrix = NDArray[np.float64]  # (3, 3)
Vector = NDArray[np.float64]  # (3,)


def compose(*transforms: sitk.Transform) -> sitk.AffineTransform:
    """Chain linear transforms in the order in which a point passes them: atlas to T1c, then T1c to T1.

    The result is one matrix, which a resampler applies several times faster than a chain.
    """
    matrix, offset = np.eye(3), np.zeros(3)
    for transform in transforms:
        step, shift = linear_parts(transform)
        matrix, offset = step @ matrix, step @ offset + shift
    return linear_transform(matrix, offset)


def linear_parts(transform: sitk.Transform) -> tuple[Matrix, Vector]:
    """Matrix and offset of a linear transform: p becomes matrix @ p + offset."""
    offset = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(transform.TransformPoint(axis)) - offset for axis in np.eye(3).tolist()]
    return np.stack(columns, axis=1), offset


def linear_transform(matrix: Matrix, offset: Vector) -> sitk.AffineTransform:
    """The transform that takes p to matrix @ p + offset."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix.ravel().tolist())
    transform.SetTranslation(offset.tolist())
    return transform


def rotation_matrix(vector: Vector) -> Matrix:
    """Rotation by a vector: its direction is the axis, its length the angle in radians."""
    matrix: Matrix = Rotation.from_rotvec(vector).as_matrix()
    return matrix


def rotation_about(vector: Vector, center: Vector, shift: Vector) -> sitk.AffineTransform:
    """Turn by a vector (radians) about a centre, then shift (mm)."""
    matrix = rotation_matrix(vector)
    return linear_transform(matrix, center + shift - matrix @ center)


def of_points(transform: sitk.Transform) -> Pose:
    """A linear transform as a function of many points."""
    matrix, offset = linear_parts(transform)
    return lambda points: points @ matrix.T + offset
