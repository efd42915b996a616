"""How a viewer shows a derived series at first: its VOI windows (PS3.3 C.11.2).

A reader compares the result with the series that it lies on, so brain must be as grey in one as in the other. What was
amplified, however, lies beyond that series' window and would be one white blot in it. The window given first therefore
starts where the source's does and ends higher, as far as the amplified tissue needs it; the source's own comes second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from enhancement.dicom.reading.series import SourceSlice
from enhancement.dicom.writing.source_header import decimal, numbers, value

WIDEST = 1.5
"""At most this many times the source's window: wider, and brain would drown in black for the sake of a few voxels."""

AMPLIFIED = 1.15
"""Brighter than the source by this factor counts as amplified; noise is not."""

FEWEST_AMPLIFIED = 30
TISSUE_PERCENTILE, AMPLIFIED_PERCENTILE = 99.7, 95.0
WIDEST_PLAUSIBLE = 4.0

Levels = NDArray[np.floating] | NDArray[np.uint16]


@dataclass(frozen=True)
class Window:
    """Stored values shown as black and as white, and what the window is for."""

    low: float
    high: float
    explanation: str = ""

    @property
    def center(self) -> float:
        return (self.low + self.high) / 2

    @property
    def width(self) -> float:
        return self.high - self.low


def source_window(slices: Sequence[SourceSlice]) -> Window | None:
    """The window in which the source is shown, in its units after rescale: the median over its slices.

    None where most slices have none, or one that is not linear.
    """
    found = [window for part in slices if (window := _slice_window(part)) is not None]
    if 2 * len(found) <= len(slices):
        return None
    return Window(float(np.median([w.low for w in found])), float(np.median([w.high for w in found])))


def enhanced_windows(
    enhanced: Levels, source: Levels, shown: Window | None, explanations: tuple[str, str]
) -> tuple[Window, ...]:
    """Windows of an enhanced volume, the one to begin with first.

    Parameters
    ----------
    enhanced, source : (z, y, x), stored values
        The result and the series that it lies on, on one scale.
    shown : Window, optional
        Of the source, on the same scale; one that hides the tissue is not used.
    explanations : (str, str)
        What the first window is for where there are two, and what the second.

    Returns
    -------
    tuple of Window
        One, or two where the enhanced volume needs more room than the source.
    """
    tissue = _tissue(source if source.max() > 0 else enhanced)
    middle, bright = (float(level) for level in np.percentile(tissue, [50.0, TISSUE_PERCENTILE]))
    bright = max(bright, 2.0)
    usable = shown is not None and shown.low < middle < shown.high and shown.width <= WIDEST_PLAUSIBLE * bright
    base = shown if usable and shown is not None else Window(0.0, bright)
    amplified = enhanced[(enhanced > AMPLIFIED * source) & (enhanced > middle)]
    high = base.high
    if amplified.size >= FEWEST_AMPLIFIED:
        wanted = float(np.percentile(amplified, AMPLIFIED_PERCENTILE))
        high = min(max(high, wanted), base.low + WIDEST * base.width)
    first = Window(base.low, float(round(high)), explanations[0])
    if first.high <= base.high:
        return (Window(base.low, base.high),)
    return first, Window(base.low, base.high, explanations[1])


def write_windows(ds: Dataset, windows: Sequence[Window]) -> None:
    """Window Center and Width; explanations where there is a choice (PS3.3 C.11.2)."""
    ds.WindowCenter = [decimal(round(window.center, 3)) for window in windows]
    ds.WindowWidth = [decimal(round(window.width, 3)) for window in windows]
    if len(windows) > 1:
        ds.WindowCenterWidthExplanation = [window.explanation for window in windows]


def _slice_window(part: SourceSlice) -> Window | None:
    """The first window of a slice, of any number that it offers."""
    header, frame = part.header, part.frame_number
    if str(value(header, "VOILUTFunction", frame) or "LINEAR") not in ("LINEAR", "LINEAR_EXACT"):
        return None
    ends = [_first_number(part, keyword) for keyword in ("WindowCenter", "WindowWidth")]
    center, width = ends
    if center is None or width is None or not (np.isfinite(center) and np.isfinite(width) and width >= 1):
        return None
    return Window(center - width / 2, center + width / 2)


def _first_number(part: SourceSlice, keyword: str) -> float | None:
    found = value(part.header, keyword, part.frame_number)
    count = len(found) if isinstance(found, Sequence) and not isinstance(found, str) else 1
    values = numbers(part.header, keyword, count, part.frame_number)
    return values[0] if values else None


def _tissue(volume: Levels) -> Levels:
    """What is brighter than air, which fills half of most volumes."""
    values = volume[volume > 0]
    if values.size == 0:
        return np.array([1.0])
    tissue: Levels = values[values > values.mean() / 2]
    return tissue
