"""One patient's healthy anatomy on the network grid: deformed tissue maps of ICBM 2009a, or of a real head."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.deformation import Deformation, DeformationDraw, draw_deformation
from simulation.fields import evaluate, smooth_noise
from simulation.frames import OFFSET, SHAPE
from simulation.head_labels import CEREBELLAR_CORTEX, Labels, select
from simulation.icbm import load_atlas
from simulation.label_maps import HeadChoice, load_head


@dataclass(frozen=True)
class AnatomyDraw:
    """Random parameters of the healthy anatomy; without a ``head`` it is that of the ICBM average."""

    deformation: DeformationDraw
    gamma: float
    grain: float
    grain_mm: float
    atrophy: float
    texture_sd: float
    shading_gain: float
    rim_mm: float
    sulci: float
    septum: float
    noise_seed: int
    head: HeadChoice | None = None


def draw_anatomy(rng: np.random.Generator) -> AnatomyDraw:
    """Draw shape, sharpness of the cortex, atrophy (wider sulci and ventricles), and T1 texture."""
    return AnatomyDraw(
        deformation=draw_deformation(rng, SHAPE, strength=float(rng.uniform(0.6, 1.3))),
        gamma=float(rng.uniform(1.8, 4.0)),
        grain=float(rng.uniform(0.1, 0.9)),
        grain_mm=float(rng.uniform(2.0, 4.5)),
        atrophy=float(rng.normal(0.9, 0.8)),
        texture_sd=float(rng.uniform(0.005, 0.04)),
        shading_gain=float(rng.uniform(0.4, 1.8)),
        rim_mm=float(rng.uniform(0.5, 3.0)),
        sulci=float(rng.uniform(0.0, 0.9)),
        septum=float(rng.uniform(0.2, 1.0)),
        noise_seed=int(rng.integers(2**31)),
    )


@dataclass
class Anatomy:
    """Fractions of the healthy tissues (they add to 1 everywhere) and helpers, (z, y, x) float32.

    ``distance`` is the signed distance from the brain's edge in mm (positive outside), ``log_t1`` the
    local logarithm of the T1 factor, ``ventricle`` the (blurred) ventricles. Of a real head there are also its
    ``labels`` (int16, numbers of `simulation.head_labels`) and the ``cavity``: the signed distance from the inner
    surface of the dura in mm.
    """

    wm: Volume
    gm: Volume
    csf: Volume
    dura: Volume
    bone: Volume
    distance: Volume
    log_t1: Volume
    ventricle: Volume
    brain: NDArray[np.bool_]
    deformation: Deformation
    labels: Labels | None = None
    cavity: Volume | None = None


def build_anatomy(draw: AnatomyDraw) -> Anatomy:
    """Deform and sharpen the atlas or the real head drawn, and wrap the brain in CSF, dura and skull."""
    return _from_average(draw) if draw.head is None else _from_head(draw, draw.head)


def _from_average(draw: AnatomyDraw) -> Anatomy:
    atlas = load_atlas()
    rng = np.random.default_rng(draw.noise_seed)
    deformation = Deformation(draw.deformation, SHAPE)
    wm, gm, csf, distance, shading, deep, ventricle, septa = deformation.sample(
        [atlas.wm, atlas.gm, atlas.csf, atlas.distance, atlas.shading, atlas.deep, atlas.ventricle, atlas.septa],
        [0, 0, 0, 30, 0, 0, 0, 0],
    )
    wm, gm, csf = _sharpen(draw, rng, (wm, gm, csf), deep)
    _carve_sulci(draw, rng, gm, csf, distance)
    brain = distance < 0
    inside = np.clip(0.5 - distance, 0, 1)
    rim = np.clip(np.exp(0.4 * smooth_noise(rng, SHAPE, 20)) * np.float32(draw.rim_mm), 0.2, 6)
    dura_mm = np.float32(rng.uniform(0.6, 1.4))
    csf_out = np.clip(rim + 0.5 - distance, 0, 1) - inside
    dura = np.clip(rim + dura_mm + 0.5 - distance, 0, 1) - inside - csf_out
    bone = 1 - inside - csf_out - dura
    septa = septa * np.float32(draw.septum)
    keep = 1 - septa
    wm, gm, csf, dura = wm * keep, gm * keep, csf * keep, dura + septa * inside
    texture = smooth_noise(rng, SHAPE, 5) * np.float32(draw.texture_sd)
    texture += smooth_noise(rng, SHAPE, 30) * np.float32(draw.texture_sd)
    log_t1 = np.clip(texture - np.float32(1.8 * draw.shading_gain) * shading, -0.4, 0.4)
    return Anatomy(
        wm * inside, gm * inside, csf * inside + csf_out, dura, bone, distance, log_t1, ventricle, brain, deformation
    )


# A real head's borders are sharp already, and its sulci have their own width: less is done to both than to the average.
_HEAD_GAMMA, _HEAD_GRAIN, _MEAN_ATROPHY = 0.35, 0.4, 0.9


def _from_head(draw: AnatomyDraw, choice: HeadChoice) -> Anatomy:
    maps = load_head(choice)
    rng = np.random.default_rng(draw.noise_seed)
    deformation = Deformation(draw.deformation, SHAPE)
    wm, gm, distance, cavity, mixture, log_t1, ventricle, septa = deformation.sample(
        [maps.wm, maps.gm, maps.distance, maps.cavity, maps.mixture, maps.log_t1, maps.ventricle, maps.septa],
        [0, 0, 30, 30, 0, 0, 0, 0],
    )
    labels = deformation.sample_labels(maps.labels, OFFSET)
    gentle = replace(
        draw,
        gamma=1 + _HEAD_GAMMA * (draw.gamma - 1),
        grain=_HEAD_GRAIN * draw.grain,
        atrophy=draw.atrophy - _MEAN_ATROPHY,
    )
    wm, gm, csf = _sharpen(gentle, rng, (wm, gm, np.clip(1 - wm - gm, 0, 1)), np.float32(0))
    _fold_cerebellum(draw, rng, gm, csf, select(labels, CEREBELLAR_CORTEX))
    mixture = mixture * np.float32(0.7 + 0.3 * draw.shading_gain)
    to_white = gm * np.clip(mixture, 0, 1) - wm * np.clip(-mixture, 0, 1)
    wm, gm = wm + to_white, gm - to_white
    # More or less fluid around the brain, by up to a millimetre.
    edge = cavity - np.float32(0.4 * (draw.rim_mm - 1.75)) - np.float32(0.3) * smooth_noise(rng, SHAPE, 20)
    inside: Volume = np.asarray(np.clip(0.5 - edge, 0, 1), np.float32)
    dura: Volume = np.asarray(np.clip(np.float32(rng.uniform(0.6, 1.4)) + 0.5 - edge, 0, 1) - inside, np.float32)
    bone = 1 - inside - dura
    septa = septa * np.float32(draw.septum)
    keep = inside * (1 - septa)
    texture = smooth_noise(rng, SHAPE, 5) * np.float32(draw.texture_sd)
    texture += smooth_noise(rng, SHAPE, 30) * np.float32(draw.texture_sd)
    log_t1 = np.clip(texture + np.float32(draw.shading_gain) * log_t1, -0.5, 0.4)
    return Anatomy(
        wm * keep, gm * keep, csf * keep, dura + septa * inside, bone, distance, log_t1, ventricle, distance < 0,
        deformation, labels, edge,
    )  # fmt: skip


def _fold_cerebellum(
    draw: AnatomyDraw, rng: np.random.Generator, gm: Volume, csf: Volume, cortex: NDArray[np.bool_]
) -> None:
    """Fluid between the folia, in place: labels of 1 mm have lost them. They run from side to side, 4 mm apart."""
    coarse = tuple(max(1, round(n / spacing)) + 3 for n, spacing in zip(SHAPE, (3.0, 3.5, 14.0), strict=True))
    noise = evaluate(rng.standard_normal(coarse, dtype=np.float32), SHAPE)
    sheet = np.exp(-((noise / (np.float32(0.25) * noise.std())) ** 2))
    moved = gm * sheet * cortex * np.float32(0.5 * draw.sulci)
    gm -= moved
    csf += moved


def _carve_sulci(draw: AnatomyDraw, rng: np.random.Generator, gm: Volume, csf: Volume, distance: Volume) -> None:
    """Thin sheets of CSF in the cortex, in place: the average brain has lost its small sulci."""
    sheet = np.exp(-((smooth_noise(rng, SHAPE, 8) / np.float32(0.13)) ** 2))
    shallow = np.clip((distance + 20) / 8, 0, 1) * np.clip(-distance / 2, 0, 1)
    moved = gm * sheet * shallow * np.float32(draw.sulci)
    gm -= moved
    csf += moved


def _sharpen(
    draw: AnatomyDraw, rng: np.random.Generator, maps: tuple[Volume, Volume, Volume], deep: Volume | np.float32
) -> tuple[Volume, Volume, Volume]:
    """p^gamma with band-limited noise on the logits; the deep grey matter keeps its real mixture."""
    wm, gm, csf = maps
    grain = [smooth_noise(rng, SHAPE, draw.grain_mm) * np.float32(draw.grain) for _ in range(2)]
    power = [(p + np.float32(0.004)) ** np.float32(draw.gamma) for p in maps]
    power[0] *= np.exp(grain[0])
    power[2] *= np.exp(grain[1] + np.float32(draw.atrophy))
    total = power[0] + power[1] + power[2]
    sharp = [p / total for p in power]
    whole = np.maximum(wm + gm + csf, 1e-3)
    return tuple(s + deep * (p / whole - s) for s, p in zip(sharp, maps, strict=True))
