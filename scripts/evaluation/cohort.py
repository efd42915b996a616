"""A cohort, case by case: each case leaves one JSON record, so that a run goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from enhancement.arrays import Volume
from enhancement.progress import Report
from evaluation.baselines import closed_form, smoothed, subtraction
from evaluation.cases import FIRST_DEVELOPMENT_SEED, Case, simulated_case
from evaluation.enhancing import Enhanced, Enhancer
from evaluation.images import ImageResult, measure
from evaluation.pairing import Lesion, Reading
from evaluation.reader import Detection, ReaderSettings
from training.simulated import FIRST_SEED

IMAGES = ("T1c", "smoothed T1c", "closed form", "scaled subtraction", "T1c-pro")
#: What a quick run has the reader read; it saves half of the time.
READ_QUICKLY = ("T1c", "T1c-pro")
#: Raise it when a measure, the reader's rules or the pairing change: records of another version are made anew.
MEASURES_VERSION = 2
_INFINITE = 1e307  # JSON has no infinity; `write_json` writes 1e308


def comparison_images(case: Case, enhanced: Volume, *, dose_factor: float) -> dict[str, Volume]:
    """T1c-pro beside what it has to beat, all in the numbers of the T1c."""
    return {
        "T1c": case.t1c,
        "smoothed T1c": smoothed(case.t1c, case.brain, case.spacing_zyx_mm),
        "closed form": closed_form(
            case.t1, case.t1c, case.brain, dose_factor=dose_factor, spacing_zyx_mm=case.spacing_zyx_mm
        ),
        "scaled subtraction": subtraction(case.t1, case.t1c, case.brain, dose_factor=dose_factor),
        "T1c-pro": enhanced,
    }


def seeds_of(text: str) -> list[int]:
    """Seeds written as numbers and ranges: "900000-900078,920000" are 80 patients.

    Raises
    ------
    ValueError
        If that can't be read, names a patient twice, or one that a training may draw.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            seeds.extend(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise ValueError(f'seeds are numbers and ranges, as in "900000-900078,920000"; found "{part}"') from None
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f'a cohort needs patients, each of them once; "{text}" has {len(seeds)} seeds')
    drawn = [seed for seed in seeds if not FIRST_DEVELOPMENT_SEED <= seed < FIRST_SEED]
    if drawn:
        raise ValueError(
            f"training may draw patients below {FIRST_DEVELOPMENT_SEED} and from {FIRST_SEED} on; found {drawn[0]}"
        )
    return seeds


def evaluate_case(
    case: Case, enhanced: Enhanced, *, dose_factor: float, reader: ReaderSettings | None = None, quick: bool = False
) -> dict[str, Any]:
    """Measure all images of a case; `quick` has only T1c and T1c-pro read.

    Returns
    -------
    JSON-ready record: name, predictions, facts, and for each image its measures and its reading.
    """
    images = comparison_images(case, enhanced.image, dose_factor=dose_factor)
    results = {
        name: measure(
            case, image, dose_factor=dose_factor, reader=reader,
            read=not quick or name in READ_QUICKLY, with_ssim=not quick or name != "smoothed T1c",
        )
        for name, image in images.items()
    }  # fmt: skip
    return {
        "name": case.name,
        "predictions": enhanced.predictions,
        "seconds": enhanced.seconds,
        "facts": dict(case.facts),
        "images": {name: _as_json(result) for name, result in results.items()},
    }


def run_cohort(
    enhancer: Enhancer,
    folder: Path,
    *,
    seeds: Sequence[int],
    make: Callable[[int], Case] = simulated_case,
    look: Callable[[Case, Enhanced], None] | None = None,
    report: Report | None = None,
    quick: bool = False,
    **of_the_cases: Any,
) -> list[dict[str, Any]]:
    """Evaluate simulated patients one after another.

    Parameters
    ----------
    enhancer : Enhancer
    folder : Path
        Holds one record per case. A record of the same `identity` is not made again.
    seeds : sequence of int
        Of the patients.
    make : callable
        From a seed to a case.
    look : callable, optional
        Called with each case that was newly made, for pictures.
    report : callable, optional
        Told what was done.
    quick : bool
        Read T1c and T1c-pro only.
    of_the_cases
        What `make` decides beside the seed, for the records' identity.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_with = identity(enhancer, quick=quick, **of_the_cases)
    records = []
    for seed in seeds:
        path = folder / f"{seed}.json"
        record = read_record(path, made_with)
        if record is None:
            case = make(seed)
            enhanced = enhancer(case)
            record = evaluate_case(case, enhanced, dose_factor=enhancer.dose_factor, quick=quick) | {
                "identity": made_with
            }
            write_json(path, record)
            if look is not None:
                look(case, enhanced)
        records.append(record)
        if report is not None:
            report(f"{record['name']}: {_headline(record)}")
    return records


def identity(enhancer: Enhancer, *, quick: bool = False, **of_the_cases: Any) -> dict[str, Any]:
    """What decides a record's numbers, JSON-ready.

    Parameters
    ----------
    enhancer : Enhancer
    quick : bool
        Whether only `READ_QUICKLY` is read.
    of_the_cases
        What else the cases of a study differ by.
    """
    mirrorings = len(enhancer.ensemble.mirrorings)
    found: dict[str, Any] = _plain(
        {
            "model": enhancer.model.digest,
            "folds": enhancer.ensemble.predictions // mirrorings,
            "mirrorings": mirrorings,
            "missing": sorted(enhancer.missing),
            "dose_factor": enhancer.dose_factor,
            "reader": asdict(ReaderSettings()),
            "measures": MEASURES_VERSION,
            "quick": quick,
            **of_the_cases,
        }
    )
    return found


def read_record(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """A record of the same `identity`; None where there is none."""
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record if record.get("identity") == dict(identity) else None


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees all of it or nothing; NaN and infinity become null and 1e308."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(_plain(content), indent=1, allow_nan=False), encoding="utf-8")
    partial.replace(path)


def readings(records: Iterable[Mapping[str, Any]], image: str) -> list[Reading]:
    """Readings of one image over the cohort; cases that were not read with it are left out."""
    found = []
    for record in records:
        row = record["images"][image]["reading"]
        if row is None:
            continue
        found.append(
            Reading(
                tuple(Lesion((z, y, x), long, short, kind) for z, y, x, long, short, kind in row["lesions"]),
                tuple(Detection((z, y, x), diameter, score) for z, y, x, diameter, score in row["marks"]),
                tuple(row["within"]),
            )
        )
    return found


def values(records: Iterable[Mapping[str, Any]], image: str, name: str) -> list[float]:
    """One measure of one image over the cohort; NaN where a case lacks it, or where it is not finite.

    The latter is a signal that no dose reaches: the inverted signal equation has no answer, and no mean may have one.
    """
    rows = [record["images"][image]["measures"].get(name) for record in records]
    return [float("nan") if value is None or abs(value) >= _INFINITE else float(value) for value in rows]


def _as_json(result: ImageResult) -> dict[str, Any]:
    reading = result.reading
    return {
        "measures": result.flat(),
        "reading": None
        if reading is None
        else {
            "lesions": [
                [*lesion.centre_mm, lesion.long_mm, lesion.short_mm, lesion.kind] for lesion in reading.lesions
            ],
            "marks": [[*mark.centre_mm, mark.diameter_mm, mark.score] for mark in reading.marks],
            "within": list(reading.within),
        },
    }


def _headline(record: Mapping[str, Any]) -> str:
    plain, pro = (record["images"][name]["measures"] for name in ("T1c", "T1c-pro"))
    parts = [f"glow {100 * pro.get('glow.percentile_99', float('nan')):.1f} %"]
    if plain.get("roi.cnr"):
        parts.append(f"CNR {plain['roi.cnr']:.1f} -> {pro['roi.cnr']:.1f}")
    if plain.get("fidelity.psnr_brain"):
        parts.append(f"PSNR {plain['fidelity.psnr_brain']:.1f} -> {pro['fidelity.psnr_brain']:.1f} dB")
    return ", ".join(parts)


def _plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple, np.ndarray)):
        return [_plain(value) for value in content]
    if isinstance(content, (np.integer, np.bool_)):
        return content.item()
    if isinstance(content, (float, np.floating)):
        number = float(content)
        if np.isnan(number):
            return None
        return float(np.sign(number) * 1e308) if np.isinf(number) else number
    return content
