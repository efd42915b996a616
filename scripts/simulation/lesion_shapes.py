"""Outlines of lesions: random parameters, irregular blobs, and the oedema around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from enhancement.arrays import Volume
from simulation.anatomy import Anatomy
from simulation.fields import Shape, smooth_noise
from simulation.layers import Label, Layer, make_layer
from simulation.tissues import draw_factors, tissue

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class LesionDraw:
    """Random parameters of one lesion.

    Attributes
    ----------
    kind
        See `simulation.lesions`.
    centre : z, y, x voxels
    radii_mm : z, y, x
    irregular : 0..0.5
        Relative amplitude of the noise on the outline.
    concentration_mm : mM
        Peak, at the full dose; 0 for what does not enhance.
    rim : 0..1
        Thickness of the enhancing rim over the radius; 1 is solid.
    oedema_mm
        Reach of the oedema beyond the lesion.
    tissue
        Row of `simulation.tissues.CENTRES`.
    factors
        On its T1, T2, proton density and ADC.
    site
        What it grows against (`simulation.places`), or "".
    """

    kind: str
    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    irregular: float
    concentration_mm: float
    rim: float
    oedema_mm: float
    tissue: str
    factors: tuple[float, float, float, float]
    seed: int
    site: str = ""

    @property
    def diameter_mm(self) -> float:
        """Longest axis."""
        return 2 * max(self.radii_mm)

    @property
    def radius_mm(self) -> float:
        """Mean radius."""
        return float(np.mean(self.radii_mm))

    @property
    def enhancing(self) -> bool:
        """Whether any agent enters it."""
        return self.concentration_mm > 0


def lesion_box(draw: LesionDraw, shape: Shape, margin_mm: float) -> Box:
    """The part of the grid that holds a lesion and a margin around it."""
    reach = [r * (1 + 1.5 * draw.irregular) + margin_mm + 2 for r in draw.radii_mm]
    low = [max(0, int(np.floor(c - r))) for c, r in zip(draw.centre, reach, strict=True)]
    high = [min(n, int(np.ceil(c + r)) + 1) for c, r, n in zip(draw.centre, reach, shape, strict=True)]
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def blob(draw: LesionDraw, shape: Shape, margin_mm: float) -> tuple[Box, Volume]:
    """The box around a lesion and its normalised radius rho (1 on the outline) in it."""
    rng = np.random.default_rng(draw.seed)
    box = lesion_box(draw, shape, margin_mm)
    axes = [
        (np.arange(s.start, s.stop, dtype=np.float32) - np.float32(c)) / np.float32(r)
        for s, c, r in zip(box, draw.centre, draw.radii_mm, strict=True)
    ]
    rho = np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2)
    size = max(draw.radii_mm)
    local: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
    coarse, fine = (smooth_noise(rng, local, max(size * scale, least)) for scale, least in ((0.8, 2.0), (0.35, 1.5)))
    wobble = np.float32(draw.irregular) * (coarse + np.float32(0.4) * fine)
    # The floor keeps the outline inside the box.
    rho = rho * np.maximum(1 + wobble, np.float32(1 / (1 + 1.5 * draw.irregular)))
    return box, rho.astype(np.float32)


def coverage(rho: Volume, radius_mm: float, edge_mm: float = 1.0) -> Volume:
    """Volume fraction inside the outline, with an edge of this width."""
    return np.asarray(np.clip(0.5 + (1 - rho) * np.float32(radius_mm / edge_mm), 0, 1), np.float32)


def inside_brain(anatomy: Anatomy, box: Box) -> Volume:
    """1 in the brain, falling to 0 over its edge."""
    return np.asarray(np.clip(0.5 - anatomy.distance[box], 0, 1), np.float32)


def oedema_layer(draw: LesionDraw, anatomy: Anatomy, field_t: float, box: Box, rho: Volume) -> Layer:
    """Oedema: finger-like, prefers white matter, fades out."""
    rng = np.random.default_rng(draw.seed + 1)
    local: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
    outside_mm = (rho - 1) * np.float32(draw.radius_mm) + np.float32(0.35 * draw.oedema_mm) * smooth_noise(
        rng, local, 7
    )
    alpha = np.clip((np.float32(draw.oedema_mm) - outside_mm) / np.float32(max(2.0, 0.4 * draw.oedema_mm)), 0, 1)
    alpha *= np.clip(anatomy.wm[box] + 0.35 * anatomy.gm[box], 0, 1) * np.float32(rng.uniform(0.4, 0.95))
    alpha *= _taper(local)
    kind = tissue("oedema", field_t, draw_factors(rng))
    return make_layer("oedema", kind, alpha, 0.0, Label.OEDEMA, box=box, shape=anatomy.wm.shape)


def _taper(shape: Shape, width: int = 4) -> Volume:
    """1 inside a box, falling to 0 over its last voxels, so that no layer ends in a straight cut."""
    out = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        ramp = np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / width, 0, 1).astype(np.float32)
        out *= ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    return out
