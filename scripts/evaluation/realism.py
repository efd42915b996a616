"""How much of a brain normally brightens, where and how strongly: real cases beside simulated patients.

d = T1c / median - T1 / median over the brain, less its own median. Its shares are counted by the depth below the
surface of the brain mask, with everything abnormal and 4 mm around it left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from evaluation.regions import Spacing

Group = Literal["gradient echo", "spin echo"]
GROUPS: tuple[Group, ...] = ("gradient echo", "spin echo")

#: (name, from mm, to mm) below the surface of the mask.
ZONES: tuple[tuple[str, float, float], ...] = (("rim", 0, 4), ("middle", 4, 15), ("deep", 15, np.inf))
THRESHOLDS = (0.3, 0.6)
CELLS: tuple[str, ...] = tuple(
    f"{zone} {what}" for what in (*(f"> {t:g} %" for t in THRESHOLDS), "p99.9") for zone, *_ in ZONES
)
_MARGIN_MM = 4.0

#: (least, most) of real cases that are not at hand, measured in the same way: two gradient echoes, one spin echo.
BLIND: dict[Group, dict[str, tuple[float, float]]] = {
    "gradient echo": dict(zip(CELLS, (
        (18, 20), (5.0, 7.2), (10, 14), (10, 10), (2.3, 3.1), (2.4, 3.1), (3.7, 4.3), (2.7, 3.4), (2.3, 2.7),
    ), strict=True)),
    "spin echo": dict(zip(CELLS, (
        (9.3, 9.3), (0.7, 0.7), (1.5, 1.5), (1.5, 1.5), (0.04, 0.04), (0.3, 0.3), (1.0, 1.0), (0.5, 0.5), (0.8, 0.8),
    ), strict=True)),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One case's cells: shares in percent, 99.9th percentiles in units of the brain's median.

    ``without_noise`` has the cells of the same patient's noise-free images of one sequence, which only a simulated
    one has: what noise, misregistration and two unlike sequences make of d is not enhancement.
    """

    name: str
    group: Group
    cells: Mapping[str, float]
    without_noise: Mapping[str, float] | None = None


def brightening(t1: Volume, t1c: Volume, brain: Mask) -> Volume:
    """How much brighter each voxel is after contrast (d), in units of the brain's median; 0 outside the brain.

    Parameters
    ----------
    t1, t1c : (z, y, x), intensities
        On one grid.
    brain : (z, y, x)

    Raises
    ------
    ValueError
        If the median of a series in the brain is not positive.
    """
    levels = [float(np.median(volume[brain])) for volume in (t1, t1c)] if brain.any() else [0.0]
    if min(levels) <= 0:
        raise ValueError(f"a brain with positive medians of T1 and T1c was needed, found {levels}")
    d = t1c / np.float32(levels[1]) - t1 / np.float32(levels[0])
    return np.where(brain, d - np.float32(np.median(d[brain])), 0).astype(np.float32)


def cells(d: Volume, brain: Mask, abnormal: Mask, spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0)) -> dict[str, float]:
    """The nine cells of a case; NaN where a zone has no voxel.

    Parameters
    ----------
    d : (z, y, x), brain medians
        From `brightening`.
    brain, abnormal : (z, y, x)
        Tumour, oedema and all else that is not normal is left out, and 4 mm around it.
    spacing_zyx_mm : (z, y, x)
    """
    padded = np.pad(brain, 1)  # a mask that is cut by the grid has its surface there
    depth = ndimage.distance_transform_edt(padded, sampling=spacing_zyx_mm)[1:-1, 1:-1, 1:-1]
    normal = brain
    if abnormal.any():
        normal = brain & (ndimage.distance_transform_edt(~abnormal, sampling=spacing_zyx_mm) > _MARGIN_MM)
    found = {}
    for zone, low, high in ZONES:
        values = d[normal & (depth > low) & (depth <= high)]
        for threshold in THRESHOLDS:
            found[f"{zone} > {threshold:g} %"] = 100 * float((values > threshold).mean()) if len(values) else np.nan
        found[f"{zone} p99.9"] = float(np.quantile(values, 0.999)) if len(values) else np.nan
    return {name: found[name] for name in CELLS}


def projections(d: Volume, brain: Mask) -> tuple[Volume, Volume, Volume]:
    """Maximum-intensity projections of d along z, y and x (axial, coronal, sagittal), cut to the brain."""
    (box,) = ndimage.find_objects(brain.astype(np.uint8))
    inside = np.where(brain, d, 0)[box]
    axial, coronal, sagittal = (inside.max(axis=axis) for axis in range(3))
    return axial, coronal, sagittal


def real_range(rows: Sequence[Row], name: str, groups: Sequence[Group], *, blind: bool = True) -> tuple[float, float]:
    """Least and most of a cell over the real cases of some groups, those not at hand with them; NaN without any."""
    found = [row.cells[name] for row in rows if row.group in groups]
    if blind:
        found += [bound for group in groups for bound in BLIND[group][name]]
    finite = [value for value in found if np.isfinite(value)]
    return (min(finite), max(finite)) if finite else (float("nan"), float("nan"))


def verdicts(
    real: Sequence[Row], simulated: Sequence[Row], groups: Sequence[Group], *, blind: bool = True
) -> dict[str, dict[str, float | bool | str]]:
    """Of each cell: the simulated median and its tenth and ninetieth percentile, the real range, and whether it holds.

    ``verdict`` is "in", or says how often the median goes into the bound that it misses.
    """
    result: dict[str, dict[str, float | bool | str]] = {}
    for name in CELLS:
        values = np.array([row.cells[name] for row in simulated if row.group in groups], dtype=np.float64)
        values = values[np.isfinite(values)]
        p10, median, p90 = np.quantile(values, (0.1, 0.5, 0.9)) if len(values) else (np.nan, np.nan, np.nan)
        low, high = real_range(real, name, groups, blind=blind)
        inside = bool(low <= median <= high)
        off = "in" if inside else f"x{median / (low if median < low else high):.2f}" if np.isfinite(median) else "–"
        clean = [row.without_noise[name] for row in simulated if row.group in groups and row.without_noise]
        result[name] = {
            "without_noise": float(np.nanmedian(clean)) if clean else float("nan"),
            "median": float(median), "p10": float(p10), "p90": float(p90), "low": low, "high": high,
            "inside": inside, "verdict": off, "patients": len(values),
            "share_inside": float(((values >= low) & (values <= high)).mean()) if len(values) else float("nan"),
        }  # fmt: skip
    return result


def verdict_table(found: Mapping[str, Mapping[str, float | bool | str]]) -> str:
    """One line a cell."""
    lines = [
        "| | real | simulated, median (10 to 90 %) | verdict | patients inside | median without noise |",
        "|-|-|-|-|-|-|",
    ]
    for name, cell in found.items():
        lines.append(
            f"| {name} | {_number(cell['low'])} to {_number(cell['high'])} | {_number(cell['median'])} "
            f"({_number(cell['p10'])} to {_number(cell['p90'])}) | {cell['verdict']} | "
            f"{100 * float(cell['share_inside']):.0f} % of {cell['patients']} | "
            f"{_number(cell['without_noise'])} |"
        )
    return "\n".join(lines)


def case_table(rows: Sequence[Row]) -> str:
    """One line a case, as in the table of the real scans: shares by zone, then 99.9th percentiles."""
    head = [f"{zone} > {THRESHOLDS[0]:g} / > {THRESHOLDS[1]:g} %" for zone, *_ in ZONES]
    lines = [f"| | | {' | '.join(head)} | p99.9 |", "|-" * (len(head) + 3) + "|"]
    for row in rows:
        shares = [" / ".join(_number(row.cells[f"{zone} > {t:g} %"]) for t in THRESHOLDS) for zone, *_ in ZONES]
        tops = ", ".join(_number(row.cells[f"{zone} p99.9"]) for zone, *_ in ZONES)
        lines.append(f"| {row.name} | {row.group} | {' | '.join(shares)} | {tops} |")
    return "\n".join(lines)


def _number(value: float | bool | str) -> str:
    number = float(value)
    if not np.isfinite(number):
        return "–"
    return f"{number:.2f}" if abs(number) < 1 else f"{number:.1f}"
