"""What moving blood does to a sequence, drawn per patient and kind of vessel.

Gradient echoes see spins that have felt no pulse yet (time of flight: Haacke et al. 2014, chapter 24): brighter before
and after contrast, arteries above all. Spin echoes lose what leaves the slice between their pulses, the more so the
later the echo: FLAIR and T2 show voids, a T1 with a short echo keeps slow veins.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from simulation.physics import Flow

BloodKind = Literal["artery", "vein", "sinus", "small"]

# Mean fresh share where there is inflow, and range of the washout time in ms.
_FRESH = {"artery": 0.16, "vein": 0.03, "sinus": 0.05, "small": 0.01}
_WASHOUT_MS = {"artery": (4.0, 30.0), "vein": (15.0, 150.0), "sinus": (8.0, 120.0), "small": (30.0, 200.0)}


def draw_flow(rng: np.random.Generator) -> dict[BloodKind, Flow]:
    """How blood moves in one patient's examination."""
    inflow = rng.random() < 0.6
    pace = float(rng.uniform(0.3, 1.7))
    result: dict[BloodKind, Flow] = {}
    for kind in _FRESH:
        fresh = min(_FRESH[kind] * pace * float(np.exp(rng.normal(0, 0.4))), 0.5)
        low, high = _WASHOUT_MS[kind]
        washout = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        result[kind] = Flow(fresh if inflow else 0.0, washout)  # type: ignore[index]
    return result
