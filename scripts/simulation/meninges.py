"""Lesions of the coverings and the surface: dural masses with tails, leptomeningeal sheets, resection cavities."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from enhancement.arrays import Volume
from simulation.anatomy import Anatomy
from simulation.fields import Shape, smooth_noise
from simulation.layers import Label, Layer, make_layer
from simulation.lesion_shapes import Box, LesionDraw, blob, coverage, inside_brain, oedema_layer
from simulation.tissues import draw_factors, tissue


def _local_noise(rng: np.random.Generator, rho: Volume, spacing_mm: float) -> Volume:
    shape: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
    return smooth_noise(rng, shape, max(spacing_mm, 1.5))


def dural_mass(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """A mass on the dura, strongly and evenly enhancing, with a tail along the dura."""
    rng = np.random.default_rng(draw.seed + 2)
    radius = float(np.mean(draw.radii_mm))
    box, rho = blob(draw, anatomy.wm.shape, max(draw.oedema_mm, radius) + 2)
    if rng.random() < 0.2:
        return [_plaque(draw, anatomy, field_t, rng, box, rho)]
    shape = anatomy.wm.shape
    layers = [oedema_layer(draw, anatomy, field_t, box, rho)] if draw.oedema_mm > 1 else []
    tail = anatomy.dura[box] * np.clip(2.2 - rho, 0, 1) * np.clip(0.7 + _local_noise(rng, rho, 8), 0, 1)
    dura = tissue("dura", field_t, draw_factors(rng))
    strength = draw.concentration_mm * float(rng.uniform(0.4, 0.9))
    layers.append(make_layer("tail", dura, tail, strength, Label.ENHANCING, box=box, shape=shape))
    alpha = coverage(rho, radius) * np.clip(1 - anatomy.bone[box], 0, 1)
    even = 1 + np.float32(0.12) * _local_noise(rng, rho, radius / 2)
    mass = tissue("meningioma", field_t, draw.factors)
    level = np.float32(draw.concentration_mm) * np.clip(even, 0.4, 1.6)
    layers.append(make_layer("meningioma", mass, alpha, level, Label.ENHANCING, box=box, shape=shape))
    return layers


def _plaque(
    draw: LesionDraw, anatomy: Anatomy, field_t: float, rng: np.random.Generator, box: Box, rho: Volume
) -> Layer:
    """A carpet of 1.5 to 5 mm on the inner side of the dura instead of a ball."""
    thick = np.float32(rng.uniform(1.5, 5.0)) * np.exp(np.float32(0.3) * _local_noise(rng, rho, 6))
    depth = -anatomy.distance[box]
    near = np.clip(thick + 0.5 - depth, 0, 1) * np.clip(depth + 3.5, 0, 1) * np.clip((1.3 - rho) * 2, 0, 1)
    alpha = np.clip(near, 0, 1) * np.clip(1 - anatomy.bone[box], 0, 1)
    level = np.float32(draw.concentration_mm) * np.clip(1 + np.float32(0.15) * _local_noise(rng, rho, 4), 0.3, 1.7)
    kind = tissue("meningioma", field_t, draw.factors)
    return make_layer("meningioma", kind, alpha, level, Label.ENHANCING, box=box, shape=anatomy.wm.shape)


def leptomeningeal_sheet(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """A patchy film where cortex meets CSF, following the sulci; smooth, knotty, or along the ventricles' walls."""
    rng = np.random.default_rng(draw.seed + 4)
    box, rho = blob(draw, anatomy.wm.shape, 3)
    form = str(rng.choice(("smooth", "knotty", "ependymal"), p=(0.6, 0.25, 0.15)))
    # Neighbourhoods of 3 mm: where the folds are narrow hardly a voxel holds both cortex and fluid.
    cortex, fluid = (ndimage.uniform_filter(part[box], 3) for part in (anatomy.gm, anatomy.csf))
    wall = 1.8 * cortex * fluid * (anatomy.gm[box] + anatomy.csf[box])
    if form == "ependymal" and float(anatomy.ventricle[box].sum()) > 200:
        wall = 1.4 * anatomy.ventricle[box] * (anatomy.wm[box] + anatomy.gm[box])
    film = np.clip(3.5 * wall, 0, 0.9) * np.clip((1.1 - rho) * 2, 0, 1)
    film = film * np.clip(0.6 + 1.2 * _local_noise(rng, rho, 7), 0, 1)
    if form == "knotty":
        knots = np.clip(2 * (_local_noise(rng, rho, 4) - 1.2), 0, 1) * np.clip(
            12 * ndimage.uniform_filter(film, 3), 0, 1
        )
        film = np.maximum(film * np.float32(0.7), knots)
    kind = tissue("rim", field_t, draw.factors)
    return [
        make_layer(
            "leptomeningeal", kind, film, draw.concentration_mm, Label.ENHANCING, box=box, shape=anatomy.wm.shape
        )
    ]


def resection_cavity(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """Fluid with gliosis around it; a thin patchy rim that may enhance, and blood that is bright before contrast.

    Of the kind ``bloodrim`` the whole rim is blood.
    """
    rng = np.random.default_rng(draw.seed + 5)
    shape = anatomy.wm.shape
    box, rho = blob(draw, shape, 10)
    radius = float(np.mean(draw.radii_mm))
    room = np.clip(1 - anatomy.bone[box], 0, 1)
    gliosis = coverage(rho, radius + 4, 5.0) * anatomy.wm[box] * np.float32(rng.uniform(0.2, 0.9))
    layers = [_whole("oedema", "gliosis", gliosis, 0.0, Label.OEDEMA, field_t, rng, box, shape)]
    band_mm = float(rng.uniform(1.0, 2.5))
    band = coverage(rho, radius) - coverage(rho * np.float32(radius / max(radius - band_mm, 1)), radius - band_mm)
    patches = np.clip(0.3 + _local_noise(rng, rho, radius / 2), 0, 1)
    hollow = coverage(rho, radius) * room
    layers.append(_whole("cavity", "cavity", hollow, 0.0, Label.CAVITY, field_t, rng, box, shape))
    band = np.clip(band, 0, 1) * inside_brain(anatomy, box)
    if draw.concentration_mm > 0:
        level = np.float32(draw.concentration_mm) * patches
        layers.append(_whole("rim", "cavity rim", band, level, Label.ENHANCING, field_t, rng, box, shape))
    whole = draw.kind == "bloodrim"
    if whole or rng.random() < 0.4:
        blood = band * np.clip(_local_noise(rng, rho, radius / 2) + (1.0 if whole else -0.3), 0, 1)
        layers.append(_whole("bright", "cavity blood", blood, 0.0, Label.T1_BRIGHT, field_t, rng, box, shape))
    return layers


def _whole(
    tissue_name: str,
    name: str,
    alpha: Volume,
    level: Volume | float | np.floating,
    label: Label,
    field_t: float,
    rng: np.random.Generator,
    box: Box,
    shape: Shape,
) -> Layer:
    kind = tissue(tissue_name, field_t, draw_factors(rng))
    return make_layer(name, kind, alpha, np.asarray(level, np.float32), label, box=box, shape=shape)
