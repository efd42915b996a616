"""The ISBI 2021 studies at a size that a machine without a GPU can repeat: input subsets, channels x fraction.

Each point is a short training of its own from the same simulated patients with the training's own code, then the
fidelity of its predictions on a few test patients. As in the paper the target is the physical image at the higher dose,
here the noise-free T1c at four times the dose in the T1c's own brain statistics, and fidelity is against the same: does
an input help to predict it? The focal target that t1c-pro is trained for is not asked about. The numbers are those of
under-trained networks: compare them with each other, not with the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.cases import FIRST_TEST_SEED, Case, digest, simulated_case
from evaluation.cohort import MEASURES_VERSION, read_record, write_json
from evaluation.enhancing import Enhancer
from evaluation.images import measure
from training.recipe import Recipe
from training.runs import RunPlan, publish_run, train_folds
from training.simulated import make_patient, pack_cache
from training.switches import change

FIRST_ABLATION_SEED = FIRST_TEST_SEED + 50_000
#: The rows of the paper's table that keep the T1C slot, without which there is nothing to make T1c-pro from.
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
#: What a network has to beat.
UNCHANGED = "the T1c itself"
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
    switches: tuple[str, ...] = (
        "folds=1", "channels=8", "average=0", "patch=64", "head=residual", "bound=none",
        "doses.target_volume=t1c_4", "doses.normalise_target_by=input",
    )  # fmt: skip


def run_point(folder: Path, study: Study, switches: Sequence[str], cases: Sequence[Case]) -> dict[str, float]:
    """Train one network and measure it; a point that is there already with all that decides it is not made again.

    Each recipe has a run folder of its own: a checkpoint of fewer steps would go on along another learning rate, and
    one of more would be published as it is.
    """
    recipe = change(study.preset, [*study.switches, f"steps={study.steps}", *switches])
    made_with = point_identity(recipe, study, cases)
    result = folder / "result.json"
    record = read_record(result, made_with)
    if record is None:
        own = folder / digest(made_with["training"])
        plan = RunPlan(recipe, own / "run", study.data, study.patients, (0,), resume=(own / "run").exists())
        train_folds(plan)
        publish_run(plan, own / "model", version="0.0.0", metrics=None, notes=None)
        enhancer = Enhancer(own / "model", folds=1, mirrorings=1)
        rows = [measure_fidelity(case, enhancer) for case in cases]
        record = {"identity": made_with, "fidelity": _means(rows)}
        write_json(result, record)
    return {name: float("nan") if value is None else float(value) for name, value in record["fidelity"].items()}


def point_identity(recipe: Recipe, study: Study, cases: Sequence[Case]) -> dict[str, Any]:
    """What decides a point's numbers, JSON-ready: the training (recipe and patients) and what it is measured on."""
    packed = [] if study.data is None else sorted(path.stem for path in study.data.glob("[0-9]*.json"))
    training = {
        "recipe": recipe.model_dump(mode="json"),
        "data": None if study.data is None else study.data.name,
        "patients": packed or study.patients,
    }
    return {"training": training, "cases": [case.name for case in cases], "measures": MEASURES_VERSION}


def unchanged(study: Study, cases: Sequence[Case]) -> dict[str, float]:
    """The same measures of the T1c itself."""
    dose_factor = change(study.preset, list(study.switches)).doses.dose_factor
    return _means([measure(case, case.t1c, dose_factor=dose_factor, read=False).flat() for case in cases])


def measure_fidelity(case: Case, enhancer: Enhancer) -> dict[str, float]:
    """Fidelity of one case against the simulated higher dose."""
    return measure(case, enhancer(case).image, dose_factor=enhancer.dose_factor, read=False).flat()


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.nanmean([row.get(name, np.nan) for row in rows])) for name in _KEPT}


def held_out_cases(study: Study) -> list[Case]:
    """The patients that all points are tested on."""
    return [simulated_case(seed) for seed in range(FIRST_ABLATION_SEED, FIRST_ABLATION_SEED + study.test)]


def with_patients(folder: Path, study: Study) -> Study:
    """Pack the training patients once, for all points; simulate them where the study has no cache.

    All that lies in a folder is trained on, so patients of another target, cache or number have another folder.

    Raises
    ------
    FileNotFoundError
        If the cache holds no complete patient.
    """
    target = change(study.preset, list(study.switches)).doses.target_volume
    source = {"target": target, "data": str(study.data and study.data.resolve()), "patients": study.patients}
    packed = folder / f"patients-{digest(source)}"
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
    """The input ablation, and what the T1c itself has."""
    study, cases = with_patients(folder, study), held_out_cases(study)
    rows = {UNCHANGED: unchanged(study, cases)}
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
