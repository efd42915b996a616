"""`evaluate.py realism`: the measure of `evaluation.realism` on folders of real cases and on simulated patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import SimpleITK as sitk

from enhancement.arrays import Mask, Volume

matplotlib.use("Agg")  # no display on a server
from matplotlib import pyplot as plt

from enhancement.imaging.brain.extraction import BrainExtractor, BuiltInExtractor, UnlessBrainExtracted
from enhancement.imaging.registration.prepared_pair import FixedSeries
from enhancement.imaging.registration.register import register_rigid
from enhancement.imaging.resampling import resample
from enhancement.network.brain_extractor import load_brain_network
from enhancement.settings import Role
from evaluation import realism
from evaluation.cohort import write_json
from evaluation.real import RealCase, outlined, read_case
from evaluation.realism import GROUPS, Group, Row
from evaluation.regions import Spacing
from evaluation.studies import write_report
from simulation.layers import Label
from simulation.patient import PatientConfig, SimulatedPatient, simulate_patient
from training.simulated import PHYSIOLOGICAL

Projections = tuple[Volume, Volume, Volume]
_SHOWN = 6
_BRIGHTEST = 2.0
_NORMAL = [int(label) for label in (Label.NONE, *PHYSIOLOGICAL)]


@dataclass(frozen=True)
class Measured:
    """A case's row of the table, and its projections."""

    row: Row
    projections: Projections


def measure_real(real: RealCase, extractor: BrainExtractor, group: Group) -> Measured:
    """A real case, with the brain mask that the plugin would take, turned upright.

    T1 and T1c of one grid are taken to lie on each other; any other T1 is registered rigidly.
    """
    t1c, t1 = real.images[Role.T1C], real.images[Role.T1]
    brain = extractor.extract(t1c).mask
    if not _same_grid(t1, t1c):
        t1 = resample(t1, t1c, register_rigid(FixedSeries(t1c, brain), t1).transform, "linear")
    _, abnormal = outlined(real, t1c, label=-1)
    return _measured(
        real.name,
        group,
        (_upright(t1), _upright(t1c)),
        _upright(brain) > 0,
        _upright(_like(abnormal, t1c)) > 0,
        _upright_spacing(t1c),
    )


def measure_patient(patient: SimulatedPatient) -> Measured:
    """A simulated patient, with the brain mask that the network would get."""
    kind = patient.meta["protocol"]["t1c"]["kind"]
    brain = np.asarray(patient.brain_imperfect, dtype=bool)
    abnormal = ~np.isin(patient.labels, _NORMAL)
    group: Group = "gradient echo" if kind in ("spgr", "mprage") else "spin echo"
    found = _measured(f"sim-{patient.meta['seed']} ({kind})", group, (patient.t1, patient.t1c), brain, abnormal)
    clean = realism.cells(realism.brightening(patient.t1_clean, patient.t1c_k[1.0], brain), brain, abnormal)
    return replace(found, row=replace(found.row, without_noise=clean))


def _measured(
    name: str,
    group: Group,
    images: tuple[Volume, Volume],
    brain: Mask,
    abnormal: Mask,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
) -> Measured:
    d = realism.brightening(*images, brain)
    row = Row(name, group, realism.cells(d, brain, abnormal, spacing_zyx_mm))
    return Measured(row, realism.projections(d, brain))


def realism_study(
    output: Path,
    brain: Path,
    folders: Sequence[Path],
    *,
    spin_echoes: Sequence[Path] = (),
    seeds: Sequence[int],
    config: PatientConfig,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Measure real cases and simulated patients; write report.md, realism.json and projections.png.

    Parameters
    ----------
    output, brain : Path
        Folder of the report; model folder of the built-in brain extractor, for heads that still have a skull.
    folders, spin_echoes : sequence of Path
        Cases as `evaluate.py real` takes them, by the kind of their T1c.
    seeds : sequence of int
        Of the simulated patients.
    config : PatientConfig
    report : callable
        Told of each case.
    """
    extractor = UnlessBrainExtracted(BuiltInExtractor(load_brain_network(brain)))
    real: list[Measured] = []
    for group, chosen in zip(GROUPS, (folders, spin_echoes), strict=True):
        for folder in chosen:
            real.append(measure_real(read_case(folder), extractor, group))
            report(_headline(real[-1].row))
    simulated: list[Measured] = []
    for seed in seeds:
        simulated.append(measure_patient(simulate_patient(seed, config=config)))
        report(_headline(simulated[-1].row))
    _figure(real, simulated, output / "projections.png")
    return _write(output, [m.row for m in real], [m.row for m in simulated])


def _write(output: Path, real: Sequence[Row], simulated: Sequence[Row]) -> dict[str, Any]:
    sets: dict[str, tuple[Group, ...]] = {"all": GROUPS, **{group: (group,) for group in GROUPS}}
    found = {name: realism.verdicts(real, simulated, groups) for name, groups in sets.items()}
    result: dict[str, Any] = {
        "cells": list(realism.CELLS),
        "blind": realism.BLIND,
        "real": [_plain(row) for row in real],
        "simulated": [_plain(row) for row in simulated],
        "verdicts": found,
        "inside": {name: sum(bool(cell["inside"]) for cell in cells.values()) for name, cells in found.items()},
    }
    write_json(output / "realism.json", result)
    parts = [
        (f"{name}: {result['inside'][name]} of {len(realism.CELLS)} cells inside", realism.verdict_table(cells))
        for name, cells in found.items()
        if any(row.group in sets[name] for row in simulated)
    ]
    write_report(
        output,
        f"What normally enhances: {len(real)} real cases, {len(simulated)} simulated patients",
        f"{realism.__doc__}\nThe real range has three cases in it that are not at hand. A verdict other than in: the "
        "median over the bound that it misses.",
        *parts,
        ("Real cases", realism.case_table(real)),
        ("Simulated patients", realism.case_table(simulated)),
        ("Projections of d", "![projections](projections.png)"),
    )
    return result


def _figure(real: Sequence[Measured], simulated: Sequence[Measured], path: Path) -> None:
    """Real cases left, simulated patients right; three projections a case, from 0 to twice the brain's median."""
    sides = (list(real)[:_SHOWN], list(simulated)[:_SHOWN])
    rows = max(len(side) for side in sides)
    if not rows:
        return
    figure, axes = plt.subplots(rows, 6, figsize=(13, 2.6 * rows), facecolor="k", squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for offset, side in zip((0, 3), sides, strict=True):
        for row, case in enumerate(side):
            for column, image in enumerate(case.projections):
                panel = axes[row, offset + column]
                panel.imshow(image, cmap="gray", vmin=0, vmax=_BRIGHTEST, origin="lower", interpolation="nearest")
            axes[row, offset + 1].set_title(f"{case.row.name}, {case.row.group}", color="w", fontsize=8)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.96, 0.02, 0.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, facecolor="k")
    plt.close(figure)


def _headline(row: Row) -> str:
    return f"{row.name}: " + ", ".join(f"{name} {value:.2f}" for name, value in row.cells.items())


def _plain(row: Row) -> dict[str, Any]:
    return {"name": row.name, "group": row.group, **row.cells, "without_noise": row.without_noise}


def _same_grid(a: sitk.Image, b: sitk.Image) -> bool:
    return a.GetSize() == b.GetSize() and all(
        np.allclose(x, y, atol=1e-2)
        for x, y in (
            (a.GetOrigin(), b.GetOrigin()),
            (a.GetSpacing(), b.GetSpacing()),
            (a.GetDirection(), b.GetDirection()),
        )
    )


def _like(mask: Mask, grid: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.CopyInformation(grid)
    return image


def _upright(image: sitk.Image) -> Volume:
    """On the simulator's axes: x to the right, y to the front, z to the head."""
    return np.asarray(sitk.GetArrayFromImage(sitk.DICOMOrient(image, "RAS")), dtype=np.float32)


def _upright_spacing(image: sitk.Image) -> Spacing:
    x, y, z = sitk.DICOMOrient(image, "RAS").GetSpacing()
    return z, y, x
