"""All vessels and coverings of one patient, as layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from simulation.anatomy import Anatomy
from simulation.fields import smooth_noise
from simulation.frames import SHAPE
from simulation.layers import Label, Layer
from simulation.physics import Flow, Tissue
from simulation.vasculature import growth, variants
from simulation.vasculature.coverings import dura_layer, pia_layer
from simulation.vasculature.deep_vessels import medullary_veins, perforators
from simulation.vasculature.flow import BloodKind
from simulation.vasculature.named_trunks import Course, draw_courses, tubes_of
from simulation.vasculature.painting import Points, Tubes, join, paint
from simulation.vasculature.terrain import Terrain, build_terrain


@dataclass(frozen=True)
class VasculatureDraw:
    """Random parameters of one patient's vessels.

    Attributes
    ----------
    calibre
        Factor on every radius.
    veins, arteries
        Terminals of the cortical trees.
    vein_mm, artery_mm : mm
        Radius at a terminal.
    medullary
        Number of medullary veins.
    """

    calibre: float
    jitter_mm: float
    veins: int
    arteries: int
    vein_mm: float
    artery_mm: float
    medullary: int
    seed: int


def draw_vasculature(rng: np.random.Generator) -> VasculatureDraw:
    """Draw one patient's vessels."""
    return VasculatureDraw(
        calibre=float(np.exp(rng.normal(0, 0.12))),
        jitter_mm=float(rng.uniform(0.5, 2.0)),
        veins=int(rng.integers(3500, 11000)),
        arteries=int(rng.integers(1000, 3500)),
        vein_mm=float(rng.uniform(0.22, 0.32)),
        artery_mm=float(rng.uniform(0.19, 0.27)),
        medullary=int(rng.integers(20, 200)),
        seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class Blood:
    """What the vessels carry: tissue and flow per kind, concentrations at the full dose in mM."""

    tissue: Mapping[BloodKind, Tissue]
    flow: Mapping[BloodKind, Flow]
    blood_mm: float
    plasma_mm: float
    dura_mm: float


def blood_of(blood: Tissue, field_t: float) -> dict[BloodKind, Tissue]:
    """Blood per kind of vessel: arterial has a longer T2 than venous (Stanisz 2005; Zhao, MRM 58:592, 2007)."""
    factor = 1.8 if field_t < 2 else 3.5
    artery = replace(blood, t2_ms=blood.t2_ms * factor, t2s_ms=blood.t2s_ms * factor * 0.7)
    return {"artery": artery, "vein": blood, "sinus": blood, "small": blood}


def build_vasculature(
    draw: VasculatureDraw, anatomy: Anatomy, blood: Blood, tissues: Mapping[str, Tissue]
) -> list[Layer]:
    """Layers of one patient: coverings first, then small vessels, veins, arteries, sinuses and variants.

    Parameters
    ----------
    draw
    anatomy
    blood
    tissues
        ``dura`` and ``wm`` are used.

    Returns
    -------
    list of Layer
        Those of blood carry a flow.
    """
    rng = np.random.default_rng(draw.seed)
    terrain = build_terrain(anatomy)
    courses = draw_courses(rng, terrain, draw.calibre, draw.jitter_mm)
    veins, arteries = _cortical(draw, rng, terrain, courses)
    small = join([perforators(rng, terrain), medullary_veins(rng, terrain, draw.medullary)])
    tubes: dict[BloodKind, Tubes] = {
        "small": small,
        "vein": join([veins, *(tubes_of(c, terrain) for c in courses if c.trunk.kind == "vein")]),
        "artery": join([arteries, *(tubes_of(c, terrain) for c in courses if c.trunk.kind == "artery")]),
        "sinus": join([tubes_of(c, terrain) for c in courses if c.trunk.kind == "sinus"]),
    }
    layers = [
        pia_layer(rng, terrain, blood.tissue["small"], blood.blood_mm, blood.flow["small"]),
        dura_layer(rng, terrain, tissues["dura"], blood.dura_mm),
    ]
    for kind, lines in tubes.items():
        index, alpha = _sinuses(lines, terrain) if kind == "sinus" else paint(lines, SHAPE)
        level = np.full(index.shape, blood.blood_mm, np.float32)
        layers.append(Layer(kind, blood.tissue[kind], index, alpha, level, Label.VESSEL, blood.flow[kind]))
    return layers + _variants(rng, terrain, tubes["vein"].points, blood, tissues)


def _sinuses(tubes: Tubes, terrain: Terrain) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Sinuses as drawn, together with what the label map shows beside them; tissue of the brain gives way by half."""
    anatomy = terrain.anatomy
    index, alpha = paint(tubes, SHAPE)
    dense = np.zeros(SHAPE, np.float32)
    if "sinus" in terrain.seen:
        voxels = terrain.seen["sinus"].data
        gap, _ = cKDTree(tubes.points).query(voxels, distance_upper_bound=5.0)
        dense[tuple(voxels[np.isfinite(gap)].astype(int).T)] = 1
        dense = np.asarray(ndimage.gaussian_filter(dense, 0.6), np.float32)
    flat = dense.reshape(-1)
    flat[index] = np.maximum(flat[index], alpha)
    flat *= np.clip(1.2 - anatomy.wm - 0.8 * anatomy.gm, 0, 1).reshape(-1)
    filled = np.nonzero(flat > 0.02)[0]
    return filled, flat[filled]


def _cortical(
    draw: VasculatureDraw, rng: np.random.Generator, terrain: Terrain, courses: list[Course]
) -> tuple[Tubes, Tubes]:
    """Veins and arteries of the surface, each grown from its trunks."""
    anatomy = terrain.anatomy
    habitat = (anatomy.csf > 0.3) & (terrain.outside < 0.5) & (anatomy.distance < 5) & (anatomy.ventricle < 0.3)
    space = growth.build_space(habitat)
    pial = _pial_nodes(anatomy, space)
    result = []
    for kinds, count, radius in (
        (("vein", "sinus"), draw.veins, draw.vein_mm),
        (("artery",), draw.arteries, draw.artery_mm),
    ):
        lines = np.concatenate([c.line for c in courses if c.trunk.kind in kinds and c.trunk.parent])
        roots = growth.nearest_nodes(space, lines, 4.0)
        cost = _cost(rng, terrain, space)
        terminals = rng.choice(pial, min(count, len(pial)), replace=False)
        tree = growth.grow(space, cost, roots, terminals)
        radii = growth.murray_radii(tree.flow, radius * draw.calibre)
        result.append(growth.tubes_of(tree, np.minimum(radii, 2.2), lines))
    return result[0], result[1]


def _pial_nodes(anatomy: Anatomy, space: growth.Space) -> NDArray[np.int64]:
    """Nodes beside the cortex."""
    near = ndimage.uniform_filter(anatomy.gm, 3)
    node = tuple(space.points.astype(int).T)
    return np.nonzero(near[node] > 0.15)[0]


def _cost(rng: np.random.Generator, terrain: Terrain, space: growth.Space) -> NDArray[np.float64]:
    """What a voxel costs a vessel: little in fluid, more far outside the brain; random at two scales."""
    node = tuple(space.points.astype(int).T)
    noise = 0.5 * smooth_noise(rng, SHAPE, 6)[node] + rng.normal(0, 0.35, len(space.points))
    open_ = 1.6 - terrain.anatomy.csf[node] + 0.4 * np.clip(terrain.anatomy.distance[node], 0, 5)
    return np.asarray(np.exp(noise) * open_, float)


def _variants(
    rng: np.random.Generator, terrain: Terrain, surface: Points, blood: Blood, tissues: Mapping[str, Tissue]
) -> list[Layer]:
    """Variants that this patient has."""
    has = {name: rng.random() < share for name, share in variants.SHARES.items()}
    layers = []
    if has["telangiectasia"]:
        layers.append(variants.telangiectasia(rng, terrain, tissues["wm"], blood.plasma_mm))
    found: list[tuple[str, BloodKind, Tubes]] = []
    if has["venous anomaly"]:
        found.append(("venous anomaly", "vein", variants.venous_anomaly(rng, terrain, surface)))
    if has["aneurysm"]:
        found.append(("aneurysm", "artery", variants.aneurysm(rng, terrain)))
    if has["infundibulum"]:
        found.append(("infundibulum", "artery", variants.infundibulum(rng, terrain)))
    for name, kind, tubes in found:
        if len(tubes.points):
            layer = variants.paint_variant(tubes, blood.tissue[kind], name, blood.blood_mm)
            layers.append(replace(layer, flow=blood.flow[kind]))
    return layers
