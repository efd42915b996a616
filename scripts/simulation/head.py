"""Whole heads at 2 mm with the true brain mask, in any contrast, to train the brain extractor.

The array runs as the network's grid does: x to the right, y to the front, z up. Contrast is either
physics (T1, T1c, FLAIR, T2, b = 0) or a random grey value per tissue, so that only shape can be learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.corruption import apply_operators, axis_operator
from simulation.deformation import Deformation, draw_deformation
from simulation.fields import bias_field, smooth_noise, stream
from simulation.frames import HEAD_SHAPE, SHAPE, window
from simulation.head_labels import Labels
from simulation.head_tissues import BLOOD, outer_of_labels
from simulation.icbm import load_atlas
from simulation.label_maps import HeadChoice, Purpose, draw_head_choice, load_head
from simulation.outer_head import (
    Coordinates,
    Outer,
    build_outer,
    coordinates,
    draw_head,
    hull_distance,
    signed_distance,
)
from simulation.physics import Sequence, Tissue, plasma_concentration, signal
from simulation.protocols import draw_protocol
from simulation.tissues import draw_agent, draw_brain_tissues

HEAD_SHAPE_2MM = (112, 128, 112)  # z, y, x
_CANONICAL = (110, 120, 100)
_ORIGIN_MNI = (-99.5, -129.5, -117.5)
_BRAIN = (slice(23, 103), slice(8, 104), slice(10, 90))  # the network's grid, halved, in the canonical head
_CLASSES = len(Outer)
# Codes after those of `Outer`: what the brain itself is made of.
_WM, _GM, _CSF, _TUMOUR, _NECROSIS, _OEDEMA, _CAVITY, _SINUS = range(_CLASSES, _CLASSES + 8)

_TISSUE_NAMES = {
    Outer.CSF: "csf", Outer.DURA: "dura", Outer.BONE: "bone", Outer.MARROW: "marrow", Outer.MUSCLE: "muscle",
    Outer.FAT: "fat", Outer.SKIN: "scalp", Outer.VITREOUS: "vitreous", Outer.MUCOSA: "plexus", Outer.CORD: "wm",
    Outer.GLAND: "pituitary", _WM: "wm", _GM: "gm", _CSF: "csf", _TUMOUR: "metastasis", _NECROSIS: "necrosis",
    _OEDEMA: "oedema", _CAVITY: "cavity", _SINUS: "blood",
}  # fmt: skip
_UPTAKE = {
    Outer.MUCOSA: 0.5, Outer.GLAND: 0.4, Outer.MUSCLE: 0.08, Outer.SKIN: 0.12, Outer.DURA: 0.3, _TUMOUR: 0.35,
    _SINUS: 0.55, _GM: 0.03, _WM: 0.015,
}  # fmt: skip


@dataclass(frozen=True)
class SimulatedHead:
    """One head.

    Attributes
    ----------
    image : (112, 128, 112) float32
        2 mm voxels, arbitrary units, 0 where the field of view ends.
    brain : (112, 128, 112) bool
        True mask: parenchyma with its inner and sulcal CSF, as in the ICBM brain mask; what the field of view cuts off
        is not in it.
    contrast
        ``random``, ``t1``, ``t1c``, ``flair``, ``t2`` or ``b0``.
    """

    image: Volume
    brain: NDArray[np.bool_]
    contrast: str


@lru_cache(maxsize=1)
def _canonical() -> tuple[Volume, Volume, Volume, Volume, Coordinates]:
    """Atlas fractions (wm, gm) at 2 mm in the canonical head, distance and hull distance, coordinates."""
    atlas = load_atlas()

    def halve(volume: Volume) -> Volume:
        z, y, x = (n // 2 for n in SHAPE)
        out = np.zeros(_CANONICAL, np.float32)
        out[_BRAIN] = volume.reshape(z, 2, y, 2, x, 2).mean((1, 3, 5))
        return out

    brain = halve((atlas.distance < 0).astype(np.float32)) >= 0.5
    distance = signed_distance(brain, 2.0)
    hull = hull_distance(distance, 2.0)
    return halve(atlas.wm), halve(atlas.gm), distance, hull, coordinates(_ORIGIN_MNI, _CANONICAL, 2.0)


def _halve(volume: Volume) -> Volume:
    """2 mm voxels, each the mean of eight."""
    z, y, x = (n // 2 for n in volume.shape)
    return np.asarray(volume.reshape(z, 2, y, 2, x, 2).mean((1, 3, 5)), np.float32)


@lru_cache(maxsize=4)
def _real(choice: HeadChoice) -> tuple[Volume, Volume, Volume, Volume, Labels]:
    """Fractions (wm, gm) at 2 mm of a real head, distance from its brain, from its dura, and its labels."""
    maps = load_head(choice)
    wm, gm, distance, cavity = (
        np.full(HEAD_SHAPE, value, np.float32) for value in (0.0, 0.0, maps.distance.max(), maps.cavity.max())
    )
    for volume, part in ((wm, maps.wm), (gm, maps.gm), (distance, maps.distance), (cavity, maps.cavity)):
        volume[window()] = part
    labels = np.ascontiguousarray(maps.labels[::2, ::2, ::2])
    return _halve(wm), _halve(gm), _halve(distance), _halve(cavity), labels


#: What a head can look like, and how often where nobody chooses.
CONTRASTS = {"random": 0.26, "t1": 0.18, "t1c": 0.18, "flair": 0.12, "t2": 0.12, "b0": 0.14}


def draw_contrast(rng: np.random.Generator, wanted: str | None = None) -> tuple[str, NDArray[np.float32]]:
    """Name of a contrast, the wanted one if there is one, and the grey value of every class (brain mean about 1)."""
    drawn = str(rng.choice(list(CONTRASTS), p=list(CONTRASTS.values())))
    name = drawn if wanted is None else wanted
    values = _random_values(rng) if name == "random" else _physics_values(rng, name)
    spread = np.exp(rng.normal(0, 0.12, len(values)))
    values = values * spread
    if rng.random() < 0.35 or name == "b0":  # fat saturation
        values[[Outer.FAT, Outer.MARROW, Outer.SKIN]] *= rng.uniform(0.02, 0.5)
    brain = 0.45 * values[_WM] + 0.55 * values[_GM]
    return name, np.asarray(np.minimum(values / max(brain, 1e-6), 12.0), np.float32)


def _random_values(rng: np.random.Generator) -> NDArray[np.float64]:
    values = rng.uniform(0.05, 1.6, _CLASSES + 8)
    values[Outer.AIR] = 0.0
    values[Outer.BONE] = rng.uniform(0.0, 0.4)
    values[_WM], values[_GM] = rng.uniform(0.5, 1.2, 2)
    values[_CSF] = values[Outer.CSF] * rng.uniform(0.9, 1.1)
    return values


def _physics_values(rng: np.random.Generator, name: str) -> NDArray[np.float64]:
    protocol = draw_protocol(rng)
    tissues: dict[str, Tissue] = draw_brain_tissues(rng, protocol.field_t)
    agent = draw_agent(rng, protocol.field_t)
    sequences: dict[str, Sequence] = {
        "t1": protocol.t1, "t1c": protocol.t1c, "flair": protocol.flair, "b0": protocol.b0,
        "t2": Sequence("se", float(rng.uniform(3000, 6000)), float(rng.uniform(80, 120))),
    }  # fmt: skip
    plasma = plasma_concentration(0.1, float(rng.uniform(2, 10))) if name == "t1c" else 0.0
    values = np.zeros(_CLASSES + 8)
    for code, tissue_name in _TISSUE_NAMES.items():
        uptake = plasma * _UPTAKE.get(code, 0.0) * float(np.exp(rng.normal(0, 0.5)))
        values[code] = float(signal(sequences[name], tissues[tissue_name], agent=agent, concentration_mm=uptake))
    return values


def _pathology(rng: np.random.Generator, at: Coordinates, distance: Volume, codes: NDArray[np.uint8]) -> None:
    """Tumours, oedema and resection cavities, some of them at the brain's surface."""
    for _ in range(int(rng.choice((0, 1, 2, 4), p=(0.45, 0.3, 0.15, 0.1)))):
        places = np.argwhere((distance < -4) & (distance > -45))
        z, y, x = places[int(rng.integers(len(places)))]
        centre = (float(at.x[0, 0, x]), float(at.y[0, y, 0]), float(at.z[z, 0, 0]))
        radius = float(np.exp(rng.uniform(np.log(3), np.log(28))))
        shape = at.ellipsoid(centre, tuple(radius * np.exp(rng.normal(0, 0.2, 3))))
        shape = shape + radius * 0.25 * smooth_noise(rng, at.shape, max(radius / 3, 3))
        inside = codes >= _CLASSES
        codes[inside & (shape < radius * rng.uniform(0, 1))] = _OEDEMA
        kind = str(rng.choice(("solid", "ring", "cavity"), p=(0.4, 0.4, 0.2)))
        codes[inside & (shape < 0)] = _CAVITY if kind == "cavity" else _TUMOUR
        if kind == "ring":
            codes[inside & (shape < -radius * rng.uniform(0.15, 0.5))] = _NECROSIS


def _brain_codes(rng: np.random.Generator, wm: Volume, gm: Volume) -> NDArray[np.uint8]:
    """Hard tissue classes with ragged borders; more or less CSF."""
    grain = float(rng.uniform(0.02, 0.2))
    csf = np.clip(1 - wm - gm, 0, 1) + np.float32(rng.uniform(-0.1, 0.25)) + grain * smooth_noise(rng, wm.shape, 2.5)
    codes = np.where(wm > gm + grain * smooth_noise(rng, wm.shape, 2.5), _WM, _GM)
    return np.asarray(np.where(csf > np.maximum(wm, gm), _CSF, codes), np.uint8)


def simulate_head(
    seed: int, contrast: str | None = None, *, anatomies: Path | None = None, purpose: Purpose = "training"
) -> SimulatedHead:
    """Simulate one head; the same seed gives the same bytes. About half a second.

    Parameters
    ----------
    contrast
        One of `CONTRASTS` instead of the seed's own.
    anatomies
        Folder of real heads; without it the head is drawn around the ICBM average.
    purpose
        Which of them may be drawn.
    """
    rng = stream(seed, "head-2mm")
    if anatomies is None:
        codes, distance = _drawn_codes(rng)
    else:
        codes, distance = _real_codes(rng, draw_head_choice(stream(seed, "real head"), anatomies, purpose))
    at, brain = _canonical()[4], distance < 0
    _pathology(rng, at, distance, codes)
    contrast, values = draw_contrast(rng, contrast)
    texture = 1 + np.float32(rng.uniform(0, 0.12)) * smooth_noise(rng, at.shape, float(rng.uniform(2, 10)))
    image = values[codes] * texture
    warped, mask = _pose(rng, image, brain.astype(np.float32))
    truth = mask >= 0.5
    acquired, view = _acquire(rng, warped, truth)
    return SimulatedHead(acquired, truth & view, contrast)


def _drawn_codes(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Volume]:
    """Classes of a head around the ICBM average, and the distance from its brain."""
    wm, gm, distance, hull, at = _canonical()
    codes = build_outer(draw_head(rng), at, distance, hull)
    brain = distance < 0
    inner = _brain_codes(rng, wm, gm)
    codes[brain] = inner[brain]
    sinus = (hull > -1) & (hull < rng.uniform(2, 7)) & (np.abs(at.x) < rng.uniform(2, 5))
    codes[sinus & ~brain & ((at.z > 30) | (at.y < -85))] = _SINUS
    return codes, distance


def _real_codes(rng: np.random.Generator, choice: HeadChoice) -> tuple[NDArray[np.uint8], Volume]:
    """Classes of a real head, and the distance from its brain. Its vessels are blood inside the brain, too."""
    wm, gm, distance, cavity, labels = _real(choice)
    draw = draw_head(rng)
    codes = outer_of_labels(draw, labels, cavity, 2.0, dura_mm=draw.dura_mm)
    vessel, parenchyma = codes == BLOOD, codes == Outer.INSIDE
    inner = _brain_codes(rng, wm, gm)
    codes[parenchyma | (distance < 0)] = inner[parenchyma | (distance < 0)]
    codes[vessel] = _SINUS
    return codes, distance


def _pose(rng: np.random.Generator, image: Volume, mask: Volume) -> tuple[Volume, Volume]:
    """Random orientation (up to about 20 degrees), scale, shift, mirror and smooth deformation."""
    pad = [((t - c) // 2, t - c - (t - c) // 2) for t, c in zip(HEAD_SHAPE_2MM, _CANONICAL, strict=True)]
    channels = [np.pad(v, pad) for v in (image, mask)]
    draw = draw_deformation(
        rng, HEAD_SHAPE_2MM, rotation_deg=9.0, scale=0.08, shift=5.0, strength=float(rng.uniform(0.2, 0.8))
    )
    warped = Deformation(draw, HEAD_SHAPE_2MM).sample(channels, [0.0, 0.0])
    if rng.random() < 0.5:
        warped = [np.ascontiguousarray(w[:, :, ::-1]) for w in warped]
    return warped[0], warped[1]


def _acquire(rng: np.random.Generator, image: Volume, brain: NDArray[np.bool_]) -> tuple[Volume, NDArray[np.bool_]]:
    """Slices, blur, receive field, noise, ghosts, and heads that come brain-extracted; and the field of view."""
    if rng.random() < 0.05:
        image = image * brain
    thickness = [2.0, 2.0, 2.0]
    if rng.random() < 0.45:
        thickness[int(rng.choice(3, p=(0.7, 0.1, 0.2)))] = float(rng.uniform(3, 7))
    operators = tuple(
        axis_operator(n, float(rng.uniform(0.2, 0.7)), t / 2, 0.0) for n, t in zip(image.shape, thickness, strict=True)
    )
    out = apply_operators(image, operators)
    out = out * bias_field(rng, HEAD_SHAPE_2MM, float(rng.uniform(0.02, 0.4)), int(rng.integers(1, 4)))
    if rng.random() < 0.15:
        out = np.abs(out + np.float32(rng.uniform(0.02, 0.1)) * np.roll(out, int(rng.integers(10, 50)), 1))
    level = np.float32(np.exp(rng.uniform(np.log(0.005), np.log(0.12))) * out[brain].mean())
    real, imaginary = (rng.standard_normal(out.shape, dtype=np.float32) * level for _ in range(2))
    out = np.hypot(out + real, imaginary)
    view = _field_of_view(rng, brain)
    return np.where(view, out, 0).astype(np.float32), view


def _field_of_view(rng: np.random.Generator, brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """End the image somewhere in the neck or face, rarely through the brain (at most 12 mm of it)."""
    view = np.ones(brain.shape, bool)
    for axis in range(3):
        inside = np.nonzero(brain.any(tuple(a for a in range(3) if a != axis)))[0]
        for side, probability in ((0, 0.6 if axis == 0 else 0.25), (1, 0.2)):
            if rng.random() > probability:
                continue
            gap = int(rng.integers(-6, 1)) if axis == 0 and rng.random() < 0.25 else int(rng.integers(1, 30))
            cut = [slice(None)] * 3
            cut[axis] = slice(0, max(inside[0] - gap, 0)) if side == 0 else slice(inside[-1] + 1 + gap, None)
            view[tuple(cut)] = False
    return view


def write_heads(folder: Path, seeds: range, anatomies: Path | None = None) -> Iterator[tuple[int, Path]]:
    """Write heads as ``NNNNNN.npy``, (2, z, y, x) uint8: image (0 to its 99.8th percentile as 0..255) and mask."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"{seed:06d}.npy"
        if not path.exists():
            head = simulate_head(seed, anatomies=anatomies)
            top = max(float(np.percentile(head.image, 99.8)), 1e-6)
            image = np.clip(head.image * (255 / top) + 0.5, 0, 255).astype(np.uint8)
            part = path.with_suffix(".part.npy")
            np.save(part, np.stack([image, head.brain.astype(np.uint8)]))
            part.replace(path)
        yield seed, path
