"""Acquisition protocols: the paper's table at the centre, and clinical variety around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulation.physics import Sequence


@dataclass(frozen=True)
class Protocol:
    """The sequences of one examination and the field strength in tesla."""

    field_t: float
    t1: Sequence
    t1c: Sequence
    flair: Sequence
    b0: Sequence
    dwi: Sequence


def draw_t1_sequence(rng: np.random.Generator, field_t: float, kind: str | None = None) -> Sequence:
    """A T1-weighted sequence: spoiled gradient echo, inversion-prepared train, or spin echo, or of a given kind."""
    kind = kind or str(rng.choice(("spgr", "mprage", "se"), p=(0.5, 0.35, 0.15)))
    if kind == "spgr":
        tr = float(rng.uniform(5.2, 10.5))
        te = float(rng.uniform(1.2, min(4.6, tr - 1)))
        return Sequence("spgr", tr, te, flip_deg=float(rng.uniform(9, 30)))
    if kind == "mprage":
        tr, readouts = float(rng.uniform(6.5, 10)), int(rng.integers(60, 96)) * 2
        ti = max(float(rng.uniform(400, 1000)), tr * readouts / 2 + 10)
        return Sequence(
            "mprage", tr, float(rng.uniform(2.2, 4.2)), float(rng.uniform(7, 13)), ti, readouts,
            recovery_ms=float(rng.uniform(100, 1000)), inversion_efficiency=float(rng.uniform(0.92, 0.99)),
        )  # fmt: skip
    tr, te = float(rng.uniform(450, 750)) * (1.1 if field_t > 2 else 1), float(rng.uniform(8, 16))
    black = float(rng.uniform(0.03, 0.2)) if rng.random() < 0.3 else 1.0
    return Sequence("se", tr, te, blood=black)


def _repeated(sequence: Sequence, rng: np.random.Generator) -> Sequence:
    """The same sequence with other timing, as where T1 and T1c are set up apart (9/4.2 and 6.1/1.2 ms in the paper)."""
    scale = np.exp(rng.normal(0, (0.18, 0.25, 0.12)))
    changed = replace(
        sequence,
        tr_ms=sequence.tr_ms * float(scale[0]),
        te_ms=max(sequence.te_ms * float(scale[1]), 1.0),
        flip_deg=sequence.flip_deg * float(scale[2]) if sequence.kind != "se" else 90.0,
    )
    if sequence.kind == "mprage":
        return replace(changed, ti_ms=max(sequence.ti_ms * float(scale[1]), changed.tr_ms * sequence.readouts / 2 + 10))
    return replace(changed, te_ms=min(changed.te_ms, changed.tr_ms - 1))


def draw_protocol(rng: np.random.Generator, kinds: tuple[str, str] | None = None) -> Protocol:
    """One examination: T1c as T1 (45 %), same kind with other timing (30 %), or another kind (25 %).

    Of another kind is mostly a spin echo before and a gradient echo after contrast, as many sites do it: the dark
    vessels of the one and the bright ones of the other make the largest differences there are.

    `kinds` of T1 and T1c ("spgr", "mprage", "se") are kept to where they are given, each with a timing of its own.
    """
    field_t = float(rng.choice((1.5, 3.0), p=(0.4, 0.6)))
    t1 = draw_t1_sequence(rng, field_t, kinds and kinds[0])
    relation = "kind" if kinds else rng.choice(("same", "timing", "kind"), p=(0.45, 0.30, 0.25))
    other_timing, other_kind = _repeated(t1, rng), draw_t1_sequence(rng, field_t, kinds and kinds[1])
    if relation == "kind" and not kinds and rng.random() < 0.7:
        t1 = draw_t1_sequence(rng, field_t, "se")
        other_kind = draw_t1_sequence(rng, field_t, str(rng.choice(("spgr", "mprage"))))
    t1c = {"same": t1, "timing": other_timing, "kind": other_kind}[str(relation)]
    tr = float(rng.uniform(5500, 11000))
    ti = tr_null_time(tr, 4200.0) * float(rng.uniform(0.93, 1.04))
    flair = Sequence(
        "flair", tr, float(rng.uniform(85, 140)), ti_ms=ti, inversion_efficiency=float(rng.uniform(0.94, 1))
    )
    b0 = Sequence("dwi", float(rng.uniform(3000, 8000)), float(rng.uniform(60, 100)))
    return Protocol(field_t, t1, t1c, flair, b0, replace(b0, b_value=1000.0))


def tr_null_time(tr_ms: float, t1_ms: float) -> float:
    """Inversion time that nulls a T1 at this TR: T1 ln(2 / (1 + exp(-TR/T1)))."""
    return float(t1_ms * np.log(2 / (1 + np.exp(-tr_ms / t1_ms))))
