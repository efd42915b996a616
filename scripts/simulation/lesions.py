"""Lesions: metastases, gliomas, dural masses, and the many things that look like them and must not enhance.

Kinds that enhance: ``metastasis``, ``miliary`` (metastases of 2 to 5 mm in number), ``glioma``, ``lymphoma`` (large,
even), ``meningioma``, ``leptomeningeal``, ``postoperative``.
Kinds that do not: ``nonenhancing`` (low-grade tumour, cyst, scar, infarct), ``bright`` (blood, melanin,
protein, fat: bright on T1 without agent), ``laminar`` (bright cortex), ``wmdisease``, ``cavity``, ``bloodrim`` (a
cavity with a rim of blood).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from simulation.anatomy import Anatomy
from simulation.fields import Shape, smooth_noise
from simulation.frames import SHAPE
from simulation.gliomas import ring_mass, solid_mass
from simulation.layers import Label, Layer, make_layer
from simulation.lesion_shapes import LesionDraw, blob, coverage, inside_brain, oedema_layer
from simulation.meninges import dural_mass, leptomeningeal_sheet, resection_cavity
from simulation.places import beside, draw_site, place
from simulation.tissues import draw_factors, tissue

ENHANCING_KINDS = ("metastasis", "miliary", "glioma", "lymphoma", "meningioma", "leptomeningeal", "postoperative")
MIMIC_KINDS = ("nonenhancing", "bright", "laminar", "wmdisease", "cavity", "bloodrim")

FAINT_SHARE = 0.2
_FAINT_MM = (0.035, 0.1)
_DIAMETERS_MM: dict[str, tuple[float, float]] = {
    "miliary": (2, 5), "glioma": (10, 60), "lymphoma": (10, 45), "meningioma": (4, 40), "leptomeningeal": (15, 60),
    "postoperative": (12, 45), "nonenhancing": (3, 45), "bright": (2, 25), "laminar": (10, 30), "wmdisease": (2, 14),
    "cavity": (12, 45), "bloodrim": (10, 45),
}  # fmt: skip
_TISSUES = {
    "metastasis": "metastasis", "miliary": "metastasis", "glioma": "rim", "lymphoma": "metastasis",
    "meningioma": "meningioma", "bright": "bright", "laminar": "bright", "wmdisease": "wmdisease", "cavity": "cavity",
    "bloodrim": "cavity",
}  # fmt: skip


def draw_diameter(rng: np.random.Generator, kind: str = "metastasis") -> float:
    """Diameter in mm; of a metastasis log-normal with median 5, from 1.5 to 40 (half under 5 mm), else log-uniform."""
    if kind != "metastasis":
        return float(np.exp(rng.uniform(*np.log(_DIAMETERS_MM[kind]))))
    return float(np.clip(np.exp(rng.normal(np.log(5.0), 0.75)), 1.5, 40.0))


def draw_concentration(rng: np.random.Generator, level: float = 1.0) -> float:
    """Peak concentration at the full dose, mM: log-normal, median 0.2, sigma 0.6, within 0.02 to 1.2.

    One in five is faint: 0.035 to 0.1 mM add 0.15 to 0.4 of the brain's median in gradient and spin echoes.
    """
    if rng.random() < FAINT_SHARE:
        return float(np.exp(rng.uniform(*np.log(_FAINT_MM))))
    return float(np.clip(0.2 * level * np.exp(rng.normal(0, 0.6)), 0.02, 1.2))


def _nonenhancing_tissue(rng: np.random.Generator) -> tuple[str, tuple[float, float, float, float]]:
    """Low-grade tumour, cyst or old infarct, oedema-like scar, calcification, or an acute infarct (low ADC)."""
    name = str(rng.choice(("lowgrade", "csf", "oedema", "bone", "acute"), p=(0.45, 0.2, 0.2, 0.05, 0.1)))
    t1, t2, pd, adc = draw_factors(rng)
    return ("oedema", (t1, t2 * 0.8, pd, adc * 0.33)) if name == "acute" else (name, (t1, t2, pd, adc))


def _tissue_of(rng: np.random.Generator, kind: str) -> tuple[str, tuple[float, float, float, float]]:
    """Tissue of the other kinds. Bright ones differ in T2 (melanin and fresh blood short, protein and old blood long);
    one metastasis in eight bleeds or holds melanin, so is bright before contrast and enhances all the same."""
    t1, t2, pd, adc = draw_factors(rng)
    if kind in ("bright", "laminar"):
        return _TISSUES[kind], (t1, t2 * float(np.exp(rng.normal(0, 0.6))), pd, adc)
    if kind == "metastasis" and rng.random() < 0.125:
        t1 *= float(rng.uniform(0.4, 0.75))
    if kind == "lymphoma":
        t2, adc = t2 * 0.85, adc * 0.65
    return _TISSUES.get(kind, "rim"), (t1, t2, pd, adc)


def draw_lesion(
    rng: np.random.Generator,
    kind: str,
    centre: tuple[float, float, float],
    *,
    diameter_mm: float | None = None,
    level: float = 1.0,
) -> LesionDraw:
    """Draw one lesion of a kind at a place; ``level`` scales its concentration."""
    diameter = diameter_mm or draw_diameter(rng, kind)
    aspect = np.exp(rng.normal(0, 0.12 if diameter < 5 else 0.2, 3))
    radii = diameter / 2 * aspect / aspect.max()
    ring = {"metastasis": 0.55 if diameter > 8 else 0.05, "glioma": 0.65}.get(kind, 0.0)
    swelling = {"metastasis": 0.6 if diameter > 6 else 0.1, "glioma": 0.95, "lymphoma": 0.95, "meningioma": 0.4}.get(
        kind, 0.0
    )
    name, factors = _nonenhancing_tissue(rng) if kind == "nonenhancing" else _tissue_of(rng, kind)
    strong = level * {"meningioma": 1.5, "lymphoma": 1.2, "leptomeningeal": 1.2, "postoperative": 0.6}.get(kind, 1.0)
    return LesionDraw(
        kind=kind,
        centre=centre,
        radii_mm=(float(radii[0]), float(radii[1]), float(radii[2])),
        irregular=float(rng.uniform(0.02, 0.15) if diameter < 6 else rng.uniform(0.05, 0.45)),
        concentration_mm=draw_concentration(rng, strong) if kind in ENHANCING_KINDS else 0.0,
        rim=float(rng.uniform(0.12, 0.5)) if rng.random() < ring else 1.0,
        oedema_mm=float(min(diameter * rng.uniform(0.3, 1.2), 25)) if rng.random() < swelling else 0.0,
        tissue=name,
        factors=factors,
        seed=int(rng.integers(2**31)),
    )


def draw_enhancing(
    rng: np.random.Generator, anatomy: Anatomy, kinds: Sequence[tuple[str, float]], normal: Sequence[Layer] = ()
) -> list[LesionDraw]:
    """The enhancing lesions of one patient, all of one kind; some metastases touch what is in ``normal``.

    What is drawn does not depend on ``normal``, but for the centres of those that touch it.
    """
    names, weights = zip(*kinds, strict=True)
    kind = str(rng.choice(names, p=np.array(weights) / sum(weights)))
    level = float(np.exp(rng.normal(0, 0.2)))
    if kind == "miliary":
        count = int(rng.integers(5, 31))
    else:
        count = min(int(rng.geometric(0.13)), 25) if kind == "metastasis" else 1 + int(rng.random() < 0.15)
    result = []
    for _ in range(count):
        site, diameter = draw_site(rng, kind), draw_diameter(rng, kind)
        spot = np.random.default_rng(rng.integers(2**31))
        centre = beside(spot, anatomy, site, diameter / 2, normal) if site not in ("", "border") else None
        lesion = draw_lesion(rng, kind, centre or place(spot, anatomy, kind), diameter_mm=diameter, level=level)
        result.append(replace(lesion, site=site if centre else ""))
    return result


def build_lesion(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """The layers of one lesion, outermost first."""
    return _BUILDERS[draw.kind](draw, anatomy, field_t)


def _metastasis(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
    """A solid ball, or a ring around necrosis, with or without oedema."""
    if draw.rim < 1:
        return ring_mass(draw, anatomy, field_t)
    rng = np.random.default_rng(draw.seed + 2)
    shape = anatomy.wm.shape
    box, rho = blob(draw, shape, draw.oedema_mm + 1)
    local: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
    layers = [oedema_layer(draw, anatomy, field_t, box, rho)] if draw.oedema_mm > 1 else []
    alpha = coverage(rho, draw.radius_mm) * inside_brain(anatomy, box)
    unrest = np.float32(rng.uniform(0, 0.45)) * smooth_noise(rng, local, max(draw.radius_mm / 2, 2))
    concentration = np.float32(draw.concentration_mm) * np.clip(1 + unrest, 0.15, 2)
    kind = tissue(draw.tissue, field_t, draw.factors)
    return [*layers, make_layer(draw.kind, kind, alpha, concentration, Label.ENHANCING, box=box, shape=shape)]


def _plain(label: Label, edge_mm: float = 1.5) -> Callable[[LesionDraw, Anatomy, float], list[Layer]]:
    """A builder of one-compartment lesions without agent."""

    def build(draw: LesionDraw, anatomy: Anatomy, field_t: float) -> list[Layer]:
        rng = np.random.default_rng(draw.seed + 3)
        box, rho = blob(draw, anatomy.wm.shape, 3)
        alpha = coverage(rho, draw.radius_mm, edge_mm) * inside_brain(anatomy, box) * np.float32(rng.uniform(0.5, 1))
        local: Shape = (rho.shape[0], rho.shape[1], rho.shape[2])
        alpha *= np.clip(1 + np.float32(rng.uniform(0, 0.5)) * smooth_noise(rng, local, 4), 0.2, 1)
        if draw.kind == "laminar":
            alpha *= anatomy.gm[box]
        if draw.kind == "bright" and draw.radius_mm > 3 and rng.random() < 0.35:
            alpha *= 1 - coverage(rho * np.float32(rng.uniform(1.3, 2)), draw.radius_mm)  # old blood has a bright rim
        kind = tissue(draw.tissue, field_t, draw.factors)
        return [make_layer(draw.kind, kind, alpha, 0.0, label, box=box, shape=anatomy.wm.shape)]

    return build


_BUILDERS: dict[str, Callable[[LesionDraw, Anatomy, float], list[Layer]]] = {
    "metastasis": _metastasis,
    "miliary": _metastasis,
    "glioma": ring_mass,
    "lymphoma": solid_mass,
    "meningioma": dural_mass,
    "leptomeningeal": leptomeningeal_sheet,
    "postoperative": resection_cavity,
    "cavity": resection_cavity,
    "bloodrim": resection_cavity,
    "nonenhancing": _plain(Label.NON_ENHANCING, 3.0),
    "bright": _plain(Label.T1_BRIGHT),
    "laminar": _plain(Label.T1_BRIGHT),
    "wmdisease": _plain(Label.WM_DISEASE, 2.0),
}


def leukoaraiosis(rng: np.random.Generator, anatomy: Anatomy, field_t: float) -> Layer:
    """Confluent disease of the white matter around the ventricles; never enhances."""
    near = ndimage.uniform_filter(ndimage.uniform_filter(anatomy.ventricle, 7), 9)
    patches = smooth_noise(rng, SHAPE, 14) * np.float32(0.5) + smooth_noise(rng, SHAPE, 5) * np.float32(0.25)
    alpha = np.clip(near * 9 + patches - np.float32(rng.uniform(0.3, 1.3)), 0, 1) * anatomy.wm * (near > 0.004)
    kind = tissue("wmdisease", field_t, draw_factors(rng))
    alpha = alpha * np.float32(rng.uniform(0.4, 0.95))
    return make_layer("leukoaraiosis", kind, alpha, 0.0, Label.WM_DISEASE, shape=SHAPE)
