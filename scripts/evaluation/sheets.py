"""Pictures for people: sheets of all series, FROC curves, spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume

matplotlib.use("Agg")  # no display on a server
from matplotlib import pyplot as plt

from evaluation.cases import Case
from evaluation.measures import common_gain

COLUMNS = ("T1", "FLAIR", "ADC", "T1c", "T1c-pro", "difference")


def sheet(case: Case, enhanced: Volume, path: Path, *, rows: int = 4) -> None:
    """T1, FLAIR, ADC, T1c, T1c-pro and their difference, in axial and coronal cuts.

    T1, T1c and T1c-pro share one window, so that what looks brighter is brighter; the difference runs from
    -1 to +1 brain medians, grey being none.

    Parameters
    ----------
    case : Case
    enhanced : (z, y, x), intensities of the T1c
    path : Path
        Of the PNG; its folder is made.
    rows : int
        Cuts: all but the last axial.
    """
    window = _window(case, enhanced)
    cuts = _cuts(case, rows)
    figure, axes = plt.subplots(len(cuts), len(COLUMNS), figsize=(2.3 * len(COLUMNS), 2.6 * len(cuts)), facecolor="k")
    for row, (axis, index) in enumerate(cuts):
        for column, (name, volume, low, high) in enumerate(_panels(case, enhanced, window)):
            panel = axes[row, column]
            panel.axis("off")
            if volume is not None:
                colours = "RdBu_r" if name == "difference" else "gray"
                panel.imshow(_cut(volume, axis, index), cmap=colours, vmin=low, vmax=high, origin="lower",
                             aspect=_aspect(case, axis), interpolation="nearest")  # fmt: skip
            if row == 0:
                panel.set_title(name, color="w", fontsize=9)
    figure.suptitle(case.name, color="w", fontsize=9)
    figure.subplots_adjust(0, 0, 1, 0.95, 0.01, 0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="k")
    plt.close(figure)


def _panels(case: Case, enhanced: Volume, top: float) -> list[tuple[str, Volume | None, float, float]]:
    gain = common_gain(case.t1, case.t1c, case.regions.tissue)
    flair = case.volumes.get("FLAIR")
    brightest = float(np.percentile(flair[case.brain], 99.5)) if flair is not None else 1.0
    median = float(np.median(case.t1c[case.brain]))
    return [
        ("T1", case.t1 * np.float32(gain), 0, top),
        ("FLAIR", flair, 0, brightest),
        ("ADC", case.volumes.get("ADC"), 0, 3e-3),
        ("T1c", case.t1c, 0, top),
        ("T1c-pro", enhanced, 0, top),
        ("difference", (enhanced - case.t1c) * case.brain, -median, median),
    ]


def _window(case: Case, enhanced: Volume) -> float:
    median = float(np.median(case.t1c[case.brain]))
    return float(np.clip(np.percentile(enhanced[case.brain], 99.7), 1.6 * median, 2.2 * median))


def _cuts(case: Case, rows: int) -> list[tuple[int, int]]:
    """Axial cuts through the largest lesions, then through the middle; one coronal cut last."""
    lesion = case.regions.lesion
    along = lesion.sum(axis=(1, 2))
    places = [int(np.argmax(along))] if along.any() else []
    inside = np.nonzero(case.brain.any(axis=(1, 2)))[0]
    for part in (0.55, 0.35, 0.75, 0.2, 0.65):
        place = int(inside[0] + part * (inside[-1] - inside[0]))
        if all(abs(place - other) > 8 for other in places):
            places.append(place)
    centre = np.nonzero(case.brain.any(axis=(0, 2)))[0]
    coronal = int(np.argmax(lesion.sum(axis=(0, 2)))) if along.any() else int(np.median(centre))
    return [(0, place) for place in places[: rows - 1]] + [(1, coronal)]


def _cut(volume: Volume, axis: int, index: int) -> NDArray[np.float32]:
    return np.asarray(np.take(volume, index, axis=axis), np.float32)


def _aspect(case: Case, axis: int) -> float:
    z, y, x = case.spacing_zyx_mm
    return (y / x, z / x, z / y)[axis]


def froc_figure(curves: Mapping[str, Mapping[str, Sequence[float]]], path: Path, *, threshold: float) -> None:
    """Sensitivity against false detections per case; the dot is the reader's working point."""
    figure, axes = plt.subplots(figsize=(5, 4))
    for name, curve in curves.items():
        line = axes.step(curve["false_per_case"], curve["sensitivity"], where="post", label=name)[0]
        working = [i for i, t in enumerate(curve["thresholds"]) if t >= threshold]
        if working:
            i = working[-1]
            axes.plot(curve["false_per_case"][i], curve["sensitivity"][i], "o", color=line.get_color())
    axes.set(xlabel="false detections per case", ylabel="sensitivity", ylim=(0, 1))
    axes.set_xscale("symlog", linthresh=0.1)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    _save(figure, path)


def lines_figure(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path, *, x: str, y: str) -> None:
    """Simple curves, for the channels x fraction figure and the ensemble's size."""
    figure, axes = plt.subplots(figsize=(5, 4))
    for name, (across, up) in series.items():
        axes.plot(across, up, "o-", label=name)
    axes.set(xlabel=x, ylabel=y)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
