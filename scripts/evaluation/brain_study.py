"""The built-in brain extractor on simulated heads of unseen seeds, on real heads, and beside atlas registration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

matplotlib.use("Agg")  # no display on a server
from matplotlib import pyplot as plt

from enhancement.imaging.atlas import load_atlas
from enhancement.imaging.brain.extraction import BuiltInExtractor
from enhancement.imaging.registration.register import FixedSeries, register_affine, resample
from enhancement.network.brain_extractor import load_brain_network
from evaluation.cases import FIRST_TEST_SEED
from simulation.head import simulate_head

FIRST_HEAD_SEED = FIRST_TEST_SEED + 40_000
PLAUSIBLE_LITRES = (1.0, 1.8)


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Overlap of two masks: 2 |A and B| / (|A| + |B|); 1 for two empty ones.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 1.0


def run_heads(
    folder: Path,
    *,
    heads: int,
    with_atlas: bool = True,
    anatomies: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Dice on simulated heads, by contrast, for the extractor and for plain atlas registration.

    Parameters
    ----------
    folder : Path
        The extractor's model folder.
    heads : int
        Seeds `FIRST_HEAD_SEED` on; the contrast is drawn with the seed.
    with_atlas : bool
        Also register the atlas to the head and carry its brain mask over.
    anatomies : Path, optional
        Folder of real heads; those kept for tests are drawn.
    """
    extractor = BuiltInExtractor(load_brain_network(folder))
    found: dict[str, dict[str, list[float]]] = {}
    for seed in range(FIRST_HEAD_SEED, FIRST_HEAD_SEED + heads):
        head = simulate_head(seed, anatomies=anatomies, purpose="test")
        image = sitk.GetImageFromArray(np.asarray(head.image, dtype=np.float32))
        image.SetSpacing((2.0, 2.0, 2.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # the atlas' axes
        truth = np.asarray(head.brain, dtype=bool)
        row = found.setdefault(str(head.contrast), {"network": [], "atlas": []})
        row["network"].append(dice(sitk.GetArrayFromImage(extractor.extract(image).mask) > 0, truth))
        if with_atlas:
            row["atlas"].append(dice(sitk.GetArrayFromImage(atlas_mask(image)) > 0, truth))
        if report is not None:
            report(f"head {seed}, {head.contrast}: Dice {row['network'][-1]:.3f}")
    return {
        contrast: {
            "heads": len(row["network"]),
            "mean": float(np.mean(row["network"])),
            "worst": float(np.min(row["network"])),
            "atlas_mean": float(np.mean(row["atlas"])) if row["atlas"] else None,
        }
        for contrast, row in sorted(found.items())
    }


def atlas_mask(head: sitk.Image) -> sitk.Image:
    """Brain mask by affine registration of the atlas to the whole head, and nothing else."""
    atlas = load_atlas()
    transform = register_affine(FixedSeries(atlas.t1, atlas.brain), head).transform
    return resample(sitk.Cast(atlas.brain, sitk.sitkFloat32), head, transform.GetInverse(), "nearest")


def run_real_heads(
    folder: Path, heads: Sequence[tuple[str, sitk.Image, sitk.Image | None]], figure: Path
) -> dict[str, dict[str, Any]]:
    """Volumes on real heads, Dice where a mask is known, and a figure to look at.

    Parameters
    ----------
    folder : Path
        The extractor's model folder.
    heads : sequence of (name, image, reference mask or None)
    figure : Path
        Of the PNG with the outlines.
    """
    extractor = BuiltInExtractor(load_brain_network(folder))
    found: dict[str, dict[str, Any]] = {}
    panels, axes = plt.subplots(len(heads), 3, figsize=(9, 3 * len(heads)), squeeze=False, facecolor="k")
    for row, (name, image, reference) in enumerate(heads):
        mask = extractor.extract(image).mask
        array = sitk.GetArrayFromImage(mask) > 0
        litres = float(array.sum() * np.prod(image.GetSpacing()) / 1e6)
        known = None if reference is None else dice(array, sitk.GetArrayFromImage(reference) > 0)
        found[name] = {
            "litres": litres,
            "plausible": PLAUSIBLE_LITRES[0] <= litres <= PLAUSIBLE_LITRES[1],
            "dice": known,
        }
        _outlines(axes[row], name, image, array)
    panels.subplots_adjust(0, 0, 1, 0.97, 0.01, 0.05)
    figure.parent.mkdir(parents=True, exist_ok=True)
    panels.savefig(figure, dpi=90, facecolor="k")
    plt.close(panels)
    return found


def _outlines(axes: Sequence[Any], name: str, image: sitk.Image, mask: NDArray[np.bool_]) -> None:
    array = sitk.GetArrayFromImage(image)
    spacing = image.GetSpacing()[::-1]
    top = float(np.percentile(array, 99.5))
    for axis, panel in enumerate(axes):
        inside = np.nonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))[0]
        place = int(np.median(inside)) if inside.size else array.shape[axis] // 2
        rows, columns = (spacing[a] for a in range(3) if a != axis)
        cut = np.take(array, place, axis=axis)
        panel.imshow(cut, cmap="gray", vmin=0, vmax=top, origin="lower", aspect=rows / columns)
        outline = np.take(mask, place, axis=axis)
        if outline.any():
            panel.contour(outline, levels=[0.5], colors="r", linewidths=0.7)
        panel.axis("off")
    axes[0].set_title(name, color="w", fontsize=8)


def brain_table(heads: Mapping[str, Mapping[str, Any]], real: Mapping[str, Mapping[str, Any]]) -> str:
    """Both results in Markdown."""
    lines = ["| contrast | heads | Dice, mean | worst | atlas registration, mean |", "|-|-|-|-|-|"]
    for contrast, row in heads.items():
        atlas = "–" if row["atlas_mean"] is None else f"{row['atlas_mean']:.3f}"
        lines.append(f"| {contrast} | {row['heads']} | {row['mean']:.3f} | {row['worst']:.3f} | {atlas} |")
    if real:
        lines += ["", "| real head | litres | 1.0 to 1.8 | Dice |", "|-|-|-|-|"]
    for name, row in real.items():
        known = "–" if row["dice"] is None else f"{row['dice']:.3f}"
        lines.append(f"| {name} | {row['litres']:.2f} | {'yes' if row['plausible'] else 'no'} | {known} |")
    return "\n".join(lines)
