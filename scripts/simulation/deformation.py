"""From the atlas to a patient: a random affine map and a diffeomorphism of several scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from enhancement.arrays import Volume
from simulation.fields import Shape, evaluate

COARSE_MM = 4


@dataclass(frozen=True)
class DeformationDraw:
    """Random parameters of one deformation.

    Attributes
    ----------
    matrix : (3, 3)
        Patient to atlas, about the centre, voxel axes (z, y, x).
    shift : (3,) voxels
    velocity : (3, z, y, x) voxels
        Stationary velocity on the coarse grid.
    """

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]
    velocity: NDArray[np.float32]


def draw_deformation(
    rng: np.random.Generator,
    shape: Shape,
    *,
    rotation_deg: float = 2.5,
    scale: float = 0.03,
    shift: float = 1.5,
    strength: float = 1.0,
) -> DeformationDraw:
    """Draw an affine map (SD of rotation, log scale and shift) and velocities of 48, 24, 12 and 8 mm scale."""
    rotation = Rotation.from_euler("zyx", rng.normal(0, rotation_deg, 3), degrees=True).as_matrix()
    stretch = np.diag(np.exp(rng.normal(0, scale, 3)))
    shear = np.eye(3) + np.triu(rng.normal(0, scale / 2, (3, 3)), 1)
    coarse = tuple(n // COARSE_MM for n in shape)
    velocity = np.zeros((3, *coarse), np.float32)
    for spacing, sd in ((48, 3.0), (24, 1.8), (12, 1.0), (8, 0.6)):
        amount = sd * strength * float(rng.uniform(0.4, 1.3))
        for axis in range(3):
            points = [max(1, round(n / spacing)) for n in shape]
            noise = rng.standard_normal([p + 3 for p in points], dtype=np.float32)
            dense = evaluate(noise, (coarse[0], coarse[1], coarse[2]))
            velocity[axis] += amount * dense / max(float(dense.std()), 1e-6)
    return DeformationDraw(rotation @ stretch @ shear, rng.normal(0, shift, 3), velocity)


def _integrate(velocity: NDArray[np.float32], steps: int = 5) -> NDArray[np.float32]:
    """exp(v) by scaling and squaring; displacement in voxels of the fine grid on the coarse grid."""
    grid = np.indices(velocity.shape[1:], dtype=np.float32)
    field = velocity / np.float32(2**steps)
    for _ in range(steps):
        where = grid + field / COARSE_MM
        field = field + np.stack([ndimage.map_coordinates(c, where, order=1, mode="nearest") for c in field])
    return field


def _upsample(coarse: Volume, shape: Shape, before: Shape, wanted: Shape) -> Volume:
    """Linear upsampling of the coarse grid by matrix products (cell-centred), to a grid that begins before it."""
    out = coarse
    for axis, size in enumerate(shape):
        matrix = _linear(coarse.shape[axis], size, np.arange(-before[axis], wanted[axis] - before[axis]))
        out = np.moveaxis(np.tensordot(matrix, out, (1, axis)), 0, axis)
    return np.ascontiguousarray(out, dtype=np.float32)


def _linear(points: int, size: int, voxels: NDArray[np.signedinteger]) -> NDArray[np.float32]:
    position = np.clip((voxels + 0.5) * points / size - 0.5, 0, points - 1)
    cell = np.minimum(position.astype(int), points - 2)
    matrix = np.zeros((len(voxels), points), np.float32)
    matrix[np.arange(len(voxels)), cell] = 1 - (position - cell)
    matrix[np.arange(len(voxels)), cell + 1] = position - cell
    return matrix


class Deformation:
    """The map from patient voxels to atlas voxels, and back for points."""

    def __init__(self, draw: DeformationDraw, shape: Shape) -> None:
        self._draw = draw
        self._shape = shape
        self._centre = (np.array(shape) - 1) / 2
        self._displacement = _integrate(draw.velocity)

    def sample(self, channels: list[Volume], outside: list[float]) -> list[Volume]:
        """Warp atlas volumes (all of one shape) linearly into the patient.

        Parameters
        ----------
        channels : list of (z, y, x)
        outside
            Value of each channel outside the atlas.

        Returns
        -------
        list of (z, y, x) float32
        """
        import torch  # here and not above: one multi-channel gather is 5 times faster than SciPy's

        position = self._atlas_positions()
        size = np.array(channels[0].shape, np.float32)
        grid = np.stack([(2 * position[a] + 1) / size[a] - 1 for a in (2, 1, 0)], axis=-1)
        stack = np.stack([c - np.float32(o) for c, o in zip(channels, outside, strict=True)])[None]
        warped = torch.nn.functional.grid_sample(
            torch.from_numpy(stack), torch.from_numpy(grid[None]), mode="bilinear", align_corners=False
        )[0].numpy()
        return [w + np.float32(o) for w, o in zip(warped, outside, strict=True)]

    def sample_labels(self, labels: NDArray[np.int16], offset: Shape, *, whole: bool = False) -> NDArray[np.int16]:
        """Warp a label map that is larger than the atlas; the nearest voxel's label.

        Parameters
        ----------
        labels : (z, y, x)
        offset
            Where the atlas starts in it.
        whole
            Give the patient on the larger grid, not only where the atlas is. Out there the displacement of the
            atlas' edge goes on.

        Returns
        -------
        (z, y, x) int16
        """
        import torch

        grid = (offset, labels.shape) if whole else ((0, 0, 0), self._shape)
        flat = np.zeros(grid[1], np.int64)
        outside = np.zeros(grid[1], bool)
        for position, start, size in zip(self._atlas_positions(*grid), offset, labels.shape, strict=True):
            index = np.rint(position).astype(np.int32) + start
            outside |= (index < 0) | (index >= size)
            flat = flat * size + np.clip(index, 0, size - 1)
        warped = torch.from_numpy(np.ascontiguousarray(labels).reshape(-1))[torch.from_numpy(flat)].numpy()
        return np.asarray(np.where(outside, 0, warped), np.int16)

    def _atlas_positions(self, before: Shape = (0, 0, 0), shape: Shape | None = None) -> list[Volume]:
        """Atlas position of every voxel of a grid that begins so many voxels before the atlas."""
        shape = shape or self._shape
        axes = [
            np.arange(-b, n - b, dtype=np.float32) - np.float32(c)
            for b, n, c in zip(before, shape, self._centre, strict=True)
        ]
        z, y, x = axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
        fine = [_upsample(c, self._shape, before, shape) for c in self._displacement]
        result = []
        for row, (m, t) in enumerate(zip(self._draw.matrix.astype(np.float32), self._draw.shift, strict=True)):
            affine = m[0] * z + m[1] * y + m[2] * x
            result.append(affine + fine[row] + np.float32(t + self._centre[row]))
        return result

    def to_atlas(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where patient points (n, 3; z, y, x voxels) lie in the atlas."""
        centred = np.asarray(points, float) - self._centre
        where = ((np.asarray(points, float) + 0.5) / COARSE_MM - 0.5).T
        moved = np.stack([ndimage.map_coordinates(c, where, order=1, mode="nearest") for c in self._displacement])
        return np.asarray((self._draw.matrix @ centred.T).T + moved.T + self._draw.shift + self._centre)

    def to_patient(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where atlas points (n, 3; z, y, x voxels) lie in the patient: fixed-point inversion."""
        target = np.asarray(points, float) - self._centre - self._draw.shift
        inverse = np.linalg.inv(self._draw.matrix)
        position = (inverse @ target.T).T + self._centre
        for _ in range(8):
            where = ((position + 0.5) / COARSE_MM - 0.5).T
            moved = np.stack([ndimage.map_coordinates(c, where, order=1, mode="nearest") for c in self._displacement])
            position = (inverse @ (target - moved.T).T).T + self._centre
        return position
