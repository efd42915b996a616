"""What folds and mirrorings buy, and whether the spread of the predictions knows where they are wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from evaluation.cases import FIRST_TEST_SEED, simulated_case
from evaluation.enhancing import Enhancer
from evaluation.images import measure
from evaluation.nulls import false_enhancement
from evaluation.regions import masked_smooth

#: (folds, mirrorings): 1, 5, 8 and 40 predictions with five folds.
SIZES: tuple[tuple[int, int], ...] = ((1, 1), (5, 1), (1, 8), (5, 8))
FIRST_ENSEMBLE_SEED = FIRST_TEST_SEED + 30_000
_KEPT = ("roi.cnr", "white.cnr", "noise", "fidelity.psnr_brain", "fidelity.ssim_brain", "glow.percentile_99")


def run_ensemble(
    folder: Path,
    *,
    patients: int,
    sizes: Sequence[tuple[int, int]] = SIZES,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate ensembles of several sizes on the same simulated patients.

    Parameters
    ----------
    folder : Path
        Model folder.
    patients : int
    sizes : sequence of (folds, mirrorings)

    Returns
    -------
    JSON-ready: per "folds x mirrorings" its predictions, measures and seconds, and the AUC of the spread (sizes of one
    prediction have none). Folds that the model lacks don't count: two sizes that come to the same are one row.
    """
    enhancers: dict[str, Enhancer] = {}
    for folds, mirrorings in sizes:
        enhancer = Enhancer(folder, folds=folds, mirrorings=mirrorings)
        enhancers[f"{enhancer.ensemble.predictions // mirrorings} x {mirrorings}"] = enhancer
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(FIRST_ENSEMBLE_SEED, FIRST_ENSEMBLE_SEED + patients):
        case = simulated_case(seed)
        for name, enhancer in enhancers.items():
            made = enhancer(case)
            found = measure(case, made.image, dose_factor=enhancer.dose_factor).flat()
            row = {key: found.get(key, float("nan")) for key in _KEPT}
            row |= {"predictions": made.predictions, "seconds": made.seconds}
            truth = case.focal  # the physical image lifts the whole brain, which would hide what is false
            if made.predictions > 1 and truth is not None:
                wrong = false_enhancement(case, made.image, truth)
                quiet = case.brain & ~case.enhancing if case.enhancing is not None else case.brain
                sigma = [3.0 / 2.3548 / step for step in case.spacing_zyx_mm]
                smooth = masked_smooth(made.spread, case.brain, sigma)
                row["spread_auc"] = area_under_curve(smooth[wrong], smooth[quiet & ~wrong])
            rows.setdefault(name, []).append(row)
            if report is not None:
                report(f"seed {seed}, {name} predictions: {made.seconds:.1f} s")
    return {
        size: {name: float(np.nanmean([row.get(name, np.nan) for row in found])) for name in found[0]}
        | {"patients": len(found)}
        for size, found in rows.items()
    }


def area_under_curve(positive: ArrayLike, negative: ArrayLike) -> float:
    """Probability that a positive scores above a negative (Mann-Whitney U), 0.5 being chance; NaN without either.

    Examples
    --------
    >>> area_under_curve([3, 4], [1, 2]), area_under_curve([1, 3], [2, 2])
    (1.0, 0.5)
    """
    a, b = np.asarray(positive), np.asarray(negative)
    if not a.size or not b.size:
        return float("nan")
    ranks = stats.rankdata(np.concatenate([a, b]))
    u = ranks[: a.size].sum() - a.size * (a.size + 1) / 2
    return float(u / (a.size * b.size))


def ensemble_table(result: Mapping[str, Mapping[str, float]]) -> str:
    """The result in Markdown."""
    lines = [
        "| folds x mirrorings | predictions | s | CNR | white-matter noise % | PSNR brain dB | SSIM brain % | glow % "
        "| AUC of the spread |",
        "|-|-|-|-|-|-|-|-|-|",
    ]
    for size, row in result.items():
        auc = row.get("spread_auc", float("nan"))
        lines.append(
            f"| {size} | {row['predictions']:.0f} | {row['seconds']:.1f} | {row['roi.cnr']:.1f} "
            f"| {100 * row['noise']:.2f} | {row['fidelity.psnr_brain']:.2f} | {100 * row['fidelity.ssim_brain']:.2f} "
            f"| {100 * row['glow.percentile_99']:.1f} | {'–' if not np.isfinite(auc) else f'{auc:.2f}'} |"
        )
    return "\n".join(lines)
