"""A row of the learning curve: what a network does on real and on simulated cases, beside scaled subtraction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from choosing import curve_store
from choosing.checkpoints import Row
from choosing.curve_cases import CurveCase, Implant, real_case, simulated_case, with_implants
from choosing.recipe import ChoosingRecipe
from enhancement.arrays import Volume
from enhancement.imaging.amplify import Answers, amplify
from enhancement.imaging.intensity import BrainStatistics, normalise
from enhancement.imaging.scaled_subtraction import scaled_subtraction
from enhancement.network.architectures.half_resolution import HalfResolutionNet
from evaluation.brightening import brightening
from evaluation.measures import contrast, gain
from simulation.patient import PatientConfig

#: From the answers of a network (none for scaled subtraction) to an image.
Method = Callable[[CurveCase], Volume]
DOSE = 4.0
TABLE = "curve.md"
#: Of simulated patients that training never draws and no report counts.
SIMULATED_SEEDS = (895_001, 895_002, 895_003, 895_004)
_REAL = ("A", "vessels", "ml", "pieces", "calm", "noise", "CNR", "LBR-1")
_SIZES = ("2", "3", "4-5", "6+", "all")
COLUMNS = (
    *(f"real {name}" for name in _REAL),
    *(f"implants {size}" for size in _SIZES),
    *(f"implants {size} dimmed" for size in _SIZES),
    *(f"sim {name}" for name in (*_REAL, "of dose", "dB", "dB of T1c")),
)


def answers_of(network: HalfResolutionNet, recipe: ChoosingRecipe, case: CurveCase) -> Answers:
    """Run a network on a case; the answers are in the units of its T1c."""
    channels, statistics = [], BrainStatistics(0, 1)
    for channel in recipe.inputs:
        assert channel.limits is not None
        if channel.role not in case.volumes:
            channels.append(np.zeros(case.brain.shape, np.float32))
            continue
        unit, statistics = normalise(channel.role, case.volumes[channel.role], case.brain, *channel.limits)
        channels.append(unit)
    low, high = recipe.inputs[-1].limits  # type: ignore[misc]  # the T1c comes last: its statistics are the units
    x = torch.from_numpy(np.stack(channels))[None].contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(x)[0]
    unit_scale = np.float32((high - low) * statistics.sd)
    return Answers(
        probability=torch.sigmoid(output[0]).numpy() * case.brain,
        noise=output[1].numpy() * unit_scale * case.brain,
        enhancement=output[2].numpy() * unit_scale * case.brain,
    )


def by_network(network: HalfResolutionNet, recipe: ChoosingRecipe) -> Method:
    """T1c-pro of a network."""
    return lambda case: amplify(case.volumes["T1C"], case.brain, answers_of(network, recipe, case), case.measured, DOSE)


def by_subtraction(case: CurveCase) -> Volume:
    """What every network has to beat."""
    return scaled_subtraction(case.volumes["T1C"], case.brain, case.measured, DOSE)


class LearningCurve:
    """Measures a network on the same cases each time, and writes the row down.

    Parameters
    ----------
    recipe : ChoosingRecipe
    folders : sequence of Path
        Brain-extracted real cases with a segmentation.
    config : PatientConfig
        Of the simulated ones, which training never draws.
    run : Path
        Gets the cases once they are prepared, and curve.md, which gets a line a row.
    """

    def __init__(self, recipe: ChoosingRecipe, folders: Sequence[Path], config: PatientConfig, run: Path) -> None:
        self._recipe, self._folders, self._config, self._run = recipe, folders, config, run

    def __call__(self, network: HalfResolutionNet, step: int) -> Row:
        """Measure, and add a line to the table; scaled subtraction is its first line."""
        cases = self._cases()
        if not (self._run / TABLE).exists():
            self._write("scaled subtraction", measure_all(cases, by_subtraction), header=True)
        row = measure_all(cases, by_network(network, self._recipe))
        self._write(f"{step:,} steps", row)
        return row

    def _cases(self) -> list[CurveCase]:
        folder = self._run / "cases"
        if not (folder / curve_store.LIST).exists():
            curve_store.save(curve_cases(self._recipe, self._folders, self._config), folder)
        return curve_store.load(folder)

    def _write(self, name: str, row: Row, *, header: bool = False) -> None:
        columns = [column for column in COLUMNS if column in row]
        with (self._run / TABLE).open("a") as file:
            if header:
                file.write(f"| | {' | '.join(columns)} |\n|{'-|' * (len(columns) + 1)}\n")
            file.write(f"| {name} | {' | '.join(f'{float(row[column]):.3g}' for column in columns)} |\n")


def curve_cases(recipe: ChoosingRecipe, folders: Sequence[Path], config: PatientConfig) -> list[CurveCase]:
    """Real cases, the same with implants, and simulated patients."""
    real = [real_case(folder, recipe) for folder in folders]
    implanted = [with_implants(case, seed) for seed, case in enumerate(real, start=1)]
    return [*real, *implanted, *(simulated_case(seed, config) for seed in SIMULATED_SEEDS)]


def measure_all(cases: Sequence[CurveCase], method: Method) -> Row:
    """The means over the real cases, over their implants and over the simulated cases."""
    row: Row = {}
    rows: dict[str, list[Row]] = {"real": [], "sim": []}
    shares: list[tuple[float, float, float]] = []
    for case in cases:
        image = method(case)
        if case.implants:
            shares += [(i.diameter_mm, i.strength, _share(image, case, i)) for i in case.implants]
            continue
        simulated = case.enhancement is not None
        found = measure_case(case, image)
        rows["sim" if simulated else "real"].append(found)
        if not simulated:
            row |= {f"{case.name} {name}": value for name, value in found.items()}
    for kind, found_rows in rows.items():
        for name in {name: None for found in found_rows for name in found}:
            known = [float(found[name]) for found in found_rows if np.isfinite(float(found.get(name, np.nan)))]
            row[f"{kind} {name}"] = float(np.mean(known)) if known else float("nan")
    return row | implant_row(shares)


def measure_case(case: CurveCase, image: Volume) -> Row:
    """Measures of one image: brightening and contrast of all, truth of simulated ones."""
    t1, t1c = case.volumes["T1"], case.volumes["T1C"]
    found = brightening(t1, t1c, image, case.brain, case.lesion)
    row: Row = {"A": found.lesion, "vessels": found.vessels, "ml": found.millilitres, "pieces": found.pieces}
    row["calm"] = float(np.median(image[case.white]) / np.median(t1c[case.white]))
    row["noise"] = _noise(image, case.roi) / _noise(t1c, case.roi)
    if case.lesion.any():
        change = gain(contrast(image, case.lesion, case.roi), contrast(t1c, case.lesion, case.roi))
        row |= {"CNR": change.cnr, "LBR-1": change.contrast}
    if case.enhancement is not None:
        clean = case.volumes["clean"]
        focal = case.enhancement
        level = float(clean[case.brain].mean())
        target = clean + np.where(case.lesion, 3 * focal / (1 + focal / level), 0)
        row |= {"dB": _psnr(image, target, case.brain), "dB of T1c": _psnr(t1c, target, case.brain)}
        if case.lesion.any():
            row["of dose"] = float((image - clean)[case.lesion].sum() / (target - clean)[case.lesion].sum())
    return row


def implant_row(shares: Sequence[tuple[float, float, float]]) -> Row:
    """Share of the implants that are amplified (A above 0.7) by size, mean A, and the share that is dimmed."""
    row: Row = {}
    for name, low, high in (("2", 0, 2.5), ("3", 2.5, 3.5), ("4-5", 3.5, 5.5), ("6+", 5.5, 99), ("all", 0, 99)):
        some = [a for diameter, _, a in shares if low <= diameter < high]
        if some:
            row[f"implants {name}"] = float(np.mean([a > 0.7 for a in some]))
            row[f"implants {name} A"] = float(np.mean(some))
            row[f"implants {name} dimmed"] = float(np.mean([a < -0.1 for a in some]))
    strong = [a for _, strength, a in shares if strength >= 0.25]
    if strong:
        row["implants strong"] = float(np.mean([a > 0.7 for a in strong]))
    return row


def _share(image: Volume, case: CurveCase, implant: Implant) -> float:
    change = (image - case.volumes["T1C"]).ravel()[implant.index]
    return float(change.sum() / implant.added.sum())


def _noise(image: Volume, roi: NDArray[np.bool_]) -> float:
    """SD over mean in the calm white matter that a reader would outline."""
    return float(image[roi].std() / image[roi].mean())


def _psnr(image: Volume, target: Volume, brain: NDArray[np.bool_]) -> float:
    """Peak: the 99.9th percentile of the target in the brain."""
    error = float(np.square(image - target)[brain].mean())
    return float(10 * np.log10(np.percentile(target[brain], 99.9) ** 2 / error))
