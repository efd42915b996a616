"""Null cases: what must not be enhanced, and how often it is all the same.

False enhancement of a voxel: T1c-pro, smoothed over 3 mm, is above the noise-free T1c by more than 10 % of the
brain's median, where the truth takes up no agent. Stated as a rate: percent of the brain's voxels, mean over the
patients, beside the same for the T1c, whose noise and artefacts alone give a little.

The series lie exactly on the T1c but where a cohort moves them, as misregistration does. Echo-planar distortion of the
ADC, up to some mm over the air of the skull base, stays in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from evaluation import significance
from evaluation.cases import FIRST_TEST_SEED, Case, from_patient, of_test_heads, stored_patient
from evaluation.cohort import identity, read_record, write_json
from evaluation.enhancing import Enhancer
from evaluation.expert import read_lesions
from evaluation.reader import ReaderSettings
from evaluation.regions import masked_smooth
from simulation.layers import Label
from simulation.patient import PatientConfig, SimulatedPatient

#: From here on, null patients; a thousand seeds for each cohort. Below 930000 are the test patients', of which more
#: than one cohort was read; then those of the ensemble study, of the heads and of the ablations.
FIRST_NULL_SEED = FIRST_TEST_SEED + 60_000
TOLERANCE = 0.10
_FWHM_MM = 3.0
# The largest shift is 0, not only the share that is shifted: some T1 are warped by a part of it, shifted or not.
_NONE = PatientConfig(enhancing=0.0, mimics=False, misregistration_share=0.0, misregistration_mm=0.0)


@dataclass(frozen=True)
class NullCohort:
    """Patients that share a reason not to be enhanced.

    Parameters
    ----------
    name : str
    config : PatientConfig
    missing : tuple of roles
        Inputs left out.
    t1_as_t1c : bool
        The T1 itself is given as T1c, voxel for voxel.
    shift_mm : float
        T1, FLAIR and ADC are moved by this much against the T1c, in a direction drawn with the seed.
    mimics : tuple of Label
        What the patients have that might be taken for enhancement.
    seeds : int
        Thousand of seeds; cohorts with the same one share their patients.
    """

    name: str
    config: PatientConfig
    missing: tuple[str, ...] = ()
    t1_as_t1c: bool = False
    shift_mm: float = 0.0
    mimics: tuple[Label, ...] = ()
    seeds: int = 0


COHORTS: tuple[NullCohort, ...] = (
    NullCohort("T1c := T1", _NONE, t1_as_t1c=True),
    NullCohort("no agent, T1c acquired anew", replace(_NONE, same_t1c=True), seeds=1),
    NullCohort("non-enhancing lesions", replace(_NONE, only=("nonenhancing",)), mimics=(Label.NON_ENHANCING,), seeds=2),
    NullCohort("T1-bright lesions", replace(_NONE, only=("bright",)), mimics=(Label.T1_BRIGHT,), seeds=3),
    NullCohort("white-matter disease", replace(_NONE, only=("wmdisease",)), mimics=(Label.WM_DISEASE,), seeds=4),
    *(NullCohort(f"misregistration {shift} mm", _NONE, shift_mm=float(shift)) for shift in (0, 1, 2, 3)),
    NullCohort("without FLAIR", _NONE, missing=("FLAIR",)),
    NullCohort("without ADC", _NONE, missing=("ADC",)),
    NullCohort("without FLAIR and ADC", _NONE, missing=("FLAIR", "ADC")),
    NullCohort("spin echo, then MPRAGE", replace(_NONE, sequences=("se", "mprage")), seeds=5),
    NullCohort("MPRAGE, then spin echo", replace(_NONE, sequences=("mprage", "se")), seeds=6),
    NullCohort("gradient echo, then MPRAGE", replace(_NONE, sequences=("spgr", "mprage")), seeds=7),
)


def false_enhancement(case: Case, image: Volume, truth: Volume) -> Mask:
    """Voxels that are brighter than the truth and take up no agent.

    Parameters
    ----------
    case : Case
        `enhancing` says what takes up agent.
    image, truth : (z, y, x), intensities of the T1c
    """
    quiet = case.brain & ~case.enhancing if case.enhancing is not None else case.brain
    sigma = [_FWHM_MM / 2.3548 / step for step in case.spacing_zyx_mm]
    excess = masked_smooth(image - truth, quiet, sigma)
    return np.asarray(quiet & (excess > TOLERANCE * float(np.median(case.t1c[case.brain]))))


def run_nulls(
    folder: Path,
    model: Path,
    *,
    patients: int,
    folds: int,
    mirrorings: int,
    cohorts: Sequence[NullCohort] = COHORTS,
    kept: Path | None = None,
    anatomies: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Evaluate every null cohort; records are kept as in `cohort.run_cohort`."""
    cohorts = [replace(cohort, config=of_test_heads(anatomies, cohort.config)) for cohort in cohorts]
    results: dict[str, list[dict[str, Any]]] = {}
    enhancer = Enhancer(model, folds=folds, mirrorings=mirrorings)
    for seed_offset in range(patients):
        for thousand in sorted({cohort.seeds for cohort in cohorts}):
            sharing = [cohort for cohort in cohorts if cohort.seeds == thousand]
            seed = FIRST_NULL_SEED + 1000 * thousand + seed_offset
            _run_patient(folder, enhancer, sharing, seed, results, kept, report)
    return results


def _run_patient(
    folder: Path,
    enhancer: Enhancer,
    sharing: Sequence[NullCohort],
    seed: int,
    results: dict[str, list[dict[str, Any]]],
    kept: Path | None,
    report: Callable[[str], None] | None,
) -> None:
    """One patient in all cohorts that share it."""
    patient: SimulatedPatient | None = None
    for cohort in sharing:
        path = folder / cohort.name.replace(" ", "-").replace(":=", "is") / f"{seed}.json"
        enhancer.missing = frozenset(cohort.missing)
        made_with = identity(enhancer, cohort=asdict(cohort))
        record = read_record(path, made_with)
        if record is None:
            if patient is None:
                patient = stored_patient(seed, config=cohort.config, folder=kept)
            record = _record(cohort, patient, enhancer, seed) | {"identity": made_with}
            write_json(path, record)
        results.setdefault(cohort.name, []).append(record)
        if report is not None:
            report(f"{cohort.name}, {seed}: false enhancement {100 * record['pro']['rate']:.2f} %")


def shifted(case: Case, shift_mm: float, seed: int) -> Case:
    """The same case with every input but the T1c moved."""
    if shift_mm == 0:
        return case
    direction = np.random.default_rng(seed).standard_normal(3)
    offset = shift_mm * direction / np.linalg.norm(direction) / np.asarray(case.spacing_zyx_mm)
    volumes = {
        role: volume if role == "T1C" else ndimage.shift(volume, offset, order=1, mode="nearest")
        for role, volume in case.volumes.items()
    }
    return replace(case, volumes=volumes)


def null_case(cohort: NullCohort, patient: SimulatedPatient, seed: int) -> tuple[Case, Volume]:
    """A patient as its cohort has it, and its truth (z, y, x) in intensities of the T1c.

    Without agent nothing enhances, whatever the patient's table says of the full dose: vessels count.
    """
    case = shifted(from_patient(patient), cohort.shift_mm, seed)
    truth = np.asarray(case.focal if case.focal is not None else case.t1c)
    if cohort.t1_as_t1c or cohort.config.same_t1c:
        case = replace(case, enhancing=np.zeros_like(case.brain))
    if cohort.t1_as_t1c:
        case = replace(case, volumes={**case.volumes, "T1C": case.t1})
        truth = case.t1
    return case, truth


def _record(cohort: NullCohort, patient: SimulatedPatient, enhancer: Enhancer, seed: int) -> dict[str, Any]:
    case, truth = null_case(cohort, patient, seed)
    image = enhancer(case).image
    mimic = np.isin(patient.labels, [int(label) for label in cohort.mimics]) & case.brain
    change = image[case.regions.tissue] - case.t1c[case.regions.tissue]
    return {
        "t1c": _rates(case, case.t1c, truth),
        "pro": _rates(case, image, truth),
        "median_absolute_change": float(np.median(np.abs(change)) / np.median(case.t1c[case.brain])),
        "mimic_brightening": _brightening(case, image, truth, mimic),
        "mimic_brightening_t1c": _brightening(case, case.t1c, truth, mimic),
    }


def _rates(case: Case, image: Volume, truth: Volume) -> dict[str, float]:
    quiet = case.brain if case.enhancing is None else case.brain & ~case.enhancing
    marks = read_lesions(image, case.t1, case.brain, place=case.place, spacing_zyx_mm=case.spacing_zyx_mm)
    least = ReaderSettings().threshold
    return {
        "rate": float(false_enhancement(case, image, truth).sum() / max(quiet.sum(), 1)),
        "false_marks": float(sum(mark.score >= least for mark in marks)),
    }


def _brightening(case: Case, image: Volume, truth: Volume, mimic: Mask) -> float | None:
    """Mean of image - truth in the mimics, in brain medians."""
    if not mimic.any():
        return None
    return float((image[mimic] - truth[mimic]).mean() / np.median(case.t1c[case.brain]))


def null_summary(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Means and intervals over the patients of each cohort."""
    summary = {}
    for name, records in results.items():
        rates = [record["pro"]["rate"] for record in records]
        mimics = [record["mimic_brightening"] for record in records if record["mimic_brightening"] is not None]
        plain = [record["mimic_brightening_t1c"] for record in records if record["mimic_brightening_t1c"] is not None]
        summary[name] = {
            "patients": len(records),
            "rate": float(np.mean(rates)),
            "rate_ci": significance.student_interval(rates),
            "rate_t1c": float(np.mean([record["t1c"]["rate"] for record in records])),
            "false_marks": float(np.mean([record["pro"]["false_marks"] for record in records])),
            "false_marks_t1c": float(np.mean([record["t1c"]["false_marks"] for record in records])),
            "median_absolute_change": float(np.mean([record["median_absolute_change"] for record in records])),
            "mimic_brightening": float(np.mean(mimics)) if mimics else None,
            "mimic_brightening_t1c": float(np.mean(plain)) if plain else None,
        }
    return summary


def null_table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """The summary in Markdown."""
    lines = [
        "| cohort | patients | false enhancement, % of brain [95 %] | the same, T1c | false marks/case, T1c -> pro "
        "| median abs. change % | brightening of the mimic, T1c -> pro % |",
        "|-|-|-|-|-|-|-|",
    ]
    for name, row in summary.items():
        interval = (
            "[{:.2f};{:.2f}]".format(*(100 * bound for bound in row["rate_ci"])) if row["patients"] > 1 else "[–]"
        )
        mimic = "–"
        if row["mimic_brightening"] is not None:
            mimic = f"{100 * row['mimic_brightening_t1c']:+.1f} -> {100 * row['mimic_brightening']:+.1f}"
        lines.append(
            f"| {name} | {row['patients']} | {100 * row['rate']:.2f} {interval} "
            f"| {100 * row['rate_t1c']:.2f} | {row['false_marks_t1c']:.2f} -> {row['false_marks']:.2f} "
            f"| {100 * row['median_absolute_change']:.1f} | {mimic} |"
        )
    return "\n".join(lines)
