"""The demo's figure and numbers: T1c, T1c-pro, difference and truth through the largest lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

mpl.use("Agg")
from matplotlib import pyplot as plt

Mask = NDArray[np.bool_]
Volume = NDArray[np.floating]


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


def largest_lesion_slice(lesion: Mask) -> int:
    """Index of the slice with most voxels of the largest connected lesion."""
    components = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(lesion.astype(np.uint8))))
    largest = sitk.GetArrayFromImage(components) == 1
    return int(largest.sum(axis=(1, 2)).argmax())


def draw(t1c: Volume, t1c_pro: Volume, lesion: Mask, *, file: Path, contrasts: tuple[Contrast, Contrast]) -> None:
    """Write the figure; all panels are the slice through the largest lesion, all volumes (z, y, x)."""
    index = largest_lesion_slice(lesion)
    window = (0.0, float(np.percentile(t1c_pro[t1c_pro > 0], 99.7)))
    difference = t1c_pro[index] - t1c[index]
    before, after = contrasts
    panels = [
        (f"T1c (acquired)\nCNR {before.cnr:.1f}, LBR {before.lbr:.2f}", t1c[index], "gray", window),
        (f"T1c-pro (AI-enhanced)\nCNR {after.cnr:.1f}, LBR {after.lbr:.2f}", t1c_pro[index], "gray", window),
        ("difference", difference, "magma", (0.0, window[1] * 0.7)),
        ("truth: enhancing lesion", t1c[index], "gray", window),
    ]
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.9), facecolor="black")
    for axis, (title, image, colours, (low, high)) in zip(axes, panels, strict=True):
        axis.imshow(image, cmap=colours, vmin=low, vmax=high, interpolation="bilinear")
        axis.set_title(title, color="white", fontsize=12)
        axis.axis("off")
    axes[3].contour(lesion[index], levels=[0.5], colors="#ff5050", linewidths=1.2)
    figure.tight_layout()
    figure.savefig(file, dpi=110, facecolor="black", bbox_inches="tight")
    plt.close(figure)
