"""The ISBI 2021 studies at a size that a machine without a GPU can repeat: input subsets, channels x fraction.

Each point is a short training of its own from the same simulated patients with the training's own code, then the
fidelity of its predictions on a few test patients. The numbers are those of under-trained networks: compare
them with each other, not with the paper's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.cases import FIRST_TEST_SEED, Case, simulated_case
from evaluation.cohort import write_json
from evaluation.enhancing import Enhancer
from evaluation.images import measure
from training.runs import RunPlan, publish_run, train_folds
from training.simulated import make_patient, pack_cache
from training.switches import change

FIRST_ABLATION_SEED = FIRST_TEST_SEED + 50_000
#: The rows of the paper's table that keep the T1C slot, without which the T1c-pro setting has no meaning, and T1 only.
SUBSETS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("all four", ("T1", "FLAIR", "ADC", "T1C")),
    ("no FLAIR", ("T1", "ADC", "T1C")),
    ("no ADC", ("T1", "FLAIR", "T1C")),
    ("no T1", ("FLAIR", "ADC", "T1C")),
    ("T1c + T1", ("T1", "T1C")),
    ("T1c + ADC", ("ADC", "T1C")),
    ("T1c only", ("T1C",)),
)
#: Published with four inputs at 0.025 -> 0.1 mmol/kg: L2 x 1e-5, lesion L2 x 1e-4, PSNR dB, SSIM %.
PUBLISHED: Mapping[str, tuple[float, float, float, float]] = {
    "all four": (31.6, 74.4, 35.3, 94.2),
    "no FLAIR": (32.0, 79.9, 35.2, 94.2),
    "no ADC": (32.2, 84.1, 35.2, 94.1),
    "no T1": (34.0, 129, 35.0, 94.0),
    "T1c + ADC": (33.9, 133, 35.0, 94.1),
    "T1c + T1": (31.3, 87.1, 35.3, 94.2),
    "T1c only": (36.9, 137, 34.6, 93.8),
}
_KEPT = ("fidelity.l2", "fidelity.lesion_l2", "fidelity.psnr_volume", "fidelity.ssim_volume", "fidelity.psnr_brain")


@dataclass(frozen=True)
class Study:
    """What all points of a study share.

    Parameters
    ----------
    preset : str
        Of the training.
    steps : int
    patients : int
        Simulated patients to train on.
    test : int
        Simulated patients to test on.
    data : Path, optional
        A simulator's cache to train from instead of simulating.
    switches : tuple of str
        More changes of the recipe, as ``train.py --set`` takes them.
    """

    preset: str = "t1c-pro"
    steps: int = 300
    patients: int = 10
    test: int = 4
    data: Path | None = None
    # The head "gain" needs T1 and T1C, which some subsets lack.
    switches: tuple[str, ...] = ("folds=1", "channels=8", "average=0", "patch=64", "head=residual", "bound=none")


def run_point(folder: Path, study: Study, switches: Sequence[str], cases: Sequence[Case]) -> dict[str, float]:
    """Train one network and measure it; a point that is there already is not trained again."""
    result = folder / "result.json"
    if result.is_file():
        found: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
        return found
    recipe = change(study.preset, [*study.switches, f"steps={study.steps}", *switches])
    plan = RunPlan(recipe, folder / "run", study.data, study.patients, (0,), resume=(folder / "run").exists())
    train_folds(plan)
    publish_run(plan, folder / "model", version="0.0.0", metrics=None, notes=None)
    enhancer = Enhancer(folder / "model", folds=1, mirrorings=1)
    rows = [measure_fidelity(case, enhancer) for case in cases]
    found = {name: float(np.nanmean([row.get(name, np.nan) for row in rows])) for name in _KEPT}
    write_json(result, found)
    return found


def measure_fidelity(case: Case, enhancer: Enhancer) -> dict[str, float]:
    """Fidelity of one case against the simulated higher dose."""
    return measure(case, enhancer(case).image, dose_factor=enhancer.dose_factor).flat()


def held_out_cases(study: Study) -> list[Case]:
    """The patients that all points are tested on."""
    return [simulated_case(seed) for seed in range(FIRST_ABLATION_SEED, FIRST_ABLATION_SEED + study.test)]


def with_patients(folder: Path, study: Study) -> Study:
    """Pack the training patients once, for all points; simulate them where the study has no cache.

    Raises
    ------
    FileNotFoundError
        If the cache holds no complete patient.
    """
    packed = folder / "patients"
    target = change(study.preset, list(study.switches)).doses.target_volume
    if study.data is not None:
        pack_cache(study.data, packed, target, limit=study.patients)
    else:
        for number in range(study.patients):
            path = packed / f"{number:06d}.npy"
            if not path.with_suffix(".json").exists():
                make_patient(number, path, target=target)
    if not any(packed.glob("*.json")):
        raise FileNotFoundError(f"no simulated patients in {study.data}")
    return replace(study, data=packed)


def run_inputs(folder: Path, study: Study, report: Callable[[str], None] | None = None) -> dict[str, dict[str, float]]:
    """The input ablation."""
    study, cases = with_patients(folder, study), held_out_cases(study)
    rows = {}
    for name, roles in SUBSETS:
        point = folder / name.replace(" ", "-").replace("+", "and")
        rows[name] = run_point(point, study, [f"inputs={','.join(roles)}"], cases)
        if report is not None:
            report(f"{name}: lesion L2 {1e4 * rows[name]['fidelity.lesion_l2']:.1f}e-4")
    return rows


def run_channels(
    folder: Path,
    study: Study,
    *,
    channels: Sequence[int] = (4, 8, 16),
    fractions: Sequence[float] = (0.25, 0.5, 1.0),
    report: Callable[[str], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Channels x fraction of the training set."""
    study, cases = with_patients(folder, study), held_out_cases(study)
    rows = {}
    for count in channels:
        for fraction in fractions:
            name = f"{count} channels, {fraction:g}"
            point = folder / f"c{count}-f{fraction:g}"
            rows[name] = run_point(point, study, [f"channels={count}", f"fraction={fraction}"], cases)
            if report is not None:
                report(f"{name} of the training set: {rows[name]['fidelity.psnr_brain']:.2f} dB")
    return rows


def ablation_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Measured beside published (L2; lesion L2; PSNR; SSIM)."""
    lines = [
        "| inputs | L2 x 1e-5 | lesion L2 x 1e-4 | PSNR volume dB | SSIM volume % | published |",
        "|-|-|-|-|-|-|",
    ]
    for name, row in rows.items():
        known = PUBLISHED.get(name)
        published = "–" if known is None else "; ".join(f"{value:g}" for value in known)
        lines.append(
            f"| {name} | {1e5 * row['fidelity.l2']:.1f} | {1e4 * row['fidelity.lesion_l2']:.1f} "
            f"| {row['fidelity.psnr_volume']:.2f} | {100 * row['fidelity.ssim_volume']:.2f} | {published} |"
        )
    return "\n".join(lines)


def channel_curves(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """The rows of `run_channels` as curves over the fraction, one for each number of channels."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for name, row in rows.items():
        label, _, fraction = name.partition(", ")
        across, up = curves.setdefault(label, ([], []))
        across.append(float(fraction))
        up.append(float(row["fidelity.psnr_brain"]))
    return curves
