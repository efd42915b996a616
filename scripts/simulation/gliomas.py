"""Masses whose enhancement has a shape of its own: thin, broken, nodular, folded rims, clusters, solid tumours.

A lobed outline is turned into a depth in mm. The rim lies below it, as thick as a smooth field says; nodules thicken
it, folds run through the core, gaps have tumour without agent, and wisps of it leave for the white matter. Modelled
on what BraTS-GLI-00001-000 (a lobed cavity, rim of 1 to 4 mm, isointense core) and TCGA-FG-6692 (a cluster beside a
ring) show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from enhancement.arrays import Volume
from simulation.anatomy import Anatomy
from simulation.fields import Shape, smooth_noise
from simulation.layers import Label, Layer, make_layer
from simulation.lesion_shapes import Box, LesionDraw, inside_brain, lesion_box, oedema_layer
from simulation.tissues import draw_factors, tissue

_MARGIN_MM = 6.0
_PATTERNS = ("cluster", "solid", "patchy")


@dataclass(frozen=True)
class _Ground:
    """Where a mass lies: its box, and the depth of each voxel below its outline (negative inside), mm."""

    draw: LesionDraw
    anatomy: Anatomy
    field_t: float
    rng: np.random.Generator
    box: Box
    depth: Volume

    @property
    def shape(self) -> Shape:
        return self.depth.shape[0], self.depth.shape[1], self.depth.shape[2]

    def noise(self, spacing_mm: float) -> Volume:
        """Smooth noise of SD 1 in the box."""
        return smooth_noise(self.rng, self.shape, max(spacing_mm, 1.5))

    def layer(
        self, name: str, tissue_name: str, alpha: Volume, level: Volume | float, label: Label, *, t1: float = 1.0
    ) -> Layer:
        """A layer within the brain, of a tissue with factors of its own."""
        factors = draw_factors(self.rng)
        kind = tissue(tissue_name, self.field_t, (factors[0] * t1, *factors[1:]))
        alpha = np.clip(alpha, 0, 1) * inside_brain(self.anatomy, self.box)
        return make_layer(name, kind, alpha, level, label, box=self.box, shape=self.anatomy.wm.shape)

    def enhancing(self, alpha: Volume, level: Volume) -> Layer:
        """The lesion's own tissue, with its agent."""
        kind = tissue(self.draw.tissue, self.field_t, self.draw.factors)
        alpha = np.clip(alpha, 0, 1) * inside_brain(self.anatomy, self.box)
        return make_layer(
            self.draw.kind, kind, alpha, level, Label.ENHANCING, box=self.box, shape=self.anatomy.wm.shape
        )


def ring_mass(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """A necrotic mass with an uneven rim, or where ``rim`` is 1 a cluster, a solid or a patchy mass."""
    ground = _ground(draw, anatomy, field_t, lobes=draw.kind == "glioma")
    layers = [oedema_layer(draw, anatomy, field_t, ground.box, 1 + ground.depth / np.float32(draw.radius_mm))] \
        if draw.oedema_mm > 1 else []  # fmt: skip
    if draw.kind == "glioma" and ground.rng.random() < 0.6:
        layers.append(_wisps(ground))
    inside = np.clip(0.5 - ground.depth, 0, 1)
    if draw.rim < 1:
        return layers + _ring(ground, inside)
    pattern = str(ground.rng.choice(_PATTERNS, p=(0.45, 0.3, 0.25)))
    return layers + {"cluster": _cluster, "solid": _solid, "patchy": _patchy}[pattern](ground, inside)


def solid_mass(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """A lobed mass that enhances evenly, as a lymphoma does."""
    ground = _ground(draw, anatomy, field_t, lobes=True)
    layers = [oedema_layer(draw, anatomy, field_t, ground.box, 1 + ground.depth / np.float32(draw.radius_mm))] \
        if draw.oedema_mm > 1 else []  # fmt: skip
    return layers + _solid(ground, np.clip(0.5 - ground.depth, 0, 1), unrest=(0.03, 0.12))


def _ground(draw: LesionDraw, anatomy: Anatomy, field_t: float, *, lobes: bool) -> _Ground:
    rng = np.random.default_rng(draw.seed + 6)
    box = lesion_box(draw, anatomy.wm.shape, draw.oedema_mm + _MARGIN_MM)
    outline = _outline(draw, rng, box, 1 + min(int(rng.poisson(2.5)), 6) if lobes and draw.diameter_mm > 10 else 1)
    return _Ground(draw, anatomy, field_t, rng, box, _depth(outline))


def _outline(draw: LesionDraw, rng: np.random.Generator, box: Box, count: int) -> Volume:
    """A level set (about mm, negative inside) of ellipsoids that run into each other, with a scalloped surface."""
    radii = np.array(draw.radii_mm, dtype=np.float32)
    axes = [np.arange(s.start, s.stop, dtype=np.float32) - np.float32(c) for s, c in zip(box, draw.centre, strict=True)]
    total = np.zeros([len(axis) for axis in axes], np.float32)
    for i in range(count):
        direction = rng.normal(0, 1, 3)
        direction /= np.linalg.norm(direction)
        share = 1.0 if count == 1 else float(rng.uniform(0.5, 0.8) if i == 0 else rng.uniform(0.3, 0.6))
        own = radii * np.float32(share) * np.exp(rng.normal(0, 0.15, 3)).astype(np.float32)
        at = direction * (radii - own) * (0.0 if i == 0 else 1.0)
        z, y, x = (((axis - np.float32(c)) / r) ** 2 for axis, c, r in zip(axes, at, own, strict=True))
        rho = np.sqrt(z[:, None, None] + y[None, :, None] + x[None, None, :])
        total += np.exp(np.clip(-(rho - 1) * own.mean() / 1.5, -40, 40))
    level = -1.5 * np.log(total + np.float32(1e-12))
    size = draw.radius_mm
    local: Shape = (total.shape[0], total.shape[1], total.shape[2])
    level += np.float32(draw.irregular * size * 0.6) * smooth_noise(rng, local, max(size * 0.6, 2))
    if size > 4:
        level += np.float32(rng.uniform(0.3, 2.2)) * smooth_noise(rng, local, float(rng.uniform(4.0, 7.0)))
    # Lobes and noise change the volume; the diameter is to say how much mass there is.
    volume = 4 / 3 * np.pi * float(radii.prod()) * float(rng.uniform(0.65, 0.95))
    return np.asarray(level - np.float32(np.quantile(level, min(volume / level.size, 0.9))), np.float32)


def _depth(outline: Volume) -> Volume:
    """Signed distance from the outline in mm, negative inside, smoothed below the voxel's size."""
    image = sitk.GetImageFromArray((outline < 0).astype(np.uint8))
    distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False)).astype(np.float32)
    near = np.abs(distance) < 1.5
    slope = np.sqrt(sum(g**2 for g in np.gradient(outline)))
    fine = np.clip(outline / np.maximum(slope, np.float32(0.4)), -2, 2)
    return np.asarray(np.where(near, fine, ndimage.gaussian_filter(distance, 0.6)), np.float32)


def _thickness(ground: _Ground) -> Volume:
    """Thickness of the rim in mm: a smooth field, and nodules that sit on it."""
    draw, rng = ground.draw, ground.rng
    if draw.kind == "glioma":
        base = float(np.exp(rng.uniform(np.log(1.0), np.log(3.5))))
    else:
        base = max(draw.rim * draw.radius_mm, 1.0)
    thick = np.float32(base) * np.exp(np.float32(rng.uniform(0.15, 0.6)) * ground.noise(max(draw.radius_mm * 0.4, 4)))
    surface = np.argwhere(np.abs(ground.depth + 1) < 1)
    grid = np.indices(ground.shape, dtype=np.float32)
    for _ in range(min(int(rng.poisson(2.5 if draw.kind == "glioma" else 0.8)), 8, len(surface))):
        at, width = surface[rng.integers(len(surface))], float(rng.uniform(1.2, 3.5))
        distance2 = sum((g - np.float32(c)) ** 2 for g, c in zip(grid, at, strict=True))
        thick = thick + np.float32(rng.uniform(1, 5)) * np.exp(-distance2 / np.float32(2 * width**2))
    return np.asarray(np.clip(thick, 0.5, max(0.8 * draw.radius_mm, 1.0)), np.float32)


def _folds(ground: _Ground) -> Volume:
    """Sheets through the core, broken, 0.8 to 2.5 mm thick: where a smooth field goes through zero."""
    rng = ground.rng
    noise = ground.noise(max(ground.draw.radius_mm * float(rng.uniform(0.5, 0.9)), 4))
    slope = np.sqrt(sum(g**2 for g in np.gradient(noise)))
    distance = np.abs(noise) / np.maximum(slope, np.float32(0.05))
    sheet = np.clip(np.float32(rng.uniform(0.4, 1.25)) + 0.5 - distance, 0, 1)
    return np.asarray(sheet * np.clip(0.3 + ground.noise(6), 0, 1), np.float32)


def _presence(ground: _Ground, fullness: float) -> Volume:
    """1 where the barrier leaks, 0 in the gaps of the rim."""
    patches = ground.noise(max(ground.draw.radius_mm * 0.55, 4)) + np.float32(0.4) * ground.noise(3.5)
    return np.asarray(np.clip(0.5 + 1.4 * (patches + np.float32(fullness)), 0, 1), np.float32)


def _level(ground: _Ground, unrest: tuple[float, float]) -> Volume:
    """Concentration in mM: beads of 2 to 3 mm on a slower variation."""
    fine, slow = (np.float32(ground.rng.uniform(*unrest)) for _ in range(2))
    texture = 1 + fine * ground.noise(2.5) + slow * ground.noise(max(ground.draw.radius_mm * 0.5, 4))
    return np.asarray(np.float32(ground.draw.concentration_mm) * np.clip(texture, 0.15, 2.2), np.float32)


def _ring(ground: _Ground, inside: Volume) -> list[Layer]:
    rng, glioma = ground.rng, ground.draw.kind == "glioma"
    thick = _thickness(ground)
    core = np.clip(0.5 - (ground.depth + thick), 0, 1)
    band = inside - core
    folds = _folds(ground) * core if glioma and rng.random() < 0.6 else np.zeros_like(core)
    leaks = _presence(ground, float(rng.uniform(-0.1, 1.8))) if glioma else _presence(ground, float(rng.uniform(1, 3)))
    # Protein and blood make many a core as bright as brain before contrast.
    cloudy = float(np.exp(-abs(rng.normal(0, 0.5))))
    leak = ground.draw.concentration_mm * float(rng.uniform(0, 0.12))
    level = _level(ground, (0.1, 0.4))
    layers = [
        ground.layer("tumour", "lowgrade", inside, 0.0, Label.NON_ENHANCING),
        ground.layer("necrosis", "necrosis", core, leak, Label.NECROSIS, t1=cloudy),
        ground.enhancing(np.maximum(band, folds) * leaks, level),
    ]
    if rng.random() < 0.25:
        spots = band * np.clip(ground.noise(3) - 0.2, 0, 1) * np.float32(rng.uniform(0.3, 0.8))
        layers.append(ground.layer("petechiae", "bright", spots * leaks, level, Label.ENHANCING))
    return layers


def _cluster(ground: _Ground, inside: Volume) -> list[Layer]:
    """Nodules and small rings close together in tumour that does not enhance."""
    bubbles = ground.noise(float(ground.rng.uniform(4, 7)))
    filled = ground.rng.random() < 0.5
    knots = np.clip(0.5 + 2.5 * (bubbles if filled else 0.45 - np.abs(bubbles)) + ground.rng.uniform(-0.3, 0.8), 0, 1)
    level = _level(ground, (0.1, 0.4))
    return [
        ground.layer("tumour", "lowgrade", inside, 0.0, Label.NON_ENHANCING),
        ground.enhancing(inside * knots, level),
    ]


def _solid(ground: _Ground, inside: Volume, unrest: tuple[float, float] = (0.05, 0.35)) -> list[Layer]:
    level = _level(ground, unrest)
    return [ground.enhancing(inside, level)]


def _patchy(ground: _Ground, inside: Volume) -> list[Layer]:
    """A tumour that enhances faintly, in patches without an edge."""
    patches = np.clip(ground.noise(max(ground.draw.radius_mm * 0.5, 4)) + ground.rng.uniform(-0.2, 0.6), 0, 1)
    level = _level(ground, (0.1, 0.3)) * np.float32(ground.rng.uniform(0.3, 0.8))
    return [
        ground.layer("tumour", "lowgrade", inside, 0.0, Label.NON_ENHANCING),
        ground.enhancing(inside * patches, level),
    ]


def _wisps(ground: _Ground) -> Layer:
    """Streaks of faintly leaking tumour that leave the mass along the white matter."""
    rng = ground.rng
    streaks = np.clip(ground.noise(3) + 0.5 * ground.noise(7) - rng.uniform(0.2, 0.9), 0, 1)
    fade = np.exp(-np.clip(ground.depth, 0, None) / np.float32(rng.uniform(1.5, 5))) * (ground.depth > -1)
    alpha = streaks * fade * (0.3 + 0.7 * ground.anatomy.wm[ground.box]) * np.float32(rng.uniform(0.3, 0.8))
    level = ground.draw.concentration_mm * float(rng.uniform(0.3, 0.8))
    return ground.layer("wisps", "lowgrade", alpha, level, Label.ENHANCING)
