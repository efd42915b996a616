"""How much of what enhances near the brain's edge a mask keeps: the one that the plugin uses beside the template's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask
from enhancement.imaging.atlas import load_atlas
from enhancement.imaging.brain.extraction import BuiltInExtractor
from enhancement.imaging.preparation import widened
from enhancement.imaging.registration.register import FixedSeries, register_affine, resample
from enhancement.network.brain_extractor import load_brain_network
from evaluation.brain_study import FIRST_HEAD_SEED, dice
from simulation.grids import make_grid
from simulation.layers import Label
from simulation.patient import PatientConfig
from simulation.scene import render, render_truth, simulate_study_scene
from simulation.study import HEAD_BOX_CENTER_MM, HEAD_BOX_MM

EDGE_MM = 3.0
_ENHANCING_MM = 0.03  # mM, above the blood volume of normal tissue
#: Lesions that lie at the dura more often than in other cohorts.
_KINDS = (("meningioma", 0.5), ("metastasis", 0.3), ("glioma", 0.2))
_MASKS = ("used", "network", "template")


def run_edges(folder: Path, *, heads: int, report: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """Count voxels (1 mm) within `EDGE_MM` of the true mask's edge that enhance, and how many each mask keeps.

    Parameters
    ----------
    folder : Path
        The extractor's model folder.
    heads : int
        Simulated T1c with the skull on, seeds `FIRST_HEAD_SEED` on.

    Returns
    -------
    list of dict
        One a head: for "enhancing" (all that takes up agent) and "lesion" the voxels "there", and those that each mask
        keeps: the "network" alone, the one "used" (widened), and the "template"; and their Dice with the true one.
    """
    extractor = BuiltInExtractor(load_brain_network(folder))
    found = []
    for seed in range(FIRST_HEAD_SEED, FIRST_HEAD_SEED + heads):
        found.append({"seed": seed, **_one_head(seed, extractor)})
        if report is not None:
            report(f"edge of head {seed}: {found[-1]}")
    return found


def _one_head(seed: int, extractor: BuiltInExtractor) -> dict[str, dict[str, float]]:
    scene = simulate_study_scene(seed, config=PatientConfig(enhancing=1.0, kinds=_KINDS))
    grid = make_grid("axial", (1.0, 1.0, 1.0), HEAD_BOX_MM, center_mm=HEAD_BOX_CENTER_MM).empty()
    head, before = render(scene, "t1c", grid), render(scene, "t1", grid)
    found = extractor.extract(head)
    brain, possible = found.mask, found.mask if found.possible is None else found.possible
    to_head = register_affine(FixedSeries(load_atlas().t1, load_atlas().brain), sitk.Mask(head, brain)).transform
    used = widened(possible, head, to_head, before)
    template = resample(load_atlas().brain, head, to_head.GetInverse(), "nearest")
    masks = {"network": _array(brain) > 0, "used": _array(used) > 0, "template": _array(template) > 0}
    truth = _array(render_truth(scene, "brain", grid)) > 0
    near = edge_of(truth)
    tissues = {
        "enhancing": _array(render_truth(scene, "concentration", grid)) > _ENHANCING_MM,
        "lesion": _array(render_truth(scene, "labels", grid)) == Label.ENHANCING,
    }
    kept = {name: _kept(tissue & near, masks) for name, tissue in tissues.items()}
    return kept | {"dice": {name: round(dice(mask, truth), 3) for name, mask in masks.items()}}


def edge_of(brain: Mask, spacing_mm: float = 1.0) -> Mask:
    """The part of a mask that lies within `EDGE_MM` of its edge."""
    return np.asarray(brain & (ndimage.distance_transform_edt(brain, spacing_mm) <= EDGE_MM))


def edge_table(found: Sequence[dict[str, Any]]) -> str:
    """Shares kept over all heads, in Markdown."""
    if not found:
        return "Not asked for (--edges)."
    lines = ["| within 3 mm of the edge | voxels | kept, built-in | network alone | template |", "|-|-|-|-|-|"]
    for name in ("enhancing", "lesion"):
        total = {key: sum(row[name][key] for row in found) for key in ("there", *_MASKS)}
        shares = [f"{total[key] / max(total['there'], 1):.1%}" for key in _MASKS]
        lines.append(f"| {name} | {total['there']} | {' | '.join(shares)} |")
    means = [f"{np.mean([row['dice'][key] for row in found]):.3f}" for key in _MASKS]
    return "\n".join([*lines, f"| Dice, mean | | {' | '.join(means)} |"])


def _kept(tissue: Mask, masks: dict[str, Mask]) -> dict[str, float]:
    return {"there": int(tissue.sum()), **{name: int((tissue & mask).sum()) for name, mask in masks.items()}}


def _array(image: sitk.Image) -> NDArray[Any]:
    return np.asarray(sitk.GetArrayFromImage(image))
