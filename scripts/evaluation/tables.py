"""Records of a cohort as the paper's tables, in Markdown, and as numbers for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from evaluation import significance
from evaluation.cohort import IMAGES, readings, values
from evaluation.detection import SIZE_SETS, Comparison, Detectability, compare, detectability, froc
from evaluation.reader import ReaderSettings

Records = Sequence[Mapping[str, Any]]

#: (name in the records, heading, factor, digits)
MEASURES: tuple[tuple[str, str, float, int], ...] = (
    ("roi.cnr", "CNR (reader's region)", 1, 1),
    ("white.cnr", "CNR (all white matter)", 1, 1),
    ("roi.lbr", "LBR (reader's region)", 1, 2),
    ("white.lbr", "LBR (all white matter)", 1, 2),
    ("roi.cep", "CEP %", 1, 1),
    ("k_eff_simulated", "k_eff (simulated doses)", 1, 2),
    ("k_eff_own", "k_eff (own sequence inverted)", 1, 2),
    ("k_eff_spgr", "k_eff (SPGR inverted)", 1, 2),
    ("k_eff_inversion", "k_eff (IR-prepared inverted)", 1, 2),
    ("noise", "white-matter noise %", 100, 2),
    ("edge.width_mm", "edge width mm", 1, 2),
    ("edge.height", "edge height", 1, 1),
    ("glow.percentile_99", "glow, 99th percentile %", 100, 1),
    ("fidelity.psnr_brain", "PSNR brain, peak 1, dB", 1, 2),
    ("fidelity.psnr_volume", "PSNR volume, peak 1, dB", 1, 2),
    ("fidelity.psnr_brain_own_peak", "PSNR brain, own peak, dB", 1, 2),
    ("fidelity.ssim_brain", "SSIM brain %", 100, 2),
    ("fidelity.ssim_volume", "SSIM volume %", 100, 2),
    ("fidelity_scaled.psnr_brain", "PSNR brain, one factor, dB", 1, 2),
    ("fidelity_scaled.ssim_brain", "SSIM brain, one factor, %", 100, 2),
    ("fidelity_focal.psnr_brain", "PSNR brain, focal target, dB", 1, 2),
    ("fidelity_focal.ssim_brain", "SSIM brain, focal target, %", 100, 2),
    ("fidelity_focal.lesion_l2", "lesion L2 x 1e-4, focal target", 1e4, 1),
    ("fidelity.l2", "L2 x 1e-5", 1e5, 1),
    ("fidelity.lesion_l2", "lesion L2 x 1e-4", 1e4, 1),
)


def summary(records: Records, *, images: Sequence[str] = IMAGES, threshold: float | None = None) -> dict[str, Any]:
    """Everything the report prints, as numbers."""
    threshold = ReaderSettings().threshold if threshold is None else threshold
    result: dict[str, Any] = {"cases": len(records), "images": {}, "gains": {}, "detection": {}, "froc": {}}
    plain = readings(records, "T1c")
    for image in images:
        result["images"][image] = {name: _moments(records, image, name) for name, *_ in MEASURES}
        if image != "T1c":
            result["gains"][image] = _gains(records, image)
        read = readings(records, image)
        if len(read) < len(plain):
            continue
        result["froc"][image] = asdict(froc(read))
        result["detection"][image] = {}
        for size, low, high in SIZE_SETS:
            count: Detectability = detectability(read, threshold=threshold, from_mm=low, below_mm=high)
            against: Comparison = compare(plain, read, threshold=threshold, from_mm=low, below_mm=high)
            result["detection"][image][size] = asdict(count) | {"against_t1c": asdict(against)}
    result["equal_false_positives"] = _equal_false_positives(records, tuple(result["froc"]), threshold)
    return result


def _moments(records: Records, image: str, name: str) -> dict[str, float]:
    sample = np.asarray(values(records, image, name))
    finite = sample[np.isfinite(sample)]
    if not len(finite):
        return {"n": 0, "mean": float("nan"), "sd": float("nan"), "median": float("nan"), "p": float("nan")}
    return {
        "n": len(finite),
        "mean": float(finite.mean()),
        "sd": float(finite.std(ddof=1)) if len(finite) > 1 else 0.0,
        "median": float(np.median(finite)),
        "p": significance.paired_t(values(records, "T1c", name), sample),
    }


def _gains(records: Records, image: str) -> dict[str, dict[str, float]]:
    """Gain of CNR, split: the ratio of the cohort's means, as the paper's table is read, and medians of ratios."""
    found = {}
    for region in ("roi", "white"):
        plain = {key: np.asarray(values(records, "T1c", f"{region}.{key}")) for key in ("cnr", "lbr", "brain_snr")}
        other = {key: np.asarray(values(records, image, f"{region}.{key}")) for key in ("cnr", "lbr", "brain_snr")}
        if not np.isfinite(plain["cnr"]).any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            found[region] = {
                "cnr": float(np.nanmean(other["cnr"]) / np.nanmean(plain["cnr"])),
                "contrast": float(np.nanmean(other["lbr"] - 1) / np.nanmean(plain["lbr"] - 1)),
                "noise": float(np.nanmean(other["brain_snr"]) / np.nanmean(plain["brain_snr"])),
                "cnr_median": float(np.nanmedian(other["cnr"] / plain["cnr"])),
                "noise_median": float(np.nanmedian(other["brain_snr"] / plain["brain_snr"])),
            }
    return found


def _equal_false_positives(records: Records, images: Sequence[str], threshold: float) -> dict[str, float]:
    """Sensitivity of each image at the false detections per case that the T1c has at the working point."""
    allowed = detectability(readings(records, "T1c"), threshold=threshold).false_per_case
    return {image: froc(readings(records, image)).sensitivity_at(allowed) for image in images}


def contrast_table(result: Mapping[str, Any]) -> str:
    """Table 4 of the paper, and more: mean ± SD over the cases, P of the paired t-test against the T1c.

    Equivalent doses say of how many cases they are: beyond saturation, and without lesion, there is none.
    """
    images = list(result["images"])
    lines = ["| | " + " | ".join(images) + " |", "|-|" + "-|" * len(images)]
    for name, heading, factor, digits in MEASURES:
        cells = []
        for image in images:
            row = result["images"][image][name]
            if not row["n"]:
                cells.append("–")
                continue
            p = "" if image == "T1c" else f" ({format_p(row['p'])})"
            n = f", n {row['n']}" if name.startswith("k_eff") and row["n"] < result["cases"] else ""
            cells.append(f"{factor * row['mean']:.{digits}f} ± {factor * row['sd']:.{digits}f}{p}{n}")
        if any(cell != "–" for cell in cells):
            lines.append(f"| {heading} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gain_table(result: Mapping[str, Any]) -> str:
    """CNR gain against the T1c, and its two factors: ratio of the means."""
    lines = ["| | region | CNR | contrast (LBR - 1) | noise (mean/SD) | CNR, median of ratios |", "|-|-|-|-|-|-|"]
    regions = {"roi": "reader's", "white": "all white matter"}
    for image, found in result["gains"].items():
        for region, row in found.items():
            lines.append(
                f"| {image} | {regions[region]} | x{row['cnr']:.2f} | x{row['contrast']:.2f} | x{row['noise']:.2f} "
                f"| x{row['cnr_median']:.2f} |"
            )
    return "\n".join(lines)


def detection_table(result: Mapping[str, Any]) -> str:
    """Table 5 of the paper: the same reader on every image; images that were not read are named below."""
    lines = [
        "| lesions | image | found | sensitivity % [95 %] [by patient] | P | false/case [95 %] | P | PPV % | F1 % |",
        "|-|-|-|-|-|-|-|-|-|",
    ]
    for size, *_ in SIZE_SETS:
        for image, sizes in result["detection"].items():
            row = sizes[size]
            against = row["against_t1c"]
            p = ("", "") if image == "T1c" else (format_p(against["sensitivity_p"]), format_p(against["false_p"]))
            lines.append(
                f"| {size} | {image} | {row['found']}/{row['lesions']} | {_percent(row['sensitivity'])} "
                f"{_interval(row['sensitivity_ci'], 100)} {_interval(row['sensitivity_patient_ci'], 100)} | {p[0]} | "
                f"{row['false_per_case']:.2f} {_interval(row['false_per_case_ci'], 1)} | {p[1]} | "
                f"{_percent(row['ppv'])} | {_percent(row['f1'])} |"
            )
    unread = [image for image in result["images"] if image not in result["detection"]]
    if unread:
        lines += ["", f"Not read in a quick run: {', '.join(unread)}."]
    return "\n".join(lines)


def format_p(p: float) -> str:
    """P as the paper prints it."""
    if not np.isfinite(p):
        return "–"
    return "P < .001" if p < 0.001 else f"P {p:.3f}".replace("0.", ".")


def _percent(value: float) -> str:
    return f"{100 * value:.0f}" if np.isfinite(value) else "–"


def _interval(bounds: Sequence[float], factor: float) -> str:
    low, high = (factor * float(bound) for bound in bounds)
    if not np.isfinite(low) or not np.isfinite(high):
        return "[–]"
    return f"[{low:.0f};{high:.0f}]" if factor == 100 else f"[{low:.2f};{high:.2f}]"
