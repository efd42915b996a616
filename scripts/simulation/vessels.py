"""Sinuses, arteries and veins: named trunks at their place in ICBM space, and branches that grow on the surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from simulation.anatomy import Anatomy, mni_to_voxel
from simulation.fields import Volume

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Trunk:
    """A named vessel: MNI points (mm), radius at both ends (mm), drawn on both sides or in the midline."""

    name: str
    points: tuple[tuple[float, float, float], ...]
    radius_mm: tuple[float, float]
    paired: bool = True
    surface: bool = False


TRUNKS = (
    Trunk("superior sagittal sinus", ((0, 74, 8), (0, 68, 38), (0, 46, 62), (0, 14, 80), (0, -22, 86), (0, -56, 80),
                                      (0, -86, 52), (0, -106, 16), (0, -105, -6), (0, -99, -27)),
          (1.2, 4.0), paired=False, surface=True),
    Trunk("transverse sinus", ((0, -99, -27), (24, -93, -30), (44, -78, -34), (56, -58, -37), (50, -46, -46),
                               (40, -42, -62)), (3.6, 3.2), surface=True),
    Trunk("straight sinus", ((0, -41, 4), (0, -60, -6), (0, -79, -19), (0, -97, -27)), (1.6, 2.2), paired=False),
    Trunk("internal cerebral vein", ((3, 0, 14), (2, -18, 13), (2, -32, 9), (0, -41, 4)), (0.6, 0.9)),
    Trunk("thalamostriate vein", ((22, -12, 24), (16, -2, 20), (8, 2, 16), (3, 0, 14)), (0.4, 0.6)),
    Trunk("basal vein", ((17, -4, -17), (20, -20, -12), (14, -34, -2), (0, -41, 4)), (0.5, 0.9)),
    Trunk("inferior sagittal sinus", ((0, 28, 26), (0, 8, 36), (0, -20, 34), (0, -41, 8)), (0.4, 0.9), paired=False),
    Trunk("internal carotid", ((18, -6, -46), (16, 0, -30), (12, 6, -24), (13, 0, -15)), (2.2, 1.9)),
    Trunk("middle cerebral", ((13, 0, -15), (24, 2, -17), (35, 4, -16), (40, 0, -8), (41, -12, 6), (44, -26, 14)),
          (1.4, 0.8)),
    Trunk("middle cerebral, anterior", ((35, 4, -16), (39, 14, -6), (42, 22, 6)), (1.0, 0.7)),
    Trunk("anterior cerebral", ((13, 0, -15), (5, 8, -16), (2, 26, -8), (2, 39, 8), (2, 30, 27), (2, 6, 37),
                                (2, -20, 38)), (1.1, 0.6)),
    Trunk("vertebral", ((9, -26, -72), (6, -22, -62), (0, -17, -50)), (1.5, 1.5)),
    Trunk("basilar", ((0, -17, -50), (0, -13, -36), (0, -12, -24)), (1.6, 1.6), paired=False),
    Trunk("posterior cerebral", ((0, -12, -24), (10, -14, -19), (20, -28, -11), (20, -50, -3), (14, -70, 2)),
          (1.1, 0.6)),
)  # fmt: skip
_PARENTS = ("superior sagittal sinus", "transverse sinus", "middle cerebral", "middle cerebral, anterior",
            "anterior cerebral", "posterior cerebral")  # fmt: skip


@dataclass(frozen=True)
class VesselDraw:
    """Random parameters: calibre, jitter of the trunks, branches, medullary veins, side of the larger sinus."""

    calibre: float
    jitter_mm: float
    branches: int
    medullary: int
    steps: int
    dominance: float
    seed: int


def draw_vessels(rng: np.random.Generator) -> VesselDraw:
    """Draw the vessel tree of one patient (one transverse sinus is usually larger)."""
    return VesselDraw(
        calibre=float(np.exp(rng.normal(0, 0.18))),
        jitter_mm=float(rng.uniform(0.5, 2.0)),
        branches=int(rng.integers(60, 240)),
        medullary=int(rng.integers(0, 120)),
        steps=int(rng.integers(40, 90)),
        dominance=float(rng.uniform(-0.6, 0.6)),
        seed=int(rng.integers(2**31)),
    )


def polyline(points: Points, step_mm: float = 0.6) -> Points:
    """Resample a polyline smoothly (cubic through the control points)."""
    from scipy.interpolate import CubicSpline

    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6)]
    where = np.linspace(0, length[-1], max(int(length[-1] / step_mm), 2))
    return np.asarray(CubicSpline(length, points)(where))


def _gradient_at(volume: Volume, points: Points) -> Points:
    """Central differences of a smooth volume at points (linear interpolation)."""
    result = np.empty_like(points)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1.0
        ahead, behind = (
            ndimage.map_coordinates(volume, (points + s).T, order=1, mode="nearest") for s in (step, -step)
        )
        result[:, axis] = (ahead - behind) / 2
    return result


def _to_surface(points: Points, distance: Volume, depth: float | Points, weight: float = 1.0) -> Points:
    """Move points along the gradient of the distance towards the level ``depth`` (mm outside the brain)."""
    gradient = _gradient_at(distance, points)
    gradient /= np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 0.3)
    here = ndimage.map_coordinates(distance, points.T, order=1, mode="nearest")
    return np.asarray(points - weight * (here - depth)[:, None] * gradient)


def _trunks(draw: VesselDraw, anatomy: Anatomy, rng: np.random.Generator) -> list[tuple[Points, Points, Trunk]]:
    result = []
    for trunk in TRUNKS:
        for side in (1, -1) if trunk.paired else (1,):
            control = np.array(trunk.points, float) * (side, 1, 1)
            control += rng.normal(0, draw.jitter_mm, control.shape) * (1, 1, 1) * (np.arange(len(control)) > 0)[:, None]
            line = anatomy.deformation.to_patient(mni_to_voxel(polyline(control)))
            radius = np.linspace(*trunk.radius_mm, len(line)) * draw.calibre
            if trunk.name == "transverse sinus":
                radius *= 1 + side * draw.dominance * 0.7
            if trunk.surface:
                for _ in range(3):
                    line = _to_surface(line, anatomy.distance, radius * 0.9)
            result.append((line, radius, trunk))
    return result


def _grow(
    draw: VesselDraw, anatomy: Anatomy, rng: np.random.Generator, starts: Points, radii: Points
) -> tuple[Points, Points]:
    """Walk all branches at once over the surface and into sulci, thinning as they go."""
    count = len(starts)
    position = starts.copy()
    direction = rng.normal(0, 1, (count, 3))
    depth = rng.uniform(-1.5, 1.0, count)
    points, sizes = [], []
    taper = rng.uniform(0.975, 0.995, count)
    radius = radii.copy()
    for _ in range(draw.steps):
        normal = _gradient_at(anatomy.distance, position)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 0.3)
        direction += rng.normal(0, 0.30, direction.shape)
        # Fluid attracts: vessels run in the sulci.
        direction += 0.35 * _gradient_at(anatomy.csf, position)
        direction -= 0.9 * (direction * normal).sum(1, keepdims=True) * normal
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-3)
        position = _to_surface(position + 0.8 * direction, anatomy.distance, depth, weight=0.15)
        depth += rng.normal(-0.02, 0.12, count)
        radius = radius * taper
        points.append(position.copy())
        sizes.append(radius.copy())
    return np.concatenate(points), np.concatenate(sizes)


def _medullary(draw: VesselDraw, anatomy: Anatomy, rng: np.random.Generator) -> tuple[Points, Points]:
    """Fine straight veins of the deep white matter that run inwards to the ventricles."""
    shape = np.array(anatomy.wm.shape)
    start = rng.uniform(0.15, 0.9, (draw.medullary * 6, 3)) * shape
    where = np.rint(start).astype(int)
    white = anatomy.wm[tuple(where.T)] * (anatomy.distance[tuple(where.T)] < -10) > 0.8
    start = start[white][: draw.medullary]
    direction = _gradient_at(anatomy.distance, start)
    direction = -direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 0.3)
    length = rng.uniform(5, 18, len(start))
    steps = np.arange(0, 18, 0.8)
    line = start[:, None] + direction[:, None] * np.minimum(steps[None], length[:, None])[..., None]
    line += np.cumsum(rng.normal(0, 0.12, line.shape), axis=1)
    sizes = np.repeat(rng.uniform(0.12, 0.35, len(start)) * draw.calibre, len(steps))
    return line.reshape(-1, 3), sizes


def paint(points: Points, radii: Points, shape: tuple[int, int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Flat indices and volume fractions of balls strung along a line.

    A ball thinner than a voxel covers only part of it, so its fraction is lowered.
    """
    indices, alphas = [], []
    for reach, chosen in ((1, radii <= 0.6), (2, (radii > 0.6) & (radii <= 1.6)), (6, radii > 1.6)):
        if not chosen.any():
            continue
        at, r = points[chosen], radii[chosen].astype(np.float32)
        offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        voxel = np.rint(at).astype(np.int64)[:, None, :] + offsets[None]
        gap = np.linalg.norm(voxel - at[:, None, :], axis=-1).astype(np.float32)
        alpha = np.clip(r[:, None] + 0.5 - gap, 0, 1) * np.minimum(1, 1.6 * r)[:, None]
        keep = (alpha > 0.02) & np.all((voxel >= 0) & (voxel < shape), axis=-1)
        indices.append(np.ravel_multi_index(tuple(voxel[keep].T), shape))
        alphas.append(alpha[keep])
    index, alpha = np.concatenate(indices), np.concatenate(alphas)
    dense = np.zeros(int(np.prod(shape)), np.float32)
    order = np.argsort(alpha, kind="stable")
    dense[index[order]] = alpha[order]
    flat = np.nonzero(dense)[0]
    return flat, dense[flat]


def build_vessels(draw: VesselDraw, anatomy: Anatomy) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The vessel tree of one patient: flat voxel indices and blood fractions."""
    rng = np.random.default_rng(draw.seed)
    trunks = _trunks(draw, anatomy, rng)
    parents = [(line, radius) for line, radius, t in trunks if t.name in _PARENTS]
    line, radius = (np.concatenate([p[i] for p in parents]) for i in (0, 1))
    chosen = rng.integers(0, len(line), draw.branches)
    thickness = np.minimum(radius[chosen] * 0.6, rng.uniform(0.35, 1.2, draw.branches) * draw.calibre)
    points, sizes = _grow(draw, anatomy, rng, line[chosen], thickness)
    # A second generation leaves the first.
    again = rng.integers(0, len(points), draw.branches * 2)
    finer, finer_sizes = _grow(draw, anatomy, rng, points[again], sizes[again] * rng.uniform(0.5, 0.9, len(again)))
    deep, deep_sizes = _medullary(draw, anatomy, rng)
    all_points = np.concatenate([t[0] for t in trunks] + [points, finer, deep])
    all_radii = np.concatenate([t[1] for t in trunks] + [sizes, finer_sizes, deep_sizes])
    return paint(all_points, np.maximum(all_radii, 0.15), anatomy.wm.shape)
