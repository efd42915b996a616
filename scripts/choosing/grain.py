"""Noise and receive fields, cheap enough that drawing a cube takes a tenth of the network's time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Window = tuple[slice, slice, slice]
_EDGE = 128
_WHITE_SHARE = 0.35
_BLOCKS = 6


class Grain:
    """Noise of SD 1, cut from blocks that are made once and renewed one by one.

    A third of the blocks are white; the others are as an interpolation leaves noise: neighbours alike, along each axis
    by another amount. A network that has seen white noise only takes such grain for anatomy and keeps it. Making noise
    anew for each cube took a quarter of a step.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._blocks = [self._block(i < _WHITE_SHARE * _BLOCKS) for i in range(_BLOCKS)]
        self._cuts = 0

    def cut(self, shape: tuple[int, ...], rng: np.random.Generator, factor: float) -> Array:
        """Cut a part of a block, mirrored at random; `factor` is its standard deviation."""
        self._cuts += 1
        if self._cuts % 2000 == 0:
            place = int(self._rng.integers(_BLOCKS))
            self._blocks[place] = self._block(place < _WHITE_SHARE * _BLOCKS)
        block = self._blocks[int(rng.integers(_BLOCKS))]
        starts = [int(rng.integers(_EDGE - size + 1)) for size in shape]
        part = block[tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=True))]
        turned = part[tuple(slice(None, None, 1 if rng.random() < 0.5 else -1) for _ in shape)]
        return np.multiply(turned, np.float32(factor if rng.random() < 0.5 else -factor), dtype=np.float32)

    def _block(self, white: bool) -> Array:
        noise = self._rng.standard_normal((_EDGE,) * 3, dtype=np.float32)
        if white:
            return noise
        for axis in (*range(3), int(self._rng.integers(3))):  # one axis twice, as thick slices
            side = np.float32(self._rng.uniform(0.0, 0.33))
            noise = (1 - 2 * side) * noise + side * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
        return np.asarray(noise / noise.std(), np.float32)


def receive_field(shape_zyx: tuple[int, int, int], window: Window, sd: float, rng: np.random.Generator) -> Array:
    """Exponential of smooth noise over the whole grid, seen through a window.

    Three to five points an axis, with smooth steps between them: as smooth as a receive coil.
    """
    points = int(rng.integers(3, 6))
    field = rng.normal(0.0, max(sd, 1e-9), (points,) * 3).astype(np.float32)
    for size, part in zip(shape_zyx, window, strict=True):  # the first axis is used up, the new one comes last
        place = (np.arange(part.start, part.stop) + 0.5) / size * (points - 1)
        low = np.clip(np.floor(place).astype(int), 0, points - 2)
        way = place - low
        way = way * way * (3 - 2 * way)
        matrix = np.zeros((points, len(place)), np.float32)
        matrix[low, np.arange(len(place))] = 1 - way
        matrix[low + 1, np.arange(len(place))] += way.astype(np.float32)
        field = np.tensordot(field, matrix, axes=(0, 0))
    return np.exp(field, out=np.ascontiguousarray(field))


def shifted(volume: Array, offset_zyx: NDArray[np.floating]) -> Array:
    """Shift by less than a voxel along each axis, by linear interpolation; the edge voxels are repeated."""
    for axis, offset in enumerate(np.asarray(offset_zyx, np.float32)):
        near = [slice(None)] * 3
        far = [slice(None)] * 3
        near[axis], far[axis] = (slice(1, None), slice(None, -1)) if offset > 0 else (slice(None, -1), slice(1, None))
        moved = volume.copy()
        moved[tuple(near)] += np.abs(offset) * (volume[tuple(far)] - volume[tuple(near)])
        volume = moved
    return volume
