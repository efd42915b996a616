"""A simulated patient on the network's grid: corrupted inputs, noise-free targets, and the truth.

>>> patient = simulate_patient(7)            # doctest: +SKIP
>>> patient.t1c_k[4] - patient.t1c_k[1]      # what four times the dose adds, in T1c units  # doctest: +SKIP
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.anatomy import Anatomy, AnatomyDraw, build_anatomy, draw_anatomy
from simulation.brain_masks import imperfect_mask
from simulation.corruption import (
    SeriesDraw,
    add_ghost,
    add_noise,
    apply_operators,
    draw_series,
    draw_shift,
    receive_field,
    series_operators,
    warp_along,
)
from simulation.fields import smooth_noise, stream
from simulation.frames import SHAPE, mni_to_voxel
from simulation.label_maps import Purpose, draw_head_choice
from simulation.layers import Layer, Model, adc_map, concentration_map, label_map, render
from simulation.lesion_shapes import LesionDraw
from simulation.lesions import MIMIC_KINDS, build_lesion, draw_enhancing, draw_lesion, leukoaraiosis
from simulation.normal_structures import gland_layers, plexus_layer
from simulation.physics import Sequence, plasma_concentration
from simulation.places import place
from simulation.protocols import Protocol, draw_protocol
from simulation.tissues import draw_agent, draw_brain_tissues, random_contrast
from simulation.vasculature.build import Blood, blood_of, build_vasculature, draw_vasculature
from simulation.vasculature.flow import draw_flow

UNIT = 300.0  # mean brain signal of a series with gain 1; far from float16's limits even at 8 times the dose


@dataclass(frozen=True)
class PatientConfig:
    """What kind of patients to draw.

    Attributes
    ----------
    doses
        Multiples of the full dose for which noise-free targets are made.
    low_dose
        Fraction of the full dose of the low-dose T1c.
    enhancing : 0..1
        Share of patients with an enhancing lesion.
    kinds
        Weights of the enhancing kinds.
    same_t1c
        Null case: no agent at all (the T1c is a second T1).
    misregistration_mm
        Largest shift of T1, FLAIR and ADC; ``fixed_misregistration`` takes exactly that length.
    mimics
        Draw non-enhancing lesions, T1-bright lesions and white-matter disease.
    only
        If set, only lesions of these kinds (null cohorts): for instance ``("bright",)``.
    sequences
        If set, the kinds of T1 and T1c: for instance ``("mprage", "se")``, unlike ones.
    random_contrast_share : 0..1
        Share of patients whose healthy tissues have contrasts that nobody has (`simulation.tissues.random_contrast`).
    anatomies
        Folder of real heads' label maps (`simulation.label_maps`); empty: the ICBM average is everybody's anatomy.
    heads
        Which of the heads may be drawn: those for training, or those kept for test cohorts.
    head
        If set, the head of this number, as it is or mirrored.
    """

    doses: tuple[float, ...] = (1, 2, 4, 8)
    low_dose: float = 0.25
    enhancing: float = 0.7
    kinds: tuple[tuple[str, float], ...] = (
        ("metastasis", 0.40), ("miliary", 0.10), ("glioma", 0.26), ("lymphoma", 0.05), ("meningioma", 0.09),
        ("leptomeningeal", 0.05), ("postoperative", 0.05),
    )  # fmt: skip
    same_t1c: bool = False
    misregistration_mm: float = 1.0
    misregistration_share: float = 0.7
    fixed_misregistration: bool = False
    mimics: bool = True
    only: tuple[str, ...] = ()
    sequences: tuple[str, str] | None = None
    random_contrast_share: float = 0.0
    anatomies: str = ""
    heads: Purpose = "training"
    head: int | None = None
    noise: tuple[float, float] = (0.01, 0.09)
    bias_sd: tuple[float, float] = (0.02, 0.22)


@dataclass
class SimulatedPatient:
    """One patient; every volume is (z, y, x) float32 on the network's grid.

    Attributes
    ----------
    t1, flair, t1c, t1c_low
        Corrupted inputs in arbitrary units; ``t1c`` at the full dose, ``t1c_low`` at the low dose.
    adc : mm2/s
        Fitted from noisy b = 0 and b = 1000 s/mm2 images.
    t1c_k
        Noise-free T1c at k times the full dose, with the gain, receive field and resolution of ``t1c``.
    t1_clean
        Noise-free T1 (dose 0) acquired as the T1c: ``t1c_k`` minus this is enhancement alone.
    brain, brain_imperfect
        The true mask, and one as an extractor would draw it.
    labels : uint8
        Codes of `simulation.layers.Label`.
    wm, gm, csf
        True fractions of the healthy tissues.
    concentration_mm : mM
        Voxel average at the full dose.
    adc_true : mm2/s
    meta
        Protocol, lesion table, agent: JSON-ready.
    """

    t1: Volume
    flair: Volume
    adc: Volume
    t1c: Volume
    t1c_low: Volume
    t1c_k: dict[float, Volume]
    t1_clean: Volume
    brain: NDArray[np.bool_]
    brain_imperfect: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    wm: Volume
    gm: Volume
    csf: Volume
    concentration_mm: Volume
    adc_true: Volume
    meta: dict[str, Any] = field(default_factory=dict)

    _VOLUMES = ("t1", "flair", "adc", "t1c", "t1c_low", "t1_clean", "wm", "gm", "csf", "concentration_mm", "adc_true")

    def save(self, path: Path, *, compressed: bool = False) -> None:
        """Write an .npz file: volumes in float16, masks and labels in uint8, ``meta`` as JSON."""
        arrays: dict[str, Any] = {name: getattr(self, name).astype(np.float16) for name in self._VOLUMES}
        arrays |= {f"t1c_k{k:g}": v.astype(np.float16) for k, v in self.t1c_k.items()}
        arrays |= {name: getattr(self, name).astype(np.uint8) for name in ("brain", "brain_imperfect", "labels")}
        arrays["meta"] = np.frombuffer(json.dumps(self.meta).encode(), np.uint8)
        (np.savez_compressed if compressed else np.savez)(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> SimulatedPatient:
        """Read what `save` wrote (volumes come back as float32)."""
        with np.load(path) as file:
            volumes = {name: file[name].astype(np.float32) for name in cls._VOLUMES}
            targets = {float(n[5:]): file[n].astype(np.float32) for n in file.files if n.startswith("t1c_k")}
            masks = {name: file[name].astype(bool) for name in ("brain", "brain_imperfect")}
            meta = json.loads(file["meta"].tobytes())
            return cls(**volumes, **masks, labels=file["labels"], t1c_k=targets, meta=meta)


def draw_lesions(
    rng: np.random.Generator, anatomy: Anatomy, config: PatientConfig, normal: tuple[Layer, ...] = ()
) -> list[LesionDraw]:
    """Draw the lesions of one patient, mimics first (enhancing ones lie on top).

    Some metastases touch what is in ``normal``, vessels and plexus; without it these alone lie elsewhere.
    """
    counts = {
        "wmdisease": min(int(rng.geometric(0.08)), 40) if rng.random() < 0.4 else 0,
        "nonenhancing": int(rng.integers(1, 4)) if rng.random() < 0.35 else 0,
        "bright": int(rng.integers(1, 5)) if rng.random() < 0.3 else 0,
        "laminar": 1 if rng.random() < 0.06 else 0,
        "cavity": 1 if rng.random() < 0.06 else 0,
        "bloodrim": 1 if rng.random() < 0.06 else 0,
    }
    if config.only:
        counts = {kind: int(rng.integers(2, 9)) for kind in config.only if kind in MIMIC_KINDS}
    elif not config.mimics:
        counts = {}
    result = [draw_lesion(rng, kind, place(rng, anatomy, kind)) for kind, n in counts.items() for _ in range(n)]
    allowed = [(k, w) for k, w in config.kinds if not config.only or k in config.only]
    if allowed and rng.random() < config.enhancing:
        result += draw_enhancing(rng, anatomy, allowed, normal)
    return result


def anatomy_of(seed: int, config: PatientConfig) -> AnatomyDraw:
    """This patient's anatomy: of a real head where the configuration has a folder of heads.

    Raises
    ------
    InputError
        If the folder has no head for this purpose, or the head named is kept for the other one.
    """
    drawn = draw_anatomy(stream(seed, "anatomy"))
    if not config.anatomies:
        return drawn
    rng = stream(seed, "real head")
    return replace(drawn, head=draw_head_choice(rng, Path(config.anatomies), config.heads, config.head))


def build_model(seed: int, config: PatientConfig, protocol: Protocol) -> tuple[Model, list[LesionDraw], dict[str, Any]]:
    """The patient before any scanner: anatomy, vessels, enhancing normal structures, lesions, agent."""
    field_t = protocol.field_t
    drawn = anatomy_of(seed, config)
    anatomy = build_anatomy(drawn)
    rng = stream(seed, "agent")
    tissues = draw_brain_tissues(stream(seed, "tissues"), field_t)
    tissues = random_contrast(stream(seed, "contrast"), tissues, config.random_contrast_share)
    agent = draw_agent(rng, field_t)
    minutes, haematocrit = float(rng.uniform(1.5, 9)), float(rng.uniform(0.33, 0.48))
    # Blood of real scans is brighter than Weinmann's curve tells: his plasma, times 1.35 by median, is what fits them.
    plasma = plasma_concentration(0.1, minutes) * float(np.exp(rng.normal(0.3, 0.25)))
    blood = plasma * (1 - haematocrit)
    base = {
        "wm": blood * float(rng.uniform(0.012, 0.03)),
        "gm": blood * float(rng.uniform(0.03, 0.06)),
        "csf": 0.0,
        "dura": plasma * float(rng.uniform(0.2, 0.9)),
    }
    vessel_rng = stream(seed, "vessels")
    carried = Blood(blood_of(tissues["blood"], field_t), draw_flow(stream(seed, "flow")), blood, plasma, base["dura"])
    layers = build_vasculature(draw_vasculature(vessel_rng), anatomy, carried, tissues)
    layers.append(plexus_layer(rng, anatomy, tissues["plexus"], plasma))
    layers += gland_layers(rng, anatomy, tissues["pituitary"], plasma)
    lesions = draw_lesions(stream(seed, "lesions"), anatomy, config, tuple(layers))
    if ("wmdisease" in config.only) or (config.mimics and not config.only and rng.random() < 0.25):
        layers.append(leukoaraiosis(rng, anatomy, field_t))
    for lesion in lesions:
        layers += build_lesion(lesion, anatomy, field_t)
    facts: dict[str, Any] = {"agent": agent.name, "minutes": minutes, "plasma_mm": plasma, "blood_mm": blood}
    if drawn.head is not None:
        facts |= {"head": drawn.head.name, "mirrored": drawn.head.mirrored}
    return Model(anatomy, tissues, base, layers, agent), lesions, facts


def transmit_field(rng: np.random.Generator, field_t: float) -> Volume:
    """B1+ relative to nominal: a central bump at 3 T, mild smooth variation."""
    strength = float(rng.uniform(0.0, 0.2) if field_t > 2 else rng.uniform(0, 0.06))
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE)
    radius2 = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2
    field = 1 + np.float32(strength) * (np.exp(-1.5 * radius2) - np.float32(0.45))
    return np.asarray(field * (1 + np.float32(0.2 * strength) * smooth_noise(rng, SHAPE, 70)), np.float32)


# Where air meets the skull base (MNI) and how far the field it disturbs reaches, mm.
_AIR_MNI = np.array([[0.0, 52.0, -24.0], [48.0, -28.0, -32.0], [-48.0, -28.0, -32.0]])
_AIR_REACH_MM = 22.0


def epi_shift(rng: np.random.Generator, anatomy: Anatomy) -> Volume:
    """Displacement of echo-planar images along y, in voxels: up to some mm over the air of the skull base."""
    strength = float(rng.uniform(-5, 5))
    z, y, x = (np.arange(n, dtype=np.float32) for n in SHAPE)
    field = np.zeros(SHAPE, np.float32)
    for cz, cy, cx in anatomy.deformation.to_patient(mni_to_voxel(_AIR_MNI)):
        falls = [np.exp(-0.5 * ((a - c) / _AIR_REACH_MM) ** 2) for a, c in ((z, cz), (y, cy), (x, cx))]
        field += (falls[0][:, None, None] * falls[1][None, :, None] * falls[2][None, None, :]).astype(np.float32)
    return np.float32(strength) * field


class _Scanner:
    """Renders the series of one patient with one brain-mean scale per series."""

    def __init__(self, model: Model, b1: Volume) -> None:
        self.model, self.b1 = model, b1
        self.inner = model.anatomy.distance < -1

    def clean(self, sequence: Sequence, draw: SeriesDraw, dose: float) -> Volume:
        return apply_operators(
            render(self.model, sequence, dose=dose, b1=self.b1),
            series_operators(draw, self.model.anatomy.wm.shape),
        )

    def scale(self, clean: Volume) -> float:
        return UNIT / max(float(clean[self.inner].mean()), 1e-9)

    def acquire(self, clean: Volume, draw: SeriesDraw, field_: Volume, scale: float) -> Volume:
        noise = draw.noise * float(clean[self.inner].mean()) * scale * draw.gain
        return add_noise(add_ghost(clean * (field_ * np.float32(scale)), draw), draw, noise)


def _draw_all_series(rng: np.random.Generator, config: PatientConfig) -> dict[str, SeriesDraw]:
    """Imperfections of each series: T1 and T1c often share their slices, never their receive field."""

    def shift() -> tuple[float, float, float]:
        if not config.fixed_misregistration:
            return draw_shift(rng, config.misregistration_share, config.misregistration_mm)
        direction = rng.normal(0, 1, 3)
        vector = direction / np.linalg.norm(direction) * config.misregistration_mm
        return float(vector[0]), float(vector[1]), float(vector[2])

    common: dict[str, Any] = {"noise": config.noise, "bias_sd": config.bias_sd}
    return {
        "t1c": draw_series(rng, **common),
        "t1c_low": draw_series(rng, **common),
        "t1": draw_series(rng, shift_mm=shift(), **common),
        "flair": draw_series(rng, shift_mm=shift(), thick=0.45, thickness_mm=(2, 6), **common),
        "dwi": draw_series(rng, shift_mm=shift(), thick=1.0, thickness_mm=(2.5, 6), **common),
    }


def simulate_patient(seed: int, *, config: PatientConfig | None = None) -> SimulatedPatient:
    """Simulate one patient; the same seed and configuration give the same bytes.

    Parameters
    ----------
    seed
        Patients of different seeds are independent.
    config
        Cohort; the default mixes metastases, gliomas, meningiomas, mimics and normals.

    Returns
    -------
    SimulatedPatient
        Inputs, noise-free targets in T1c units, and the truth.
    """
    config = config or PatientConfig()
    protocol = draw_protocol(stream(seed, "protocol"), config.sequences)
    model, lesions, facts = build_model(seed, config, protocol)
    rng = stream(seed, "series")
    scanner = _Scanner(model, transmit_field(rng, protocol.field_t))
    series = _draw_all_series(rng, config)
    volumes, targets = _t1_weighted(scanner, protocol, series, config, rng)
    volumes["flair"] = _single(scanner, protocol.flair, series["flair"])
    volumes["adc"] = warp_along(_adc(scanner, protocol, series["dwi"]), epi_shift(rng, model.anatomy), 1)
    if not config.fixed_misregistration and rng.random() < 0.4:
        local = smooth_noise(rng, SHAPE, 45) * np.float32(rng.uniform(0.1, 0.5) * config.misregistration_mm)
        volumes["t1"] = warp_along(volumes["t1"], local, int(rng.integers(3)))
    brain = model.anatomy.brain
    return SimulatedPatient(
        **volumes,
        t1c_k=targets,
        brain=brain,
        brain_imperfect=imperfect_mask(rng, model.anatomy),
        labels=label_map(model),
        wm=model.anatomy.wm,
        gm=model.anatomy.gm,
        csf=model.anatomy.csf,
        concentration_mm=concentration_map(model),
        adc_true=adc_map(model),
        meta=_meta(seed, protocol, lesions, facts, series, config),
    )


def _t1_weighted(
    scanner: _Scanner,
    protocol: Protocol,
    series: dict[str, SeriesDraw],
    config: PatientConfig,
    rng: np.random.Generator,
) -> tuple[dict[str, Volume], dict[float, Volume]]:
    draw = series["t1c"]
    field_ = receive_field(draw, SHAPE)
    full = 0.0 if config.same_t1c else 1.0
    clean = scanner.clean(protocol.t1c, draw, full)
    scale = scanner.scale(clean)
    to_units = field_ * np.float32(scale)
    targets = {float(k): (clean if k * full == full else scanner.clean(protocol.t1c, draw, k * full)) * to_units
               for k in config.doses}  # fmt: skip
    low = scanner.clean(protocol.t1c, series["t1c_low"], full * config.low_dose * float(rng.uniform(0.8, 1.2)))
    volumes = {
        "t1c": scanner.acquire(clean, draw, field_, scale),
        "t1c_low": scanner.acquire(low, series["t1c_low"], receive_field(series["t1c_low"], SHAPE), scale),
        "t1": _single(scanner, protocol.t1, series["t1"]),
        "t1_clean": scanner.clean(protocol.t1c, draw, 0.0) * to_units,
    }
    return volumes, targets


def _single(scanner: _Scanner, sequence: Sequence, draw: SeriesDraw) -> Volume:
    """One series without contrast, with its own receive field and gain."""
    clean = scanner.clean(sequence, draw, 0.0)
    return scanner.acquire(clean, draw, receive_field(draw, SHAPE), scanner.scale(clean))


def _adc(scanner: _Scanner, protocol: Protocol, draw: SeriesDraw) -> Volume:
    """ADC in mm2/s from noisy images at two b-values, by the definition -ln(Sb/S0)/b."""
    clean = [scanner.clean(s, draw, 0.0) for s in (protocol.b0, protocol.dwi)]
    scale, field_ = scanner.scale(clean[0]), receive_field(draw, SHAPE)
    level = min(draw.noise, 0.05) * UNIT * draw.gain * 0.6
    b0, b1000 = (add_noise(c * (field_ * np.float32(scale)), _reseeded(draw, i), level) for i, c in enumerate(clean))
    valid = (b0 > 3 * level) & (b1000 <= b0)
    ratio = np.where(valid, b0 / np.maximum(b1000, 1e-3), 1.0)
    return np.asarray(np.clip(np.log(ratio) / protocol.dwi.b_value, 0, 4e-3), np.float32)


def _reseeded(draw: SeriesDraw, offset: int) -> SeriesDraw:
    return replace(draw, seed=draw.seed + 10 * offset)


def _meta(
    seed: int,
    protocol: Protocol,
    lesions: list[LesionDraw],
    facts: dict[str, Any],
    series: dict[str, SeriesDraw],
    config: PatientConfig,
) -> dict[str, Any]:
    """The patient's record: everything drawn that a reader of the volumes may want."""
    table = [
        {
            "kind": lesion.kind,
            "centre_zyx": list(lesion.centre),
            "diameter_mm": lesion.diameter_mm,
            "concentration_mm": lesion.concentration_mm,
            "enhancing": lesion.enhancing,
            "site": lesion.site,
        }
        for lesion in lesions
    ]
    return {
        "seed": seed,
        "protocol": asdict(protocol),
        "lesions": table,
        **facts,
        "series": {name: asdict(draw) for name, draw in series.items()},
        "config": asdict(config),
    }
