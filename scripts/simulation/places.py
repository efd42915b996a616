"""Where lesions grow: in their tissue, and some of them against a vein, a sinus, the dura or the plexus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulation.anatomy import Anatomy
from simulation.frames import SHAPE
from simulation.layers import Label, Layer

Centre = tuple[float, float, float]

#: Of a metastasis; the rest grows at the grey-white border.
SITES: tuple[tuple[str, float], ...] = (("vein", 0.16), ("sinus", 0.06), ("dura", 0.08), ("plexus", 0.04))
_TRIES = 600


def place(rng: np.random.Generator, anatomy: Anatomy, kind: str) -> Centre:
    """A random centre where such a lesion grows: metastases at the grey-white border, dural masses on the dura."""
    for _ in range(_TRIES):
        z, y, x = (int(rng.integers(n)) for n in SHAPE)
        d, wm, gm = anatomy.distance[z, y, x], anatomy.wm[z, y, x], anatomy.gm[z, y, x]
        border = d < -2 and wm + gm > 0.6 and (0.1 < wm < 0.9 or rng.random() < 0.12)
        fits = {
            "metastasis": border,
            "miliary": border,
            "glioma": d < -8 and wm > 0.5,
            "lymphoma": d < -12 and wm > 0.5,
            "meningioma": -5 < d < 0 or anatomy.dura[z, y, x] > 0.6 > d,
            "leptomeningeal": -10 < d < -1,
            "laminar": -6 < d < -2 and gm > 0.5,
            "wmdisease": d < -8 and wm > 0.8,
            "cavity": -18 < d < -4,
            "postoperative": -18 < d < -4,
            "bloodrim": -18 < d < -4,
        }.get(kind, d < -2 and wm + gm > 0.5)
        if fits:
            centre = np.array([z, y, x]) + rng.uniform(-0.5, 0.5, 3)
            return float(centre[0]), float(centre[1]), float(centre[2])
    return 80.0, 96.0, 60.0


def draw_site(rng: np.random.Generator, kind: str) -> str:
    """What a lesion grows against; "border" for most metastases, "" for kinds that have a place of their own."""
    if kind not in ("metastasis", "miliary"):
        return ""
    names, weights = zip(*SITES, strict=True)
    return str(rng.choice(("border", *names), p=(1 - sum(weights), *weights)))


def beside(
    rng: np.random.Generator, anatomy: Anatomy, site: str, radius_mm: float, normal: Sequence[Layer]
) -> Centre | None:
    """A centre in the brain from which a lesion of this radius touches what ``site`` says; None where there is none.

    Parameters
    ----------
    site : "vein", "sinus", "dura" or "plexus"
        A sinus is a vessel at the brain's surface, a vein one in its depth.
    radius_mm : mm
    normal : sequence of Layer
        Vessels and plexus of this patient, by their labels.
    """
    targets = _targets(anatomy, site, normal)
    for _ in range(_TRIES if len(targets) else 0):
        at = np.array(np.unravel_index(targets[rng.integers(len(targets))], SHAPE), float)
        direction = rng.normal(0, 1, 3)
        centre = at + direction / np.linalg.norm(direction) * (radius_mm + rng.uniform(-0.3, 1.0))
        voxel = np.rint(centre).astype(int)
        if (voxel < 0).any() or (voxel >= SHAPE).any():
            continue
        z, y, x = voxel
        tissue = anatomy.wm[z, y, x] + anatomy.gm[z, y, x]
        if anatomy.distance[z, y, x] < -min(radius_mm, 2.0) and (tissue > 0.5 or site == "plexus"):
            return float(centre[0]), float(centre[1]), float(centre[2])
    return None


def _targets(anatomy: Anatomy, site: str, normal: Sequence[Layer]) -> NDArray[np.int64]:
    """Flat indices of what a lesion may touch."""
    if site == "dura":
        return np.flatnonzero((anatomy.dura > 0.5) & (anatomy.distance < 3))
    label = Label.PLEXUS if site == "plexus" else Label.VESSEL
    found = [layer.index[layer.alpha > 0.5] for layer in normal if layer.label == label]
    if not found:
        return np.zeros(0, np.int64)
    index = np.unique(np.concatenate(found))
    depth = anatomy.distance.reshape(-1)[index]
    return {"vein": index[depth < -4], "sinus": index[(depth > -4) & (depth < 5)]}.get(site, index)
