"""Everything of the head that is not brain: skull, marrow, scalp, face, eyes, sinuses, neck.

Built from the distance to the (deformed) brain and a few shapes at their place in MNI space, so it
needs no atlas of the head and works at any resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.fields import smooth_noise

Noise = Callable[[float], Volume]  # smooth noise of a length in mm


class Outer(IntEnum):
    """Classes outside the brain. ``INSIDE`` marks brain and inner CSF, whose signals come from elsewhere."""

    AIR = 0
    INSIDE = 1
    CSF = 2
    DURA = 3
    BONE = 4
    MARROW = 5
    MUSCLE = 6
    FAT = 7
    SKIN = 8
    VITREOUS = 9
    MUCOSA = 10
    CORD = 11
    GLAND = 12


@dataclass(frozen=True)
class HeadDraw:
    """Random thicknesses (mm) and shapes of one head."""

    csf_mm: float
    dura_mm: float
    skull_mm: float
    marrow: float
    scalp_mm: float
    skin_mm: float
    fat: float
    face_scale: float
    neck_scale: float
    eye_mm: float
    pneumatisation: float
    jitter_mm: tuple[float, float, float]
    seed: int


def draw_head(rng: np.random.Generator) -> HeadDraw:
    """Draw one head."""
    jitter = rng.normal(0, 3, 3)
    return HeadDraw(
        csf_mm=float(rng.uniform(0.5, 4.0)),
        dura_mm=float(rng.uniform(0.7, 1.8)),
        skull_mm=float(rng.uniform(3.5, 9.0)),
        marrow=float(rng.uniform(0.0, 0.7)),
        scalp_mm=float(rng.uniform(2.5, 10.0)),
        skin_mm=float(rng.uniform(1.0, 2.5)),
        fat=float(rng.uniform(0.1, 0.9)),
        face_scale=float(rng.uniform(0.88, 1.12)),
        neck_scale=float(rng.uniform(0.8, 1.25)),
        eye_mm=float(rng.uniform(10.5, 13.5)),
        pneumatisation=float(rng.uniform(-0.5, 0.8)),
        jitter_mm=(float(jitter[0]), float(jitter[1]), float(jitter[2])),
        seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class Coordinates:
    """Open grids of MNI coordinates in mm (x right, y anterior, z superior)."""

    z: NDArray[np.float32]
    y: NDArray[np.float32]
    x: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]

    def ellipsoid(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Volume:
        """Approximate signed distance in mm to an ellipsoid (MNI centre and radii in x, y, z)."""
        (cx, cy, cz), (rx, ry, rz) = centre, radii
        rho2 = ((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2 + ((self.z - cz) / rz) ** 2
        return np.asarray((np.sqrt(rho2) - 1) * np.float32(min(radii)), np.float32)


def coordinates(origin_mni: tuple[float, float, float], shape: tuple[int, int, int], spacing_mm: float) -> Coordinates:
    """Grid of this (z, y, x) shape whose first voxel centre lies at ``origin_mni`` (x, y, z)."""
    z, y, x = (
        np.float32(o) + np.arange(n, dtype=np.float32) * np.float32(spacing_mm)
        for o, n in zip(reversed(origin_mni), shape, strict=True)
    )
    return Coordinates(z[:, None, None], y[None, :, None], x[None, None, :])


def signed_distance(mask: NDArray[np.bool_], spacing_mm: float) -> Volume:
    """Signed distance in mm to the surface of a mask, positive outside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((spacing_mm,) * 3)
    image = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(image), np.float32)


def hull_distance(distance: Volume, spacing_mm: float, reach_mm: float = 16.0) -> Volume:
    """Distance to the brain after closing its fissures, as the inner table of the skull sees it."""
    grown = signed_distance(distance < reach_mm, spacing_mm)
    near = np.minimum(grown + np.float32(reach_mm), distance)
    return np.asarray(np.maximum(near, grown + np.float32(reach_mm) - 2), np.float32)


def _envelope(draw: HeadDraw, at: Coordinates, hull: Volume) -> Volume:
    """Signed distance to the skin: vault, face and neck, smoothly joined."""
    jx, jy, jz = draw.jitter_mm
    s = draw.face_scale
    vault = hull - np.float32(draw.csf_mm + draw.dura_mm + draw.skull_mm + draw.scalp_mm)
    face = at.ellipsoid((jx / 2, 38 + jy, -52 + jz), (64 * s, 56 * s, 68 * s))
    jaw = at.ellipsoid((jx / 2, 42 + jy, -92 + jz), (46 * s, 46 * s, 40 * s))
    nose = at.ellipsoid((jx / 2, 92 * s + jy, -48 + jz), (15 * s, 18 * s, 22 * s))
    n = draw.neck_scale
    neck = at.ellipsoid((jx / 2, -28 + jy, -130 + jz), (56 * n, 60 * n, 110))
    base = at.ellipsoid((0, -20, -48), (70, 78, 42))
    parts = [vault, face, jaw, nose, neck, base]
    softness = np.float32(6)
    total = sum(np.exp(np.clip(-p / softness, -30, 30)) for p in parts)
    return np.asarray(-softness * np.log(np.maximum(total, 1e-9)), np.float32)


def build_outer(draw: HeadDraw, at: Coordinates, distance: Volume, hull: Volume) -> NDArray[np.uint8]:
    """Class of every voxel.

    Parameters
    ----------
    distance, hull : (z, y, x) mm
        Signed distance to the brain and to its hull.

    Returns
    -------
    (z, y, x) uint8, codes of `Outer`
    """
    rng = np.random.default_rng(draw.seed)
    spacing = float(at.x[0, 0, 1] - at.x[0, 0, 0])

    def noise(mm: float) -> Volume:
        return smooth_noise(rng, at.shape, mm / spacing)

    skin = _envelope(draw, at, hull) + noise(25)
    out = np.full(at.shape, Outer.AIR, np.uint8)
    soft = np.where(noise(14) + 0.6 * noise(6) > np.float32(0.9 - 1.6 * draw.fat), Outer.FAT, Outer.MUSCLE)
    head = skin < 0
    out[head] = soft[head]
    below = np.clip((-20 - at.z) / 25, 0, 1).astype(np.float32)  # 0 in the vault, 1 in the face and neck
    _face(draw, at, out, head, noise)
    inner = np.float32(draw.csf_mm) * np.exp(0.3 * noise(30))
    _shell(draw, out, head, hull, inner, noise, below)
    subcutaneous = head & (skin > -np.float32(draw.scalp_mm) * 0.8) & (out == Outer.MUSCLE) & (noise(10) > -0.8)
    out[subcutaneous] = Outer.FAT
    out[head & (skin > -np.float32(draw.skin_mm))] = Outer.SKIN
    out[hull < inner + np.float32(draw.dura_mm)] = Outer.DURA
    out[hull < inner] = Outer.CSF
    _cord(at, out, head, draw)
    out[distance < 0] = Outer.INSIDE
    return out


def _shell(
    draw: HeadDraw,
    out: NDArray[np.uint8],
    head: NDArray[np.bool_],
    hull: Volume,
    inner: Volume,
    noise: Noise,
    below: Volume,
) -> None:
    """The skull with its diploe, ragged at the base."""
    start = inner + np.float32(draw.dura_mm)
    thick = np.float32(draw.skull_mm) * np.exp(0.25 * noise(35)) * (1 + 0.8 * below * noise(18))
    thick = np.maximum(thick, 1.5)
    share = (hull - start) / thick
    bone = head & (share >= 0) & (share < 1)
    out[bone] = Outer.BONE
    half = 0.5 * np.float32(draw.marrow)
    out[bone & (np.abs(share - 0.5) < half) & (noise(20) > -1.2)] = Outer.MARROW


def _face(draw: HeadDraw, at: Coordinates, out: NDArray[np.uint8], head: NDArray[np.bool_], noise: Noise) -> None:
    """Bones, air, mucosa, tongue, orbits and eyes."""
    jx, jy, jz = draw.jitter_mm
    s = draw.face_scale

    def at_mni(x: float, y: float, z: float) -> tuple[float, float, float]:
        return x + jx / 2, y * s + jy, z + jz

    rough = 4 * noise(10)
    base = at.ellipsoid(at_mni(0, 5, -52), (62, 62, 16)) + rough
    out[head & (base < 0) & (noise(8) > -0.3)] = Outer.MARROW
    out[head & (np.abs(base) < 1.5)] = Outer.BONE
    for side in (-1, 1):
        _orbit(draw, at, out, head, at_mni, side)
        cells = at.ellipsoid(at_mni(side * 52, -38, -42), (16, 20, 22)) + rough
        out[head & (cells < 0)] = Outer.BONE
        out[head & (cells < -2) & (noise(6) > 0.3 - draw.pneumatisation)] = Outer.AIR
        antrum = at.ellipsoid(at_mni(side * 26, 50, -64), (13, 16, 16)) + rough / 2
        out[head & (antrum < 1.5)] = Outer.MUCOSA
        out[head & (antrum < -draw.pneumatisation)] = Outer.AIR
    nasal = at.ellipsoid(at_mni(0, 56, -58), (12, 30, 24)) + rough / 2
    out[head & (nasal < 2)] = Outer.MUCOSA
    out[head & (nasal < 0) & (noise(6) > 0.2)] = Outer.AIR
    frontal = at.ellipsoid(at_mni(0, 78, -8), (24, 7, 13)) + rough / 2
    out[head & (frontal < 0)] = Outer.AIR
    tongue = at.ellipsoid(at_mni(0, 40, -92), (24, 30, 18))
    out[head & (tongue < 0)] = Outer.MUSCLE
    throat = at.ellipsoid(at_mni(0, 6, -100), (9, 8, 45)) + rough / 3
    out[head & (throat < 2.5)] = Outer.MUCOSA
    out[head & (throat < 0)] = Outer.AIR
    # The mandible is a horseshoe; teeth and palate close the mouth above it.
    arch = np.sqrt((at.x / (40 * s)) ** 2 + ((at.y - 28) / (48 * s)) ** 2) - 1
    bow = head & (np.abs(arch) < 0.14) & (at.y > 12) & (at.z < -92 + jz) & (at.z > -112 + jz)
    out[bow] = Outer.BONE
    out[bow & (np.abs(arch) < 0.07) & (at.z < -95 + jz)] = Outer.MARROW
    out[head & (np.abs(at.z + 76 - jz) < 3) & (arch < 0.1) & (at.y > 15)] = Outer.BONE
    for side in (-1, 1):
        gland = at.ellipsoid(at_mni(side * 56, -4, -72), (10, 16, 22))
        out[head & (gland < 0)] = Outer.GLAND


def _orbit(draw: HeadDraw, at: Coordinates, out: NDArray[np.uint8], head: NDArray[np.bool_], at_mni, side: int) -> None:  # type: ignore[no-untyped-def]
    """Orbital fat, eye with lens, muscles and optic nerve."""
    cavity = at.ellipsoid(at_mni(side * 31, 56, -36), (19, 28, 18))
    out[head & (cavity < 2.5)] = Outer.BONE
    out[head & (cavity < 0)] = Outer.FAT
    eye = at.ellipsoid(at_mni(side * 32, 72, -36), (draw.eye_mm,) * 3)
    out[head & (eye < 1.2)] = Outer.SKIN
    out[head & (eye < 0)] = Outer.VITREOUS
    lens = at.ellipsoid(at_mni(side * 32, 72 + draw.eye_mm - 4, -36), (4.5, 2.2, 4.5))
    out[head & (lens < 0)] = Outer.MUSCLE
    for dx, dz in ((9, 0), (-9, 0), (0, 9), (0, -9)):
        muscle = at.ellipsoid(at_mni(side * 30 + dx, 52, -36 + dz), (2.4, 16, 2.4))
        out[head & (muscle < 0)] = Outer.MUSCLE
    nerve = at.ellipsoid(at_mni(side * 27, 46, -35), (2.4, 20, 2.4))
    out[head & (nerve < 0)] = Outer.CORD


def _cord(at: Coordinates, out: NDArray[np.uint8], head: NDArray[np.bool_], draw: HeadDraw) -> None:
    """Spinal canal with cord below the brain stem, in vertebrae."""
    low = at.z < -66
    lean = -30 - 0.12 * (at.z + 70)
    r = np.sqrt((at.x - draw.jitter_mm[0] / 4) ** 2 + ((at.y - lean) / 0.9) ** 2)
    body = np.sqrt((at.x / 15) ** 2 + ((at.y - lean - 18) / 11) ** 2)
    joints = np.abs(((at.z + 75) / 17) % 1 - 0.5) < 0.42
    out[head & low & (body < 1) & joints & (at.z < -85)] = Outer.MARROW
    out[head & low & (r < 17) & (r >= 10) & joints] = Outer.BONE
    out[head & low & (r < 11)] = Outer.DURA
    out[head & low & (r < 10)] = Outer.CSF
    out[head & low & (r < 5.5)] = Outer.CORD
