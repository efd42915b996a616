"""Lesions: metastases, gliomas, dural masses, and the many things that look like them and must not enhance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from simulation.anatomy import Anatomy
from simulation.fields import Shape, Volume, smooth_noise
from simulation.layers import Label, Layer, make_layer
from simulation.tissues import draw_factors, tissue

Box = tuple[slice, slice, slice]
ENHANCING_KINDS = ("metastasis", "glioma", "meningioma", "leptomeningeal")


@dataclass(frozen=True)
class LesionDraw:
    """Random parameters of one lesion.

    Attributes
    ----------
    kind
        ``metastasis``, ``glioma``, ``meningioma``, ``nonenhancing``, ``bright``, ``wmdisease``, ``cavity``.
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
    """

    kind: str
    centre: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    irregular: float
    concentration_mm: float
    rim: float
    oedema_mm: float
    factors: tuple[float, float, float, float]
    seed: int
    note: dict[str, float] = field(default_factory=dict)

    @property
    def diameter_mm(self) -> float:
        """Longest axis."""
        return 2 * max(self.radii_mm)


def draw_diameter(rng: np.random.Generator) -> float:
    """Diameter of a metastasis in mm: log-normal with median 5, from 1.5 to 40 (half under 5 mm)."""
    return float(np.clip(np.exp(rng.normal(np.log(5.0), 0.75)), 1.5, 40.0))


def draw_concentration(rng: np.random.Generator, level: float = 1.0) -> float:
    """Peak concentration at the full dose, mM: log-normal, median 0.2, sigma 0.6, within 0.02 to 1.2."""
    return float(np.clip(0.2 * level * np.exp(rng.normal(0, 0.6)), 0.02, 1.2))


def draw_lesion(
    rng: np.random.Generator,
    kind: str,
    centre: tuple[float, float, float],
    *,
    diameter_mm: float | None = None,
    level: float = 1.0,
) -> LesionDraw:
    """Draw one lesion of a kind at a place."""
    diameter = diameter_mm or _DIAMETERS[kind](rng)
    aspect = np.exp(rng.normal(0, 0.12 if diameter < 5 else 0.2, 3))
    radii = diameter / 2 * aspect / aspect.max()
    enhancing = kind in ENHANCING_KINDS
    ring = {"metastasis": 0.55 if diameter > 8 else 0.05, "glioma": 0.85}.get(kind, 0.0)
    swelling = {"metastasis": 0.6 if diameter > 6 else 0.1, "glioma": 1.0, "meningioma": 0.4}.get(kind, 0.0)
    return LesionDraw(
        kind=kind,
        centre=centre,
        radii_mm=(float(radii[0]), float(radii[1]), float(radii[2])),
        irregular=float(rng.uniform(0.02, 0.15) if diameter < 6 else rng.uniform(0.05, 0.45)),
        concentration_mm=draw_concentration(rng, level) if enhancing else 0.0,
        rim=float(rng.uniform(0.12, 0.5)) if rng.random() < ring else 1.0,
        oedema_mm=float(diameter * rng.uniform(0.3, 1.2)) if rng.random() < swelling else 0.0,
        factors=draw_factors(rng),
        seed=int(rng.integers(2**31)),
    )


_DIAMETERS: dict[str, Callable[[np.random.Generator], float]] = {
    "metastasis": draw_diameter,
    "glioma": lambda rng: float(rng.uniform(10, 50)),
    "meningioma": lambda rng: float(rng.uniform(5, 40)),
    "nonenhancing": lambda rng: float(np.exp(rng.uniform(np.log(3), np.log(45)))),
    "bright": lambda rng: float(np.exp(rng.uniform(np.log(2), np.log(25)))),
    "wmdisease": lambda rng: float(np.exp(rng.uniform(np.log(2), np.log(14)))),
    "cavity": lambda rng: float(rng.uniform(12, 45)),
}


def blob(draw: LesionDraw, shape: Shape, margin_mm: float) -> tuple[Box, Volume]:
    """The box around a lesion and its normalised radius rho (1 on the outline) in it."""
    rng = np.random.default_rng(draw.seed)
    reach = [r * (1 + 1.5 * draw.irregular) + margin_mm + 2 for r in draw.radii_mm]
    low = [max(0, int(np.floor(c - r))) for c, r in zip(draw.centre, reach, strict=True)]
    high = [min(n, int(np.ceil(c + r)) + 1) for c, r, n in zip(draw.centre, reach, shape, strict=True)]
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
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
    return np.clip(0.5 + (1 - rho) * np.float32(radius_mm / edge_mm), 0, 1)


def build_lesion(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """The layers of one lesion, outermost first."""
    return _BUILDERS.get(draw.kind, _mass)(draw, anatomy, field_t)


def _local(anatomy: Anatomy, box: Box) -> Volume:
    """How much parenchyma there is: lesions stay inside the brain."""
    return np.asarray(np.clip(0.5 - anatomy.distance[box], 0, 1), np.float32)


def _oedema(draw: LesionDraw, anatomy: Anatomy, field_t: float, box: Box, rho: Volume) -> Layer:
    """Oedema: finger-like, prefers white matter, fades out."""
    rng = np.random.default_rng(draw.seed + 1)
    radius = float(np.mean(draw.radii_mm))
    local: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
    outside_mm = (rho - 1) * np.float32(radius) + np.float32(0.35 * draw.oedema_mm) * smooth_noise(rng, local, 7)
    alpha = np.clip((np.float32(draw.oedema_mm) - outside_mm) / np.float32(max(2.0, 0.4 * draw.oedema_mm)), 0, 1)
    alpha *= np.clip(anatomy.wm[box] + 0.35 * anatomy.gm[box], 0, 1) * np.float32(rng.uniform(0.4, 0.95))
    kind = tissue("oedema", field_t, draw_factors(rng))
    return make_layer("oedema", kind, alpha, 0.0, Label.OEDEMA, box=box, shape=anatomy.wm.shape)


def _mass(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """A solid, ring or glioma-like mass with optional necrosis and oedema."""
    rng = np.random.default_rng(draw.seed + 2)
    shape = anatomy.wm.shape
    box, rho = blob(draw, shape, draw.oedema_mm + 1)
    radius = float(np.mean(draw.radii_mm))
    local: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
    layers = [_oedema(draw, anatomy, field_t, box, rho)] if draw.oedema_mm > 1 else []
    alpha = coverage(rho, radius) * _local(anatomy, box)
    texture = np.clip(1 + np.float32(rng.uniform(0, 0.45)) * smooth_noise(rng, local, max(radius / 2, 2)), 0.15, 2)
    names = {"metastasis": "metastasis", "glioma": "rim", "meningioma": "meningioma"}
    kind = tissue(names[draw.kind], field_t, draw.factors)
    concentration = np.float32(draw.concentration_mm) * texture
    if draw.kind == "glioma":
        gaps = smooth_noise(rng, local, max(radius * 0.6, 4))
        concentration = concentration * np.clip(0.5 + 0.8 * gaps + rng.uniform(0, 0.8), 0.0, 1.3)
    layers.append(make_layer(draw.kind, kind, alpha, concentration, Label.ENHANCING, box=box, shape=shape))
    if draw.rim < 1 and radius * (1 - draw.rim) > 1:
        inner = rho / np.float32(1 - draw.rim) * (1 + np.float32(0.2) * smooth_noise(rng, local, max(radius / 2, 2)))
        dead = coverage(inner, radius * (1 - draw.rim)) * _local(anatomy, box)
        leak = np.float32(draw.concentration_mm * rng.uniform(0, 0.12))
        core = tissue("necrosis", field_t, draw_factors(rng))
        layers.append(make_layer("necrosis", core, dead, leak, Label.NECROSIS, box=box, shape=shape))
    return layers


def _plain(name: str, label: Label, edge_mm: float = 1.5) -> Callable[[LesionDraw, Anatomy, float], list[Layer]]:
    """A builder of one-compartment lesions without agent."""

    def build(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
        box, rho = blob(draw, anatomy.wm.shape, 3)
        alpha = coverage(rho, float(np.mean(draw.radii_mm)), edge_mm) * _local(anatomy, box)
        alpha *= np.float32(np.random.default_rng(draw.seed + 3).uniform(0.6, 1.0))
        kind = tissue(name, field_t, draw.factors)
        return [make_layer(draw.kind, kind, alpha, 0.0, label, box=box, shape=anatomy.wm.shape)]

    return build


_BUILDERS: dict[str, Callable[[LesionDraw, Anatomy, float], list[Layer]]] = {
    "nonenhancing": _plain("lowgrade", Label.NON_ENHANCING, 3.0),
    "bright": _plain("bright", Label.T1_BRIGHT),
    "wmdisease": _plain("wmdisease", Label.WM_DISEASE, 2.0),
    "cavity": _plain("cavity", Label.CAVITY, 1.0),
}
