"""Simulated patients and heads, packed for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from simulation import cache
from simulation.layers import NORMAL_ENHANCEMENT, Label
from simulation.patient import PatientConfig, simulate_patient
from training.patients import pack
from training.recipe import DISEASE, FOCAL

#: Training seeds begin here; those below are left to test cohorts.
FIRST_SEED = 1_000_000
_INPUTS = ("t1", "flair", "adc", "t1c", "t1c_low")
#: Labels of normal structures in the brain that take up agent.
PHYSIOLOGICAL = NORMAL_ENHANCEMENT
NO_UPTAKE = (Label.OEDEMA, Label.NON_ENHANCING, Label.T1_BRIGHT, Label.WM_DISEASE, Label.CAVITY)
#: Receive fields are smoother than this; tissue that is averaged over it has no noise left.
_FIELD_MM = 12.0
#: A lesion's agent reaches beyond the voxels labelled as it, by its soft edge.
_RIM_MM = 2.0


def make_patient(
    number: int,
    path: Path,
    *,
    task: str = "enhance",
    seed: int = 0,
    target: str = "t1c_4",
    head_contrasts: Sequence[str] | None = None,
    anatomies: str = "",
) -> None:
    """Simulate patient number n of a training run and pack it.

    Parameters
    ----------
    number : int
    path : Path
        Of the packed file.
    task : {"enhance", "extract"}
        A patient on the network's grid, or a whole head at 2 mm.
    seed : int
        Of the run: other runs see other patients.
    target : str
        ``t1c_k``, the dose that the network is to show.
    head_contrasts : sequence of str, optional
        Those of heads 0, 1, 2, ..., and again from the first on; by default each head draws its own.
    anatomies : str
        Folder of real heads' label maps, of which those for training are drawn; empty: the ICBM average.
    """
    simulated_seed = FIRST_SEED + 100_000 * seed + number
    if task == "extract":
        contrast = head_contrasts[number % len(head_contrasts)] if head_contrasts else None
        _pack_head(simulated_seed, path, contrast, anatomies)
        return
    patient = simulate_patient(simulated_seed, config=PatientConfig(anatomies=anatomies))
    volumes = {name: getattr(patient, name) for name in _INPUTS}
    volumes["t1c_low"] = in_the_field_of(volumes["t1c_low"], patient.t1_clean, patient.labels, patient.brain)
    if target in (FOCAL, DISEASE):
        volumes[target] = focal_target(
            patient.t1c_k[1.0], patient.t1_clean, patient.labels, patient.brain, disease_only=target == DISEASE
        )
    else:
        volumes[target] = patient.t1c_k[float(target.removeprefix("t1c_"))]
    _pack(path, volumes, patient.labels, patient.brain, patient.brain_imperfect)


def focal_target(
    full: NDArray[np.float32],
    none: NDArray[np.float32],
    labels: NDArray[np.uint8],
    brain: NDArray[np.bool_],
    *,
    disease_only: bool = False,
) -> NDArray[np.float32]:
    """The T1c as if what enhances had four times the dose, and calm brain its own.

    With F what the agent adds to the signal beyond calm brain, and B the mean of the brain, the target is
    T1c + 3 F / (1 + F / B). That is a spoiled gradient echo's answer to four times the dose within some percent
    (0.05, 0.1, 0.2, 0.3 mM at T1 1.55 s: +0.54, 0.89, 1.32, 1.57 against 0.57, 0.95, 1.40, 1.62), asked of every
    sequence alike. The physical image differs by protocol, in ways that the images don't tell: a spin echo loses
    signal to T2, and the whole brain brightens by 5 to 50 %.

    With `disease_only`, vessels, dura and plexus keep the level that was acquired: at four times the dose a small
    vessel looks like a metastasis, and a reader that sees it has nothing to tell them apart by. The network has: the
    vessel's course in all series. Where it can't tell, the least squares are a gain by the odds.

    Parameters
    ----------
    full, none : (z, y, x)
        Noise-free T1c at the full dose and without agent, same gain and receive field.
    labels : (z, y, x)
        0 where the brain is healthy.
    brain : (z, y, x)
    disease_only : bool
        Amplify lesions and 2 mm around them, fading out over one more, and no normal structure.

    Returns
    -------
    (z, y, x), float32
        In the unit of `full`.
    """
    calm = brain & (labels == 0) & (none > 0.5 * float(none[brain].mean()))
    healthy_gain = float(np.percentile(full[calm] / none[calm], 90))
    mean = float(full[brain].mean())
    focal = np.maximum(full - healthy_gain * none, 0.0)
    if disease_only:
        focal = focal * _diseased(labels)
    return np.asarray(full + 3 * focal / (1 + focal / mean), np.float32)


def in_the_field_of(
    low: NDArray[np.float32], clean: NDArray[np.float32], labels: NDArray[np.uint8], brain: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The low dose as if its receive field and gain had been those of the full dose.

    Each acquisition has a field of its own, by which the two differ by up to one standard deviation of the brain, as
    no two would after the plugin's bias correction. A network that is to make the one of the other can't
    know the field of its target, and 1,000 steps taught it nothing else than to guess.

    Parameters
    ----------
    low : (z, y, x)
        T1c at the low dose, as acquired.
    clean : (z, y, x)
        Without agent and noise, in the field of the full dose.
    labels : (z, y, x)
        0 where the brain is healthy.
    brain : (z, y, x)

    Returns
    -------
    (z, y, x), float32
    """
    calm = (brain & (labels == 0)).astype(np.float32)
    theirs, ours = (ndimage.gaussian_filter(volume * calm, _FIELD_MM) for volume in (low, clean))
    known = ours > 1e-3 * float(ours.max())
    return np.asarray(np.where(known, low * ours / np.maximum(theirs, 1e-3 * float(theirs.max())), low), np.float32)


def _diseased(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """1 in and near what takes up agent and is not normal, 0 elsewhere; the grid has 1 mm voxels."""
    sources = (labels != 0) & ~np.isin(labels, [int(label) for label in (*PHYSIOLOGICAL, *NO_UPTAKE)])
    distance = ndimage.distance_transform_edt(~sources) if sources.any() else np.full(labels.shape, np.inf)
    return np.clip(_RIM_MM + 1 - distance, 0.0, 1.0).astype(np.float32)


def pack_cache(folder: Path, packed: Path, target: str = "t1c_4", *, limit: int | None = None) -> None:
    """Pack every complete patient of a simulator's cache that is not packed yet.

    Parameters
    ----------
    folder : Path
        What `simulation.cache.generate` wrote, or is still writing.
    packed : Path
    target : str
        ``t1c_k`` for one of the cache's multiples of the dose.
    limit : int, optional
        Pack no more than the first so many.
    """
    channels = {name: i for i, name in enumerate(cache.CHANNELS)}
    for seed in cache.seeds_in(folder)[:limit]:
        path = packed / f"{seed:06d}.npy"
        if path.with_suffix(".json").exists():
            continue
        found = cache.read(folder, seed)
        volumes = {name: np.asarray(found.volumes[channels[name]], np.float32) for name in _INPUTS}
        masks = {name: np.asarray(found.masks[i]) for i, name in enumerate(cache.MASKS)}
        clean = np.asarray(found.volumes[channels["t1_clean"]], np.float32)
        volumes["t1c_low"] = in_the_field_of(volumes["t1c_low"], clean, masks["labels"], masks["brain"] > 0)
        if target in (FOCAL, DISEASE):
            full, brain = np.asarray(found.volumes[channels["t1c_k1"]], np.float32), masks["brain"] > 0
            volumes[target] = focal_target(full, clean, masks["labels"], brain, disease_only=target == DISEASE)
        else:
            volumes[target] = np.asarray(found.volumes[channels[target.replace("t1c_", "t1c_k")]], np.float32)
        _pack(path, volumes, masks["labels"], masks["brain"] > 0, masks["brain_imperfect"] > 0)


def _pack(
    path: Path,
    volumes: Mapping[str, Any],
    labels: NDArray[np.uint8],
    brain: NDArray[np.bool_],
    imperfect: NDArray[np.bool_],
) -> None:
    target = next(name for name in volumes if name not in _INPUTS)
    masks = {"brain": brain, "brain_imperfect": imperfect}
    pack(path, volumes, masks, labels, units={target: "t1c"}, identity=path.stem)


def pack_heads(folder: Path, packed: Path) -> None:
    """Pack every head that `simulation.head.write_heads` wrote and that is not packed yet."""
    for source in sorted(folder.glob("[0-9]*.npy")):
        path = packed / source.name
        if source.name.endswith(".part.npy") or path.with_suffix(".json").exists():
            continue
        image, brain = np.load(source)
        pack(path, {"head": image.astype(np.float32)}, {"brain": brain > 0}, spacing_mm=2.0, identity=path.stem)


def _pack_head(seed: int, path: Path, contrast: str | None, anatomies: str) -> None:
    from simulation.head import simulate_head

    head = simulate_head(seed, contrast, anatomies=Path(anatomies) if anatomies else None)
    brain = np.asarray(head.brain, bool)
    pack(path, {"head": head.image}, {"brain": brain}, spacing_mm=2.0, identity=path.stem)
