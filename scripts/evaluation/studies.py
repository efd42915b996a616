"""What each sub-command does: run, print nothing, write report.md, JSON and figures to one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from enhancement.progress import Report
from evaluation import ablation, brain_study, edge_study, ensemble_study, nulls, real, sheets, tables
from evaluation.ablation import Study
from evaluation.cases import Case, of_test_heads, simulated_case
from evaluation.cohort import MEASURES_VERSION, evaluate_case, readings, run_cohort, seeds_of, write_json
from evaluation.enhancing import Enhanced, Enhancer
from evaluation.reader import ReaderSettings

_GLOW = """Glow is a lower limit here: calm tissue is what the T1c itself does not show as enhancing. What T1c-pro makes
of the T1c's own false brightening, and all that is near to it, is left out."""

_METHOD = """Intensities are the image's own. White matter: the brightest of three classes of the T1 within the atlas'
(or the truth's) white matter, calm, one voxel inside. The reader's region is that within the 16 mm cube that holds
most of it. P: paired t-test against the T1c; sensitivity McNemar mid-p, false detections Wilcoxon signed-rank
(zero_method "wilcox"); intervals Clopper-Pearson, bootstrap over patients, Student. PSNR has peak 1 on a unit scale
where [0, 1] is a z-score of -3 to 12 of the T1c. SSIM: 3D, Gaussian sigma 1.5, population covariance, data range 1.
"One factor": the image is first brought to the reference's level in calm tissue by one factor. Focal target: only
what is diseased has four times the dose, all else its own. k_eff inverts the signal of a lesion's mean, without T2
and T2*; as a lesion's agent is uneven, the true fourfold dose, too, has less than 4: 1.9 to 3.8 by the own sequence in
six simulated patients.
"""


def cohort_study(
    output: Path,
    model: Path,
    *,
    seeds: str,
    folds: int,
    mirrorings: int,
    figures: int,
    kept: Path | None = None,
    anatomies: Path | None = None,
    quick: bool = False,
    report: Report,
) -> None:
    """The paper's tables 4 and 5 on simulated patients; `seeds` as `seeds_of` reads them."""
    chosen = seeds_of(seeds)
    enhancer = Enhancer(model, folds=folds, mirrorings=mirrorings)

    def look(case: Case, enhanced: Enhanced) -> None:
        if case.facts["seed"] in chosen[:figures]:
            sheets.sheet(case, enhanced.image, output / "sheets" / f"{case.name}.png")

    records = run_cohort(
        enhancer, output / "cases", seeds=chosen, look=look, report=report, quick=quick,
        make=partial(simulated_case, config=of_test_heads(anatomies), folder=kept),
        **({} if anatomies is None else {"anatomies": "heads kept for tests"}),
    )  # fmt: skip
    result = tables.summary(records) | {
        "model": enhancer.model.manifest.name,
        "digest": enhancer.model.digest,
        "predictions": enhancer.ensemble.predictions,
        "reader": asdict(ReaderSettings()),
        "seeds": seeds,
    }
    write_json(output / "cohort.json", result)
    sheets.froc_figure(result["froc"], output / "froc.png", threshold=ReaderSettings().threshold)
    equal = ", ".join(f"{name} {100 * value:.0f} %" for name, value in result["equal_false_positives"].items())
    write_report(
        output,
        f"{enhancer.model.manifest.name} on {len(records)} simulated patients",
        f"Seeds {seeds}, which no training draws. {_who(anatomies)} {enhancer.ensemble.predictions} "
        f"predictions. Model digest {enhancer.model.digest[:12]}. Reference of fidelity: the noise-free T1c at "
        f"{enhancer.dose_factor:g} times the dose. {_METHOD}",
        ("Contrast, texture, fidelity: mean ± SD", tables.contrast_table(result)),
        ("Gain of CNR against the T1c: ratio of the means", tables.gain_table(result)),
        ("Detection by the same automatic reader", tables.detection_table(result)),
        ("Free response", f"![FROC](froc.png)\n\nSensitivity at the T1c's false detections per case: {equal}."),
    )


def _who(anatomies: Path | None) -> str:
    """One sentence for a report; no path of this machine."""
    return f"Anatomies: {'the ICBM average' if anatomies is None else 'real heads that no training may draw'}."


def real_study(
    output: Path,
    model: Path,
    brain: Path,
    folders: Sequence[Path],
    *,
    label: int,
    segmentation: Path | None,
    folds: int,
    mirrorings: int,
    report: Report,
) -> None:
    """The same measures on real cases, through the plugin's pipeline, on the T1c's grid."""
    pipeline = real.Pipeline(model, brain, folds=folds, mirrorings=mirrorings)
    for folder in folders:
        source = real.read_case(folder, segmentation=segmentation)
        case, made = real.as_case(source, pipeline(source), label=label)
        record = evaluate_case(case, made, dose_factor=pipeline.dose_factor)
        record["new_blobs"] = _new_blobs(case, made, record)
        record["digest"] = pipeline.networks.ensemble.model.digest
        record["measures"] = MEASURES_VERSION
        write_json(output / "cases" / f"{case.name}.json", record)
        sheets.sheet(case, made.image, output / "sheets" / f"{case.name}.png")
        report(f"{case.name}: {len(record['new_blobs'])} new blobs")
    write_real_report(output)


def _new_blobs(case: Case, made: Enhanced, record: dict[str, Any]) -> list[dict[str, Any]]:
    (reading,) = readings([record], "T1c-pro")
    marks = [reading.marks[m] for m in reading.kept(ReaderSettings().threshold)]
    return real.new_blobs(case, made.image, marks)


def write_real_report(output: Path) -> None:
    """One report over all real cases whose records lie in the output folder; those of other measures are named."""
    every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((output / "cases").glob("*.json"))]
    records = [record for record in every if record.get("measures") == MEASURES_VERSION]
    earlier = [record["name"] for record in every if record not in records]
    parts = [("Left out", f"Measured by another version of this program: {', '.join(earlier)}.")] if earlier else []
    for record in records:
        result = tables.summary([record])
        blobs = ", ".join(
            f"{b['diameter_mm']:.1f} mm at {[round(c) for c in b['centre_mm']]}" for b in record["new_blobs"]
        )
        text = f"{tables.contrast_table(result)}\n\n{tables.gain_table(result)}\n\n"
        text += f"New bright blobs: {blobs or 'none'}.\n\n"
        parts.append((record["name"], text + f"![{record['name']}](sheets/{record['name']}.png)"))
    detection, read = real_detection(records)
    result = tables.summary(records) | read
    write_json(output / "real.json", result | {"names": [record["name"] for record in records]})
    both = f"{tables.contrast_table(result)}\n\n{_GLOW}\n\n{tables.gain_table(result)}\n\n{detection}"
    write_report(output, "Real cases", f"Through the plugin's pipeline, on the T1c's own grid. {_METHOD}",
                 ("All cases", both), *parts)  # fmt: skip


def real_detection(records: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Detection in the cases that have a reference: as Markdown, and the parts of the summary that depend on it.

    Without a segmentation every mark would count as false and no lesion as missed.
    """
    segmented = [record for record in records if record["facts"]["segmented"]]
    if not segmented:
        text = "Detection: no case has a segmentation, and so no reference to count lesions and false marks against."
        return text, {"detection": {}, "froc": {}, "equal_false_positives": {}, "segmented": []}
    result = tables.summary(segmented)
    names = [record["name"] for record in segmented]
    which = f"Detection in the {len(segmented)} of {len(records)} cases that have a segmentation: {', '.join(names)}."
    parts = {key: result[key] for key in ("detection", "froc", "equal_false_positives")}
    return f"{which}\n\n{tables.detection_table(result)}", parts | {"segmented": names}


def null_study(
    output: Path, model: Path, *, patients: int, folds: int, mirrorings: int, kept: Path | None,
    anatomies: Path | None = None, report: Report,
) -> None:  # fmt: skip
    """What must not be enhanced."""
    results = nulls.run_nulls(output / "cases", model, patients=patients, folds=folds, mirrorings=mirrorings,
                              kept=kept, anatomies=anatomies, report=report)  # fmt: skip
    summary = nulls.null_summary(results)
    write_json(output / "null.json", summary)
    method = f"{nulls.__doc__}\n{_who(anatomies)}"
    write_report(output, "Null cases", method, ("False enhancement", nulls.null_table(summary)))


def ensemble_size_study(output: Path, model: Path, *, patients: int, report: Report) -> None:
    """1, 5, 8 and 40 predictions."""
    result = ensemble_study.run_ensemble(model, patients=patients, report=report)
    write_json(output / "ensemble.json", result)
    points = sorted((row["predictions"], row["fidelity.psnr_brain"]) for row in result.values())
    curve = ([count for count, _ in points], [psnr for _, psnr in points])
    sheets.lines_figure({"T1c-pro": curve}, output / "ensemble.png", x="predictions", y="PSNR in the brain, dB")
    text = (
        "The spread is the SD of the predictions; its AUC is the probability that it is larger at a voxel of false "
        "enhancement than at another voxel that takes up no agent. 0.5 is chance."
    )
    write_report(output, "Folds and mirrorings", text, ("Sizes", ensemble_study.ensemble_table(result)),
                 ("Figure", "![PSNR](ensemble.png)"))  # fmt: skip


def brain_extractor_study(
    output: Path, model: Path, real_heads: Sequence[Path], *, heads: int, atlas: bool, edges: int,
    anatomies: Path | None = None, report: Report,
) -> None:  # fmt: skip
    """The built-in brain extractor. A mask beside a real head, named like it with _brain_mask, is compared with."""
    found = {}
    if heads:
        found = brain_study.run_heads(model, heads=heads, with_atlas=atlas, anatomies=anatomies, report=report)
    loaded = []
    for path in real_heads:
        stem = path.name.split(".")[0]
        known = path.with_name(path.name.replace(stem, f"{stem}_brain_mask"))
        mask = sitk.ReadImage(str(known)) if known.is_file() else None
        loaded.append((f"{path.parent.name}/{stem}", read_head(path), mask))
    volumes = brain_study.run_real_heads(model, loaded, output / "real_heads.png") if loaded else {}
    near = edge_study.run_edges(model, heads=edges, report=report) if edges else []
    write_json(output / "brain.json", {"simulated": found, "real": volumes, "edges": near})
    picture = "![outlines](real_heads.png)" if loaded else "No real heads were given."
    method = f"Simulated heads of seeds that no training draws, and real heads. {_who(anatomies)}"
    write_report(output, "Brain extractor", method,
                 ("Dice and volumes", brain_study.brain_table(found, volumes)),
                 ("What enhances at the edge", edge_study.edge_table(near)), ("Outlines", picture))  # fmt: skip


def read_head(path: Path) -> sitk.Image:
    """A head from a volume file, or from a folder with one DICOM series."""
    if path.is_dir():
        from enhancement.archive.folder import FolderArchive
        from enhancement.dicom.reading.series import read_series

        archive = FolderArchive(path)
        return read_series(archive.instances("", str(archive.headers("")[0].SeriesInstanceUID))).image
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


def ablation_study(output: Path, study: Study, *, report: Report) -> None:
    """The input table of ISBI 2021, small."""
    rows = ablation.run_inputs(output / "points", study, report)
    write_json(output / "ablation.json", {"study": _described(study), "rows": rows})
    write_report(output, "Input ablation", f"{ablation.__doc__}\n{_described(study)}",
                 ("Inputs", ablation.ablation_table(rows)))  # fmt: skip


def channel_study(output: Path, study: Study, *, report: Report) -> None:
    """The channels x fraction figure of ISBI 2021, small."""
    rows = ablation.run_channels(output / "points", study, report=report)
    write_json(output / "channels.json", {"study": _described(study), "rows": rows})
    sheets.lines_figure(ablation.channel_curves(rows), output / "channels.png", x="fraction of the training set",
                        y="PSNR in the brain, dB")  # fmt: skip
    write_report(output, "Channels x fraction", f"{ablation.__doc__}\n{_described(study)}",
                 ("Figure", "![channels](channels.png)"), ("Points", ablation.ablation_table(rows)))  # fmt: skip


def write_report(output: Path, title: str, text: str, *parts: tuple[str, str]) -> None:
    """Write report.md."""
    lines = [f"# {title}", "", text, ""]
    for heading, body in parts:
        lines += [f"## {heading}", "", body, ""]
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.md").write_text("\n".join(lines), encoding="utf-8")


def _described(study: Study) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(study).items()}
