"""Compartments laid over the healthy tissues, and the rendering of a patient as signal.

A patient is base tissues plus an ordered list of layers. Each layer covers a share ``alpha`` of some
voxels with one tissue and a concentration; what was there before keeps ``1 - alpha``. Rendering mixes
signals, as a scanner does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.anatomy import Anatomy
from simulation.physics import Agent, Flow, Sequence, Tissue, signal


class Label(IntEnum):
    """Codes of the truth map; the dura of the convexity has none: it belongs to what lies around the brain."""

    NONE = 0
    NECROSIS = 1
    OEDEMA = 2
    ENHANCING = 3
    VESSEL = 4
    NON_ENHANCING = 5
    T1_BRIGHT = 6
    PLEXUS = 8
    WM_DISEASE = 9
    CAVITY = 10
    DURA = 11
    GLAND = 12


#: What takes up agent in everybody. A voxel is called so from a smaller share on than a lesion: vessels are thin.
NORMAL_ENHANCEMENT = (Label.VESSEL, Label.PLEXUS, Label.DURA, Label.GLAND)
_NORMAL_SHARE, _LESION_SHARE = 0.25, 0.4


@dataclass(frozen=True)
class Layer:
    """One compartment.

    Attributes
    ----------
    name
        For reports.
    tissue
    index : (n,) int
        Flat voxel indices.
    alpha : (n,) 0..1
        Volume fraction.
    concentration_mm : (n,) mM
        In the compartment, at the full dose.
    label
    flow
        Of blood that moves.
    """

    name: str
    tissue: Tissue
    index: NDArray[np.int64]
    alpha: NDArray[np.float32]
    concentration_mm: NDArray[np.float32]
    label: Label = Label.NONE
    flow: Flow | None = None


def make_layer(
    name: str,
    tissue: Tissue,
    alpha: Volume,
    concentration_mm: Volume | float,
    label: Label,
    *,
    box: tuple[slice, slice, slice] | None = None,
    shape: tuple[int, int, int],
) -> Layer:
    """A layer from a dense alpha map (of the whole grid, or of a box in it)."""
    keep = alpha > 0.01
    local = np.nonzero(keep)
    start = [s.start for s in box] if box else [0, 0, 0]
    index = np.ravel_multi_index(tuple(i + o for i, o in zip(local, start, strict=True)), shape)
    values = np.broadcast_to(np.asarray(concentration_mm, np.float32), alpha.shape)[keep]
    return Layer(name, tissue, index, alpha[keep].astype(np.float32), values, label)


@dataclass(frozen=True)
class Model:
    """A whole patient: what is where, before any scanner."""

    anatomy: Anatomy
    tissues: dict[str, Tissue]
    base_concentration_mm: dict[str, float]
    layers: list[Layer]
    agent: Agent


BASE = ("wm", "gm", "csf", "dura", "bone")


def _base_terms(
    sequence: Sequence, tissue: Tissue, agent: Agent, concentration: float
) -> tuple[NDArray[np.float64], float]:
    """Quadratic in (b1 - 1) and slope in log T1 of one base tissue."""
    offsets = np.array([-0.25, 0.0, 0.25])
    values = signal(sequence, tissue, agent=agent, concentration_mm=concentration, b1=1 + offsets)
    quadratic = np.polyfit(offsets, np.broadcast_to(values, 3), 2)
    step = 0.15
    high, low = (
        float(signal(sequence, tissue, agent=agent, concentration_mm=concentration, t1_factor=np.exp(s)))
        for s in (step, -step)
    )
    return quadratic, (high - low) / (2 * step)


def render(
    model: Model, sequence: Sequence, *, dose: float, b1: Volume | None = None, background: Volume | None = None
) -> Volume:
    """Noise-free signal of one sequence.

    Parameters
    ----------
    dose
        Multiple of the full dose (0 before contrast, 1 after, more for what nobody can inject).
    b1 : (z, y, x)
        Transmit field relative to nominal.
    background : (z, y, x)
        Signal outside the dura; plain bone if not given.

    Returns
    -------
    (z, y, x) float32, relative to M0 = 1
    """
    anatomy = model.anatomy
    total = np.zeros(anatomy.wm.shape, np.float32)
    offset = None if b1 is None else b1 - np.float32(1)
    for name in BASE:
        fraction: Volume = getattr(anatomy, name)
        if name == "bone" and background is not None:
            total += fraction * background
            continue
        concentration = dose * model.base_concentration_mm.get(name, 0.0)
        quadratic, slope = _base_terms(sequence, model.tissues[name], model.agent, concentration)
        if name not in ("wm", "gm"):
            total += np.float32(quadratic[2]) * fraction
            continue
        value = np.float32(slope) * anatomy.log_t1 + np.float32(quadratic[2])
        if offset is not None and sequence.kind in ("spgr", "mprage"):
            value += (np.float32(quadratic[0]) * offset + np.float32(quadratic[1])) * offset
        total += fraction * value
    flat = total.reshape(-1)
    for layer in model.layers:
        local_b1 = 1.0 if b1 is None or sequence.kind not in ("spgr", "mprage") else b1.reshape(-1)[layer.index]
        level = dose * layer.concentration_mm
        value = signal(sequence, layer.tissue, agent=model.agent, concentration_mm=level, b1=local_b1, flow=layer.flow)
        under = flat[layer.index]
        flat[layer.index] = under + layer.alpha * (value.astype(np.float32) - under)
    return total


def concentration_map(model: Model) -> Volume:
    """Voxel-average concentration at the full dose, mM."""
    anatomy = model.anatomy
    total = np.zeros(anatomy.wm.shape, np.float32)
    for name, value in model.base_concentration_mm.items():
        total += np.float32(value) * getattr(anatomy, name)
    return _composite(model, total, [layer.concentration_mm for layer in model.layers])


def adc_map(model: Model) -> Volume:
    """Voxel-average ADC, mm2/s (true, without noise)."""
    anatomy = model.anatomy
    total = np.zeros(anatomy.wm.shape, np.float32)
    for name in BASE:
        total += np.float32(model.tissues[name].adc_mm2_s) * getattr(anatomy, name)
    return _composite(model, total, [np.float32(layer.tissue.adc_mm2_s) for layer in model.layers])


def _composite(model: Model, base: Volume, values: list) -> Volume:  # type: ignore[type-arg]
    flat = base.reshape(-1)
    for layer, value in zip(model.layers, values, strict=True):
        flat[layer.index] += layer.alpha * (value - flat[layer.index])
    return base


def label_map(model: Model) -> NDArray[np.uint8]:
    """The dominant labelled layer of each voxel, later ones on top: lesions from an alpha of 0.4 on, others 0.25."""
    labels = np.zeros(model.anatomy.wm.size, np.uint8)
    for layer in model.layers:
        if layer.label != Label.NONE:
            least = _NORMAL_SHARE if layer.label in NORMAL_ENHANCEMENT else _LESION_SHARE
            labels[layer.index[layer.alpha >= least]] = int(layer.label)
    return labels.reshape(model.anatomy.wm.shape)
