"""A small case with a known truth, for the tests of the evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from evaluation.cases import Case
from evaluation.pairing import Lesion
from evaluation.regions import find_regions
from simulation.layers import Label
from simulation.patient import SimulatedPatient

SHAPE = (48, 56, 48)


def make_case(seed: int = 0) -> Case:
    """White matter within grey matter within CSF, one lesion, four targets."""
    generator = np.random.default_rng(seed)
    radius = _radius()
    tissue = ndimage.gaussian_filter(np.select([radius < 15, radius < 19, radius < 22], [100.0, 75.0, 30.0], 0.0), 0.6)
    lesion = np.linalg.norm(np.indices(SHAPE) - np.array([24, 24, 18])[:, None, None, None], axis=0) < 3
    brain = radius < 22

    def at(dose: float) -> np.ndarray:
        return np.where(lesion, tissue + 40 * dose, tissue).astype(np.float32)

    t1 = (0.5 * (at(0) + 2 * generator.standard_normal(SHAPE))).astype(np.float32)
    t1c = (at(1) + 2 * generator.standard_normal(SHAPE)).astype(np.float32)
    regions = find_regions(t1, t1c, brain, lesion=lesion, abnormal=lesion)
    return Case(
        name=f"sim-{seed}",
        volumes={"T1": t1, "T1C": t1c, "FLAIR": t1},
        brain=brain,
        regions=regions,
        lesions=(Lesion((24, 24, 18), 6, 6),),
        enhancing=lesion,
        targets={float(dose): at(dose) for dose in (0, 1, 2, 4)},
        facts={"seed": seed},
    )


def make_patient(seed: int = 0, meta: dict[str, Any] | None = None) -> SimulatedPatient:
    """The same head as the simulator would hand it over: no lesion, one vessel that takes up agent."""
    case, radius = make_case(seed), _radius()
    calm = np.where(case.enhancing, case.targets[0.0], case.targets[1.0])
    vessel = np.zeros(SHAPE, dtype=bool)
    vessel[20:30, 30:32, 30:32] = True
    return SimulatedPatient(
        t1=case.t1, flair=case.t1, adc=case.t1, t1c=calm, t1c_low=calm,
        t1c_k={k: calm + np.float32(40 * k) * vessel for k in (1.0, 4.0)}, t1_clean=calm,
        brain=case.brain, brain_imperfect=case.brain, labels=np.where(vessel, Label.VESSEL, 0).astype(np.uint8),
        wm=(radius < 15).astype(np.float32), gm=(radius >= 15).astype(np.float32), csf=np.zeros(SHAPE, np.float32),
        concentration_mm=np.where(vessel, 0.3, 0).astype(np.float32), adc_true=case.t1,
        meta={"seed": seed, "protocol": {}, "lesions": []} | (meta or {}),
    )  # fmt: skip


def _radius() -> np.ndarray:
    return np.linalg.norm((np.indices(SHAPE) - 24.0) / np.array([1, 1.15, 1])[:, None, None, None], axis=0)
