"""`evaluate.py reader`: fits the reader on development patients, and says how well he reads the T1c of others.

Development patients are drawn on the heads for training, from seeds that no report counts; what is reported are
patients on the heads kept for tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Mask, Volume
from enhancement.progress import Report
from evaluation import detection, sheets
from evaluation.cases import digest, reference_lesions
from evaluation.cohort import write_json
from evaluation.expert import atlas_place, mirrored
from evaluation.images import FROC_REACH
from evaluation.judge import Judge, fit_judge, with_bias
from evaluation.normal_prior import normal_enhancement, pitfall_map, pitfall_marks, symmetric, whole, write_prior
from evaluation.pairing import Lesion, Reading, pairs_with, read_case
from evaluation.reader import Candidate, Detection, ReaderSettings, find_candidates, survey
from evaluation.studies import write_report
from evaluation.surroundings import FEATURES, Place, describe, pitfall
from simulation.layers import Label
from simulation.patient import PatientConfig, simulate_patient

#: False marks a patient that the reader is set to make on the development patients, and that people make at most.
WORKING_POINT, ALLOWED = 0.25, 0.3
PEOPLE = (0.55, 0.70)


@dataclass(frozen=True)
class ReaderCase:
    """What the reader needs of a patient, and the truth.

    Parameters
    ----------
    t1, t1c : (z, y, x)
    brain, tissue : (z, y, x)
        The mask that the network gets; what enhances of the lesions.
    lesions : tuple of Lesion
    normal : (z, y, x), half resolution
        Where normal structures enhance.
    """

    t1: Volume
    t1c: Volume
    brain: Mask
    tissue: Mask
    lesions: tuple[Lesion, ...]
    normal: Volume


def reader_case(seed: int, config: PatientConfig, folder: Path) -> ReaderCase:
    """Simulate a patient for the reader, or read what an earlier run left of the same configuration (30 MB each)."""
    path = folder / f"{seed}-{digest(asdict(config))}.npz"
    if not path.is_file():
        patient = simulate_patient(seed, config=config)
        normal = normal_enhancement(patient.t1c_k[1.0], patient.t1_clean, patient.brain, patient.labels)
        tissue = patient.labels == Label.ENHANCING
        lesions = [asdict(lesion) for lesion in reference_lesions(patient, tissue)]
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"part-{path.name}")
        np.savez(
            partial, t1=patient.t1.astype(np.float16), t1c=patient.t1c.astype(np.float16), normal=normal,
            brain=patient.brain_imperfect, tissue=tissue, lesions=np.array(json.dumps(lesions)),
        )  # fmt: skip
        partial.replace(path)
    with np.load(path) as file:
        rows = json.loads(str(file["lesions"]))
        lesions_read = tuple(Lesion(tuple(r["centre_mm"]), r["long_mm"], r["short_mm"], r["kind"]) for r in rows)
        return ReaderCase(
            file["t1"].astype(np.float32), file["t1c"].astype(np.float32), file["brain"].astype(bool),
            file["tissue"].astype(bool), lesions_read, file["normal"],
        )  # fmt: skip


@dataclass(frozen=True)
class Described:
    """A patient's candidates: features, which lesion each pairs with (-1: none), what is neither, and the reading."""

    features: NDArray[np.float64]
    lesion: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    candidates: tuple[Candidate, ...]
    case: ReaderCase


def describe_case(case: ReaderCase, place: Place) -> Described:
    """Find and describe the candidates of a patient's T1c, with this knowledge of anatomy."""
    ground = survey(case.t1c, case.t1, case.brain)
    candidates = tuple(find_candidates(ground))
    features = describe(candidates, ground, case.t1, place)
    marks = [candidate.mark for candidate in candidates]
    within = np.array(read_case(marks, case.lesions, tissue=case.tissue).within, dtype=bool)
    lesion = np.array([_nearest(mark, case.lesions) for mark in marks], dtype=np.intp)
    return Described(features, lesion, within & (lesion < 0), candidates, case)


def _nearest(mark: Detection, lesions: Sequence[Lesion]) -> int:
    near = [(np.linalg.norm(np.subtract(mark.centre_mm, lesion.centre_mm)), n)
            for n, lesion in enumerate(lesions) if pairs_with(mark, lesion)]  # fmt: skip
    return min(near)[1] if near else -1


def judged(described: Described, judge: Judge, *, least: float = FROC_REACH * ReaderSettings().threshold) -> Reading:
    """The reading of a patient by a judge, down to a low probability."""
    likely = judge.probability(described.features)
    marks = [
        Detection(candidate.mark.centre_mm, candidate.mark.diameter_mm, float(p))
        for candidate, p in zip(described.candidates, likely, strict=True)
        if p >= least
    ]
    return read_case(marks, described.case.lesions, tissue=described.case.tissue)


def fit_reader(
    output: Path, *, seeds: Sequence[int], config: PatientConfig, judge_path: Path, prior_path: Path, report: Report
) -> Judge:
    """Fit the prior map and the judge, and write both.

    A patient's own structures are left out of the map that describes it. The bias is set so that at a probability of
    0.5 there are `WORKING_POINT` false marks a patient, each patient judged by a fit without its fold of five.
    """

    def cases() -> Iterator[ReaderCase]:
        return (reader_case(seed, config, output / "patients") for seed in seeds)

    total = np.asarray(np.sum([case.normal for case in cases()], axis=0), dtype=np.float32)
    every: list[Described] = []
    for seed, case in zip(seeds, cases(), strict=True):
        others = symmetric(total - case.normal) / max(len(seeds) - 1, 1)
        every.append(
            describe_case(case, Place(whole(np.asarray(others, np.float32)), mirrored, np.zeros_like(case.t1)))
        )
        report(f"{seed}: {len(every[-1].features)} candidates, {len(case.lesions)} lesions")
    normal = np.asarray(symmetric(total) / len(seeds), np.float32)
    text = f"{len(seeds)} development patients, seeds {min(seeds)} to {max(seeds)}"
    return fit_described(every, normal, text, judge_path=judge_path, prior_path=prior_path)


def fit_described(
    every: Sequence[Described], normal: Volume, fitted_on: str, *, judge_path: Path, prior_path: Path
) -> Judge:
    """Fit on patients that are described but for their pitfalls, and write both files."""
    known, pitfalls = with_pitfalls(every)
    judge = with_bias(_fit(known, fitted_on), working_logit(known))
    write_prior(normal, pitfalls, prior_path)
    judge.save(judge_path)
    return judge


def with_pitfalls(every: Sequence[Described], *, folds: int = 5) -> tuple[list[Described], Volume]:
    """Count where a reader who doesn't know the pitfalls is misled, and tell each patient those of the others.

    Returns
    -------
    patients with their feature "pitfall", and the map over all of them (half resolution)
    """
    marks: list[Volume] = [np.zeros(0, np.float32)] * len(every)
    for fold in range(min(folds, len(every))):
        judge = _fit([d for i, d in enumerate(every) if i % folds != fold])
        for i, patient in enumerate(every):
            if i % folds == fold:
                wrong = (patient.lesion < 0) & ~patient.ignored
                centres = [c.mark.centre_mm for c, false in zip(patient.candidates, wrong, strict=True) if false]
                marks[i] = pitfall_marks(centres, judge.probability(patient.features)[wrong])
    total = np.sum(marks, axis=0)
    column = FEATURES.index("pitfall")
    known = []
    for patient, own in zip(every, marks, strict=True):
        found = pitfall_map(total - own, len(every) - 1)
        features = patient.features.copy()
        features[:, column] = [pitfall(_at(found, c.mark.centre_mm)) for c in patient.candidates]
        known.append(replace(patient, features=features))
    return known, pitfall_map(total, len(every))


def _at(half: Volume, centre_mm: tuple[float, float, float]) -> float:
    place = (int(np.clip(round(at / 2), 0, n - 1)) for at, n in zip(centre_mm, half.shape, strict=True))
    return float(half[tuple(place)])


def _fit(every: Sequence[Described], text: str = "") -> Judge:
    return fit_judge([d.features for d in every], [d.lesion for d in every], [d.ignored for d in every], fitted_on=text)


def working_logit(every: Sequence[Described], *, folds: int = 5) -> float:
    """The logit from which on there are `WORKING_POINT` false marks a patient, each judged by a fit without it."""
    readings = []
    for fold in range(min(folds, len(every))):
        judge = _fit([d for i, d in enumerate(every) if i % folds != fold])
        readings += [judged(d, judge, least=0.003) for i, d in enumerate(every) if i % folds == fold]
    curve = detection.froc(readings)
    kept = [t for t, f in zip(curve.thresholds, curve.false_per_case, strict=True) if f <= WORKING_POINT]
    threshold = float(np.clip(min(kept), 1e-6, 1 - 1e-6))
    return float(np.log(threshold / (1 - threshold)))


def read_cohort(seeds: Sequence[int], config: PatientConfig, folder: Path, judge: Judge) -> Iterator[Reading]:
    """The T1c of patients, read as in every cohort."""
    for seed in seeds:
        yield judged(describe_case(reader_case(seed, config, folder), atlas_place()), judge)


def report_reader(output: Path, readings: Sequence[Reading], judge: Judge) -> dict[str, Any]:
    """Write how well the T1c is read: report.md, reader.json, froc.png."""
    threshold = ReaderSettings().threshold
    curve, area = detection.froc(readings), detection.afroc(readings)
    low, high = detection.sensitivity_interval(readings, ALLOWED)
    rows = {name: asdict(detection.detectability(readings, threshold=threshold, from_mm=a, below_mm=b))
            for name, a, b in detection.SIZE_SETS}  # fmt: skip
    result: dict[str, Any] = {
        "fitted_on": judge.fitted_on,
        "patients": len(readings),
        "sensitivity_at_allowed": curve.sensitivity_at(ALLOWED),
        "sensitivity_at_allowed_ci": [low, high],
        "afroc": asdict(area),
        "sizes": rows,
        "kinds": detection.by_kind(readings, threshold=threshold),
        "froc": asdict(curve),
    }
    write_json(output / "reader.json", result)
    sheets.froc_figure({"T1c": asdict(curve)}, output / "froc.png", threshold=threshold)
    write_report(output, f"The reader on the T1c of {len(readings)} simulated patients",
                 f"Fitted on {judge.fitted_on}. People find {100 * PEOPLE[0]:.0f} to {100 * PEOPLE[1]:.0f} % at "
                 f"{ALLOWED} false marks a case.", ("Working point and curve", _text(result)),
                 ("Sizes", _size_table(rows)), ("Kinds", _kind_table(result["kinds"])),
                 ("Free response", "![FROC](froc.png)"))  # fmt: skip
    return result


def _text(result: dict[str, Any]) -> str:
    whole_ = result["sizes"][">=0 mm"]
    low, high = result["sensitivity_at_allowed_ci"]
    area = result["afroc"]
    return (
        f"At the working point {whole_['found']} of {whole_['lesions']} lesions "
        f"({100 * whole_['sensitivity']:.0f} %) at {whole_['false_per_case']:.2f} false marks a case. At {ALLOWED}: "
        f"{100 * result['sensitivity_at_allowed']:.0f} % [{100 * low:.0f};{100 * high:.0f}]. AFROC area "
        f"{area['area']:.3f} [{area['interval'][0]:.3f};{area['interval'][1]:.3f}], bootstrap over patients."
    )


def _size_table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| lesions | found | sensitivity % | false marks a case |", "|-|-|-|-|"]
    for name, row in rows.items():
        share = "–" if not row["lesions"] else f"{100 * row['sensitivity']:.0f}"
        lines.append(f"| {name} | {row['found']}/{row['lesions']} | {share} | {row['false_per_case']:.2f} |")
    return "\n".join(lines)


def _kind_table(kinds: dict[str, tuple[int, int]]) -> str:
    lines = ["| kind | found |", "|-|-|", *(f"| {name} | {a}/{b} |" for name, (a, b) in kinds.items())]
    return "\n".join(lines)


def development_config(anatomies: Path | None) -> PatientConfig:
    """Heads for training, one dose, and more small lesions than in a cohort, for there is most to learn from them."""
    kinds = (("metastasis", 0.5), ("miliary", 0.15), ("glioma", 0.15), ("lymphoma", 0.05), ("meningioma", 0.06),
             ("leptomeningeal", 0.04), ("postoperative", 0.05))  # fmt: skip
    config = PatientConfig(doses=(1,), enhancing=0.85, kinds=kinds)
    return config if anatomies is None else replace(config, anatomies=str(anatomies), heads="training")
