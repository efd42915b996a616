"""Tissue parameters and their random draw.

Centres are from the literature (Stanisz 2005, Gach 2008, and clinical reports); every patient gets its
own values around them, wider than reality, so that a network cannot learn one scanner by heart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulation.physics import Agent, Tissue

# name: T1 1.5T, T1 3T, T2 1.5T, T2 3T, T2* 1.5T, T2* 3T (ms), proton density, ADC (1e-3 mm2/s)
CENTRES: dict[str, tuple[float, float, float, float, float, float, float, float]] = {
    "wm": (760, 950, 76, 70, 66, 50, 0.65, 0.74),
    "gm": (1080, 1420, 98, 94, 84, 60, 0.77, 0.85),
    "csf": (4000, 4200, 1800, 1700, 600, 500, 0.98, 3.0),
    "blood": (1440, 1640, 160, 50, 60, 25, 0.88, 1.6),
    "plexus": (1500, 1800, 150, 130, 80, 60, 0.88, 1.6),
    "dura": (900, 1100, 30, 28, 18, 14, 0.55, 0.8),
    "bone": (450, 500, 4, 4, 1.2, 1.0, 0.12, 0.5),
    "marrow": (320, 370, 60, 55, 14, 10, 0.45, 0.3),
    "fat": (310, 380, 75, 70, 45, 35, 0.85, 0.1),
    "scalp": (500, 600, 60, 55, 35, 28, 0.65, 0.8),
    "muscle": (1010, 1410, 44, 40, 30, 25, 0.75, 1.4),
    "vitreous": (3500, 4000, 1500, 1400, 500, 400, 0.98, 3.0),
    "metastasis": (1200, 1450, 90, 85, 65, 48, 0.86, 1.0),
    "rim": (1250, 1600, 110, 100, 70, 52, 0.89, 0.98),
    "lowgrade": (1250, 1500, 120, 110, 90, 70, 0.88, 1.35),
    "necrosis": (2300, 2700, 300, 270, 150, 110, 0.95, 2.1),
    "oedema": (1200, 1450, 130, 120, 95, 72, 0.86, 1.45),
    "meningioma": (1150, 1400, 85, 80, 60, 45, 0.84, 0.9),
    "pituitary": (1000, 1250, 90, 85, 60, 45, 0.82, 0.9),
    "bright": (480, 600, 80, 70, 40, 28, 0.8, 0.9),
    "wmdisease": (1100, 1300, 120, 115, 90, 70, 0.80, 1.2),
    "cavity": (3600, 3900, 1200, 1100, 400, 330, 0.97, 2.8),
}

AGENTS: tuple[tuple[Agent, Agent], ...] = (
    (Agent("gadoterate", 3.5, 4.3, 6.0), Agent("gadoterate", 3.2, 4.9, 7.0)),
    (Agent("gadobutrol", 4.78, 5.9, 8.0), Agent("gadobutrol", 4.97, 6.5, 9.0)),
    (Agent("gadoteridol", 3.8, 4.8, 6.5), Agent("gadoteridol", 3.28, 5.5, 7.5)),
    (Agent("gadopentetate", 4.1, 4.6, 6.0), Agent("gadopentetate", 3.7, 5.2, 7.5)),
    (Agent("gadobenate", 6.3, 8.7, 11.0), Agent("gadobenate", 5.5, 11.0, 14.0)),
)


def tissue(name: str, field_t: float, factors: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> Tissue:
    """A tissue at 1.5 T or 3 T, scaled by (T1, T2, proton density, ADC) factors."""
    t1_15, t1_30, t2_15, t2_30, t2s_15, t2s_30, pd, adc = CENTRES[name]
    high = field_t > 2
    t1, t2, t2s = (t1_30, t2_30, t2s_30) if high else (t1_15, t2_15, t2s_15)
    return Tissue(
        t1_ms=t1 * factors[0],
        t2_ms=t2 * factors[1],
        t2s_ms=t2s * factors[1],
        pd=min(pd * factors[2], 1.0),
        adc_mm2_s=adc * 1e-3 * factors[3],
    )


def draw_factors(rng: np.random.Generator, spread: float = 1.0) -> tuple[float, float, float, float]:
    """Random (T1, T2, proton density, ADC) factors around 1; ``spread`` 1 means about 12, 15, 4 and 10 % SD."""
    t1, t2, pd, adc = np.exp(rng.normal(0, 1, 4) * np.array([0.12, 0.15, 0.04, 0.10]) * spread)
    return float(t1), float(t2), float(pd), float(adc)


def draw_brain_tissues(rng: np.random.Generator, field_t: float) -> dict[str, Tissue]:
    """Every tissue of one patient. Grey and white matter share part of their T1 factor so that contrast survives."""
    common = float(np.exp(rng.normal(0, 0.08)))
    result = {}
    for name in CENTRES:
        t1, t2, pd, adc = draw_factors(rng, 0.5 if name in ("wm", "gm", "csf") else 1.0)
        if name in ("wm", "gm"):
            t1 *= common
        result[name] = tissue(name, field_t, (t1, t2, pd, adc))
    return result


#: What `random_contrast` draws anew, each within these bounds: T1 and T2 in ms.
RANDOM_TISSUES = ("wm", "gm", "csf", "dura")
_RANDOM_T1_MS, _RANDOM_T2_MS, _RANDOM_PD = (400.0, 4000.0), (40.0, 600.0), (0.4, 1.0)


def random_contrast(rng: np.random.Generator, tissues: dict[str, Tissue], share: float) -> dict[str, Tissue]:
    """A ``share`` of patients get healthy tissues of contrasts that nobody has: fluid may be bright, white matter dark.

    Their relaxation times and proton density are drawn apart from each other, so that a network can't rely on which
    tissue is the brighter one. Blood, lesions and the agent keep their physics, and so does all enhancement.
    """
    if rng.random() >= share:
        return tissues
    changed = dict(tissues)
    for name in RANDOM_TISSUES:
        t1, t2 = (float(np.exp(rng.uniform(*np.log(bounds)))) for bounds in (_RANDOM_T1_MS, _RANDOM_T2_MS))
        t2s = t2 * tissues[name].t2s_ms / tissues[name].t2_ms
        pd = float(rng.uniform(*_RANDOM_PD))
        changed[name] = replace(tissues[name], t1_ms=max(t1, 1.1 * t2), t2_ms=t2, t2s_ms=t2s, pd=pd)
    return changed


def draw_agent(rng: np.random.Generator, field_t: float) -> Agent:
    """An agent at this field strength; gadoterate, the paper's, half of the time."""
    index = int(rng.choice(len(AGENTS), p=(0.45, 0.25, 0.1, 0.1, 0.1)))
    return AGENTS[index][1 if field_t > 2 else 0]
