"""From the command line's choices to trained folds and a model folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from enhancement.errors import InputError
from enhancement.network.manifest import Manifest
from enhancement.pipeline.networks import choose_brain_extractor
from enhancement.progress import Report
from enhancement.settings import Settings
from training import checkpoints
from training.console import TrainingProgress
from training.patients import ENHANCING, REAL_STUDY, open_packed, packed_files
from training.publish import publish
from training.recipe import SIMULATED, Doses, Recipe
from training.simulated import make_patient, pack_cache, pack_heads
from training.sources import OnTheFly, PackedFolder, Source
from training.studies import VOLUMES, pack_studies
from training.trainer import RunSettings, Trainer, needed_volumes

_log = logging.getLogger(__name__)
#: Where relative paths of the plugin's settings start: its models, among them the brain extractor's.
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RunPlan:
    """A run of one or more folds, and where its patients come from."""

    recipe: Recipe
    folder: Path
    data: Path | None
    simulate: int
    folds: tuple[int, ...]
    start: Path | None = None
    resume: bool = False
    device: str = "auto"
    threads: int = 0
    save_every: int = 200
    label: int = ENHANCING


def open_source(plan: RunPlan, report: Report = _log.warning) -> Source:
    """Find out what the data folder holds and make it ready for training.

    A folder of packed patients is used as it is. A simulator's cache (index.json) and a folder of studies (a sub-folder
    a patient) are packed once into the run's folder, with what was there before kept.

    Parameters
    ----------
    plan : RunPlan
    report : callable
        Told which studies are left out, and why.

    Raises
    ------
    InputError
        If no study is left to train on, or what the run's folder holds was packed otherwise.
    """
    packed = packed_folder(plan)
    target = _target(plan.recipe.doses)
    if plan.data is None:
        recipe = plan.recipe
        wanted = {} if recipe.head_contrasts is None else {"head_contrasts": ",".join(recipe.head_contrasts)}
        wanted |= {"anatomies": "real heads"} if recipe.anatomies else {}
        _claim(plan, packed, source="simulation", task=recipe.task, seed=recipe.seed, target=target, **wanted)
        make = partial(
            make_patient, task=recipe.task, seed=recipe.seed, target=target, head_contrasts=recipe.head_contrasts,
            anatomies=recipe.anatomies,
        )  # fmt: skip
        each = 4 if recipe.task == "extract" else 25  # a head takes a second to make, a patient ten
        return OnTheFly(make, packed, window=plan.simulate, steps_each=each)
    if (plan.data / "index.json").exists():
        _claim(plan, packed, source="cache", target=target)
        pack_cache(plan.data, packed, target)
    elif plan.recipe.task == "extract" and packed != plan.data:
        _claim(plan, packed, source="heads")
        pack_heads(plan.data, packed)
    elif packed != plan.data:
        return PackedFolder(packed, _complete(plan.recipe, _pack_studies(plan, plan.data, packed, report), report))
    return PackedFolder(packed, _complete(plan.recipe, packed_files(packed), report))


def _claim(plan: RunPlan, packed: Path, **wanted: str | int) -> None:
    """Take the run's folder of packed patients for this plan: what lies there is used again, so it must fit.

    Parameters
    ----------
    plan : RunPlan
    packed : Path
    **wanted
        All that decides what a packed patient is, beside the data.

    Raises
    ------
    InputError
        If patients lie there that were packed otherwise, or nobody knows how.
    """
    record = plan.folder / "patients.json"
    # Before there was a record a resumed run is held to its checkpoint's recipe alone.
    known = json.loads(record.read_text()) if record.exists() else (wanted if plan.resume else None)
    if known != wanted and packed_files(packed):
        found = "no record" if known is None else ", ".join(f"{k} {known.get(k)}" for k in {**wanted, **known})
        raise InputError(
            f"packed patients of {', '.join(f'{k} {v}' for k, v in wanted.items())} were needed in {packed}, found "
            f"those of {found}; choose another run folder, or remove this one's {packed.name}"
        )
    plan.folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(wanted))


def _target(doses: Doses) -> str:
    """What is packed beside the inputs; real studies and the papers' recipe have their target among these."""
    return doses.target_volume if doses.target_volume in SIMULATED else "t1c_4"


def _pack_studies(plan: RunPlan, data: Path, packed: Path, report: Report) -> list[Path]:
    unknown = sorted(needed_volumes(plan.recipe).difference(VOLUMES))
    if unknown:  # before hours of preprocessing
        raise InputError(
            f"volumes that a study can hold were needed ({', '.join(VOLUMES)}), found {', '.join(unknown)}; "
            "--set doses.input_volume=t1c_low --set doses.target_volume=t1c"
        )
    extractor = choose_brain_extractor(Settings(), _ROOT, device=plan.device)
    _claim(plan, packed, source="studies", label=plan.label, extractor=extractor.name)
    paths = pack_studies(data, packed, extractor, label=plan.label, report=report)
    if not paths:
        raise InputError(
            f"at least one study to train on was needed, found none in {data.name} that the plugin would take; "
            "the reasons are told above, a patient being a sub-folder"
        )
    return paths


def _complete(recipe: Recipe, paths: Sequence[Path], report: Report) -> list[Path]:
    """Without people who lack a volume that the recipe learns from; of simulated patients the trainer refuses it."""
    kept = []
    for path in paths:
        patient = open_packed(path)
        lacking = sorted(needed_volumes(recipe).difference(patient.names))
        if lacking and patient.identity.startswith(REAL_STUDY):
            report(f"left out {patient.identity.removeprefix(REAL_STUDY)}: no {' and no '.join(lacking)}")
        else:
            kept.append(path)
    if paths and not kept:
        needed = ", ".join(sorted(needed_volumes(recipe)))
        raise InputError(
            f"studies with {needed} were needed, found none with all of them; --set doses.input_volume, "
            "doses.target_volume, inputs and dropout say what the network needs"
        )
    return kept


def packed_folder(plan: RunPlan) -> Path:
    """Where a run's packed patients are: the data folder itself if it holds such, else the run's own."""
    if plan.data is None or (plan.data / "index.json").exists() or not any(plan.data.glob("[0-9]*.json")):
        return plan.folder / "patients"
    return plan.data


def train_folds(plan: RunPlan, report: Report = _log.warning) -> None:
    """Train each fold of the plan; with `resume`, finished folds are passed over."""
    source = open_source(plan, report)
    for fold in plan.folds:
        recipe = plan.recipe.model_copy(update={"fold": fold})
        settings = RunSettings(
            fold_folder(plan, fold), device=plan.device, threads=plan.threads, save_every=plan.save_every
        )
        trainer = Trainer(recipe, source, settings, resume=plan.resume, start=plan.start)
        with TrainingProgress(f"{recipe.name} fold {fold}", recipe.steps, first=trainer.step) as progress:
            trainer.run(progress)


def publish_run(plan: RunPlan, model: Path, *, version: str, metrics: Path | None, notes: Path | None) -> Manifest:
    """Write the model folder from the checkpoints of the plan's folds.

    Raises
    ------
    FileNotFoundError
        If no fold has a checkpoint.
    """
    found = [checkpoints.load(fold_folder(plan, fold)) for fold in plan.folds]
    there = [checkpoint for checkpoint in found if checkpoint is not None]
    if not there:
        raise FileNotFoundError(f"no checkpoint in {plan.folder}")
    head = None
    if plan.recipe.task == "extract":
        head = open_source(replace(plan, resume=True)).patients(0)[0]
    return publish(
        model,
        there,
        data=describe_data(plan, there[0].patients),
        simulated=not holds_real_studies(plan),
        version=version,
        metrics=json.loads(metrics.read_text()) if metrics else None,
        notes=notes.read_text() if notes else "",
        spacing_mm=head.spacing_mm if head else 1.0,
        shape_zyx=head.shape_zyx if head else None,
    )


def describe_data(plan: RunPlan, patients: int) -> str:
    """One sentence for the card; no path of this machine."""
    if plan.data is None:
        who = "whole heads at 2 mm" if plan.recipe.task == "extract" else "patients"
        of_heads = " from real heads' label maps" if plan.recipe.anatomies else ""
        return f"{who} simulated on the fly{of_heads}, {plan.simulate} to choose from at a time"
    if holds_real_studies(plan):
        return f"{patients} real studies, through the plugin's preprocessing"
    return f"{patients} simulated {'heads at 2 mm' if plan.recipe.task == 'extract' else 'patients'} from a cache"


def holds_real_studies(plan: RunPlan) -> bool:
    """Whether what was packed for the run came from people."""
    first = next(iter(packed_files(packed_folder(plan))), None)
    return first is not None and open_packed(first).identity.startswith(REAL_STUDY)


def fold_folder(plan: RunPlan, fold: int) -> Path:
    """Where a fold's checkpoint and logs are."""
    return plan.folder / f"fold-{fold}"
