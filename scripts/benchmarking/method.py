"""What the method costs by itself, beside plain ways to the same: one run, and each in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from enhancing.settings import settings_for

Say = Callable[[str], None]
Figures = dict[str, Any]
#: What is timed, and what is told of its outcome; whatever has to be imported for it is there.
Prepared = tuple[Callable[[], Any], Callable[[Any], Figures]]
_SECTION = "ContrastEnhancement."


def measure(study: Path, overrides: Sequence[str], *, say: Say) -> Figures:
    """Seconds and memory of reading, of one prediction and of the whole, and ratios to plain ways.

    Plain reading is pydicom, file by file, stacked as float32. Plain prediction is one network of the model, as
    PyTorch runs it when nothing is asked: float32, one pass, no mirror image.

    Parameters
    ----------
    study : Path
        DICOM files of one study that is enhanced.
    overrides : sequence of str
        KEY=VALUE as for scripts/serve; those of the plugin's section count.
    """
    changes = [one for one in overrides if one.startswith(_SECTION)]
    reading = _alone(_read, study, changes)
    plain_reading = _alone(_read_plainly, study, reading.pop("series"))
    say(f"reading: {reading['seconds']:.1f} s, plainly {plain_reading['seconds']:.1f} s")
    plain = _alone(_predict_plainly, changes)
    say(f"one prediction, plainly: {plain['seconds']:.1f} s")
    whole = _alone(_enhance, study, changes)
    say(f"the whole: {whole['seconds']:.1f} s, {whole['predictions']} predictions")
    each = whole["stage_seconds"]["predicting"] / whole["predictions"]
    return {
        "reading": reading,
        "plain_reading": plain_reading,
        "plain_prediction": plain,
        "whole": whole | {"seconds_a_prediction": round(each, 2)},
        "ratio_reading": _ratio(reading["seconds"], plain_reading["seconds"]),
        "ratio_reading_memory": _ratio(reading["grown_mb"], plain_reading["grown_mb"]),
        "ratio_a_prediction": _ratio(each, plain["seconds"]),
        "ratio_whole_to_one_prediction": _ratio(whole["seconds"], plain["seconds"]),
        "ratio_memory": _ratio(whole["peak_mb"], plain["peak_mb"]),
    }


def _ratio(ours: float, plain: float) -> float:
    return round(ours / max(plain, 1e-6), 3)


def _alone(work: Callable[..., Prepared], *arguments: Any) -> Figures:
    """Run it in a fresh process, whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_timed, work, arguments).result()


def _timed(work: Callable[..., Prepared], arguments: Sequence[Any]) -> Figures:
    """Seconds and memory of what `work` prepares, without the preparing."""
    run, tell = work(*arguments)
    before, began = _peak_mb(), time.perf_counter()
    outcome = run()
    seconds, peak = time.perf_counter() - began, _peak_mb()
    return {"seconds": round(seconds, 2), "peak_mb": peak, "grown_mb": peak - before, **tell(outcome)}


def _peak_mb() -> int:
    """Largest resident memory so far; that of getrusage would be the parent's where it was larger."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) >> 10


def _read(study: Path, changes: Sequence[str]) -> Prepared:
    from enhancement.archive.folder import FolderArchive
    from enhancement.pipeline.read import StudyInput, read_study
    from enhancement.recipes.offer import offered

    settings, _ = settings_for(None, changes, brain_extracted=False)
    recipe = offered(settings).default

    def series(read: StudyInput) -> list[str]:
        # Other roles are matched and left alone, so plain reading is not to read them either.
        return sorted(uid for role in recipe.inputs for uid in read.match.uids(role))

    return lambda: read_study(FolderArchive(study), "", recipe, settings), lambda read: {"series": series(read)}


def _read_plainly(study: Path, series: Sequence[str]) -> Prepared:
    def run() -> list[np.ndarray[Any, Any]]:
        planes = defaultdict(list)
        for path in sorted(study.rglob("*.dcm")):
            ds = dcmread(path)
            if ds.SeriesInstanceUID in series:
                planes[ds.SeriesInstanceUID].append(ds.pixel_array.astype(np.float32))
        return [np.stack(found) for found in planes.values()]

    return run, lambda volumes: {"voxels": sum(volume.size for volume in volumes)}


def _predict_plainly(changes: Sequence[str]) -> Prepared:
    import torch

    from enhancement.imaging.atlas import network_grid
    from enhancement.network.engines.torch import choose_device
    from enhancement.network.weights import load_model
    from enhancement.pipeline.networks import model_folder
    from enhancement.recipes.offer import offered

    settings, root = settings_for(None, changes, brain_extracted=False)
    device = choose_device(settings.model.devices[0])
    model = load_model(model_folder(offered(settings).default, settings, root))
    network = model.build(0).to(device)
    inputs = torch.rand(1, model.manifest.network.in_channels, *network_grid().GetSize()[::-1], device=device)

    def run() -> Any:
        with torch.inference_mode():
            return network(inputs).cpu()

    return run, lambda _: {}


def _enhance(study: Path, changes: Sequence[str]) -> Prepared:
    from enhancement.recipes.offer import offered
    from enhancing.work import enhance_study

    settings, root = settings_for(None, changes, brain_extracted=False)

    def run() -> Any:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
            return enhance_study(
                study, Path(name), offered(settings).default.name, settings, root, lambda _stage, _fraction: None
            )

    return run, lambda done: {
        "stage_seconds": {stage: round(seconds, 2) for stage, seconds in done.seconds.items()},
        "predictions": done.predictions,
    }
