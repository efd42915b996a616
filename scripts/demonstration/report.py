"""The demo's figure and numbers: T1c, T1c-pro, difference and truth through the largest lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from enhancement.arrays import Mask, Volume

mpl.use("Agg")
from matplotlib import pyplot as plt


@dataclass(frozen=True)
class Contrast:
    """Contrast of the enhancing lesions against white matter.

    `cnr` is (mean lesion - mean white matter) / SD of white matter, `lbr` the ratio of the two means
    (Bone et al., Investigative Radiology 2022), both in the image's own intensities.
    """

    cnr: float
    lbr: float


def measure_contrast(volume_zyx: Volume, lesion: Mask, white_matter: Mask) -> Contrast:
    """Contrast of `lesion` against `white_matter`, both on the volume's grid."""
    background = volume_zyx[white_matter]
    signal = float(volume_zyx[lesion].mean())
    return Contrast((signal - float(background.mean())) / float(background.std()), signal / float(background.mean()))


def series_image(instances: Sequence[Dataset]) -> sitk.Image:
    """Stored values times slope plus intercept as a volume (LPS, mm), slices by position along their normal."""
    row, column = np.reshape([float(v) for v in instances[0].ImageOrientationPatient], (2, 3))
    normal = np.cross(row, column)

    def position(ds: Dataset) -> NDArray[np.floating]:
        return np.array([float(v) for v in ds.ImagePositionPatient])

    ordered = sorted(instances, key=lambda ds: float(normal @ position(ds)))
    first, last = ordered[0], ordered[-1]
    slices = [
        ds.pixel_array * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0)) for ds in ordered
    ]
    image = sitk.GetImageFromArray(np.stack(slices).astype(np.float32))
    between_mm = float(np.linalg.norm(position(last) - position(first))) / max(len(ordered) - 1, 1)
    image.SetSpacing([float(first.PixelSpacing[1]), float(first.PixelSpacing[0]), between_mm])
    image.SetOrigin(position(first).tolist())
    image.SetDirection(np.column_stack([row, column, normal]).ravel().tolist())
    return image


def on_grid(truth_file: Path, reference: sitk.Image) -> Mask:
    """A truth mask resampled to another grid by nearest neighbour."""
    truth = sitk.ReadImage(str(truth_file))
    moved = sitk.Resample(truth, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    return np.asarray(sitk.GetArrayFromImage(moved) > 0)


def largest_lesion(lesion: Mask) -> tuple[int, int, int]:
    """Voxel (z, y, x) in the largest connected lesion: its broadest slice, and its centre there."""
    components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(lesion.astype(np.uint8))))
    largest = sitk.GetArrayFromImage(components) == 1
    index = int(largest.sum(axis=(1, 2)).argmax())
    rows, columns = np.nonzero(largest[index])
    return index, round(float(rows.mean())), round(float(columns.mean()))


def draw(
    t1c: sitk.Image, t1c_pro: sitk.Image, lesion: Mask, *, file: Path, contrasts: tuple[Contrast, Contrast], title: str
) -> None:
    """Write the figure: the slice through the largest lesion above, the lesion itself below.

    Parameters
    ----------
    t1c, t1c_pro : float images on one grid
    lesion : (z, y, x)
        Enhancing lesions on that grid.
    """
    volumes = [sitk.GetArrayFromImage(image) for image in (t1c, t1c_pro)]
    index, row, column = largest_lesion(lesion)
    before, after = (volume[index] for volume in volumes)
    usual = float(np.percentile(before[before > 0], 99.0))
    window = (0.0, min(max(float(np.percentile(after[lesion[index]], 90)), usual), 1.4 * usual))
    panels = [
        (f"T1c, acquired\nCNR {contrasts[0].cnr:.1f}, LBR {contrasts[0].lbr:.2f}", before),
        (f"T1c-pro, AI-enhanced\nCNR {contrasts[1].cnr:.1f}, LBR {contrasts[1].lbr:.2f}", after),
        ("difference\nT1c-pro - T1c", before),
        ("truth\nenhancing lesions outlined", before),
    ]
    spacing_x, spacing_y, _ = t1c.GetSpacing()
    views = [_head(before), _around(row, column, before.shape, (spacing_y, spacing_x))]
    figure, axes = plt.subplots(2, 4, figsize=(14, 8.4), facecolor="black", layout="constrained")
    for axis, (name, _) in zip(axes[0], panels, strict=True):
        axis.set_title(name, color="white", fontsize=12)
    for line, (rows, columns) in zip(axes, views, strict=True):
        for axis, (_, image) in zip(line, panels, strict=True):
            axis.imshow(image[rows, columns], "gray", vmin=window[0], vmax=window[1], aspect=spacing_y / spacing_x)
            axis.axis("off")
        amplified = _overlay(
            line[2], (after - before)[rows, columns], limit=0.6 * window[1], aspect=spacing_y / spacing_x
        )
        if lesion[index][rows, columns].any():
            line[3].contour(lesion[index][rows, columns], levels=[0.5], colors="#ff5050", linewidths=1.2)
    bar = figure.colorbar(amplified, ax=axes[:, 3].tolist(), shrink=0.6, pad=0.02)
    bar.set_label("difference (units of the T1c)", color="white")
    bar.ax.tick_params(colors="white")
    figure.suptitle(title, color="white", fontsize=13)
    figure.savefig(file, dpi=110, facecolor="black")
    plt.close(figure)


def _overlay(axis: Any, difference: Volume, *, limit: float, aspect: float) -> Any:
    """What was amplified, in colour over the T1c; what was not stays grey."""
    shown = np.ma.masked_less(difference, 0.1 * limit)
    return axis.imshow(shown, "inferno", vmin=0, vmax=limit, aspect=aspect)


def _head(image: Volume) -> tuple[slice, slice]:
    """Rows and columns of the head, with a margin."""
    inside = image > 0.1 * np.percentile(image, 99)
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(inside.mean(axis=axis) > 0.02)
        low, high = (int(found[0]), int(found[-1])) if found.size else (0, image.shape[1 - axis])
        spans.append(slice(max(0, low - 4), high + 5))
    return spans[0], spans[1]


def _around(row: int, column: int, shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns of a square of 70 mm around a place, moved to lie within the image."""
    spans = []
    for center, size, step in zip((row, column), shape, spacing_mm, strict=True):
        width = min(size, round(70 / step))
        low = min(max(0, center - width // 2), size - width)
        spans.append(slice(low, low + width))
    return spans[0], spans[1]
