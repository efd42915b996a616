"""Look at a registration: tiles of the T1c and of another series in turn, before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import SimpleITK as sitk
import typer
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from enhancement.imaging.registration.register import FixedSeries, Registration, register_rigid, resample
from enhancement.pipeline.networks import choose_brain_extractor
from enhancement.settings import Settings

_TILE_MM = 20.0
_AROUND_MM = 25.0
_HEIGHTS = (0.3, 0.5, 0.7)  # of the brain
Plane = NDArray[np.float32]


def main(
    t1c: Annotated[Path, typer.Argument(exists=True, help="NIfTI or any volume that ITK reads")],
    others: Annotated[list[Path], typer.Argument(exists=True, help="Series to register to it")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The figure, PNG")],
    brain: Annotated[
        Path | None, typer.Option(exists=True, help="Brain mask on the T1c's grid; else it is found")
    ] = None,
) -> None:
    """Register each series to the T1c and draw both as one checkerboard; print what the gate sees of it."""
    fixed = _read(t1c)
    root = Path(__file__).resolve().parents[1]
    mask = _mask(brain, fixed) if brain else choose_brain_extractor(Settings(), root).extract(fixed).mask
    rows: list[tuple[str, sitk.Image]] = []
    prepared = FixedSeries(fixed, mask)
    for path in others:
        moving = _read(path)
        found = register_rigid(prepared, moving)
        rows.append((f"{path.name}, as it lies", resample(moving, fixed, sitk.Transform(), "linear")))
        rows.append((f"{path.name}, registered", resample(moving, fixed, found.transform, "linear")))
        print(f"{path.name}: {_told(found)}")
    _draw(fixed, mask, rows, output)


def _read(path: Path) -> sitk.Image:
    return sitk.DICOMOrient(sitk.ReadImage(str(path), sitk.sitkFloat32), "LPS")


def _mask(path: Path, fixed: sitk.Image) -> sitk.Image:
    mask = sitk.Cast(_read(path) > 0, sitk.sitkUInt8)
    # Headers hold single precision: a hundredth of a voxel is the same place.
    if not mask.IsSameImageGeometryAs(fixed, 1e-2, 1e-4):
        raise typer.BadParameter(f"--brain: {path.name} was to lie on the T1c's grid, and does not")
    return mask


def _told(found: Registration) -> str:
    ratio, beside = found.information / max(found.chance, 1e-6), found.neighbour / max(found.information, 1e-6)
    return f"agreement {ratio:.1f} x chance, beside its place {beside:.2f} of that there"


def _draw(fixed: sitk.Image, mask: sitk.Image, rows: list[tuple[str, sitk.Image]], path: Path) -> None:
    inside = sitk.GetArrayFromImage(mask) > 0
    where = np.argwhere(inside)
    low, high = where.min(axis=0), where.max(axis=0)
    spacing = np.array(fixed.GetSpacing()[::-1])
    margin = np.round(_AROUND_MM / spacing).astype(int)
    window = tuple(slice(max(a - m, 0), b + m) for a, b, m in zip(low, high, margin, strict=True))[1:]
    cuts = [int(low[0] + share * (high[0] - low[0])) for share in _HEIGHTS]
    still = _shown(fixed, inside)
    figure, axes = plt.subplots(len(rows), len(cuts), figsize=(4 * len(cuts), 4.4 * len(rows)), squeeze=False)
    for row, (title, image) in enumerate(rows):
        other = _shown(image, inside)
        for axis, cut in zip(axes[row], cuts, strict=True):
            _panel(axis, _checkerboard(still[cut], other[cut], spacing[1:])[window], title, spacing[1] / spacing[2])
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)


def _panel(axis: Any, picture: Plane, title: str, aspect: float) -> None:
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect=aspect)
    axis.set_title(title, fontsize=9)
    axis.axis("off")


def _shown(image: sitk.Image, inside: NDArray[np.bool_]) -> Plane:
    array = sitk.GetArrayFromImage(image)
    # As it lies, a series may be all beside the brain: then by what there is of it.
    white = next((found for found in (np.percentile(array[inside], 99), array.max()) if found > 0), 1.0)
    return np.asarray(np.clip(array / (1.2 * white), 0, 1), np.float32)


def _checkerboard(first: Plane, second: Plane, spacing_mm: NDArray[np.float64]) -> Plane:
    y, x = np.indices(first.shape)
    tile = (y * spacing_mm[0] // _TILE_MM + x * spacing_mm[1] // _TILE_MM) % 2
    return np.where(tile == 0, first, second)


if __name__ == "__main__":
    typer.run(main)
