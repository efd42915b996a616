"""The command lines of the choosing network's training: patients, choose, export."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from choosing import checkpoints
from choosing.cache import GrowingCache, Maker, Population, make_many
from choosing.checkpoints import Checkpoint
from choosing.recipe import ChoosingRecipe, changed

_PATIENTS = "patients"

Run = Annotated[Path, typer.Option(help="folder for patients and checkpoints")]
Anatomies = Annotated[Path | None, typer.Option(help="folder of real heads' label maps", exists=True, file_okay=False)]
Limit = Annotated[int, typer.Option(help="patients kept at a time, 30 MB each; the oldest make room for new ones")]
Switches = Annotated[list[str] | None, typer.Option("--set", help="change the recipe: terms.dice=1, seed=3, ...")]


def patients(
    run: Run,
    count: Annotated[int, typer.Option(help="made in all when this command ends")] = 150,
    anatomies: Anatomies = None,
    limit: Limit = 800,
    set_: Switches = None,
) -> None:
    """Simulate the first patients of a run, on one whole core."""
    make_many(_population(run, _recipe(set_), anatomies, limit, share=1.0), count)


def choose(
    run: Run,
    anatomies: Anatomies = None,
    limit: Limit = 800,
    share: Annotated[float, typer.Option(help="part of a core that simulates patients beside; 0: none")] = 0.25,
    steps: Annotated[int, typer.Option(help="last step")] = 100_000,
    decay_from: Annotated[int | None, typer.Option(help="step at which the learning rate begins to fall")] = None,
    resume: Annotated[bool, typer.Option(help="go on from the run's checkpoint")] = False,
    from_weights: Annotated[Path | None, typer.Option(help="go on from what `export` wrote, on any machine")] = None,
    case: Annotated[list[Path] | None, typer.Option(help="brain-extracted real case for the learning curve")] = None,
    measure_every: Annotated[int, typer.Option(help="steps between rows of the learning curve")] = 5_000,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    set_: Switches = None,
) -> None:
    """Train the network that chooses where disease is, for as long as it takes."""
    import torch

    from choosing.curve import LearningCurve
    from choosing.trainer import ChoosingTrainer, RunSettings

    torch.set_num_threads(threads)
    before = _before(run, resume, from_weights)
    recipe = _recipe(set_, before)
    if decay_from is not None:
        recipe = recipe.model_copy(update={"decay_from": decay_from})
    population = _population(run, recipe, anatomies, limit, share)
    if not any(population.folder.glob("[0-9]*.json")):
        make_many(Population(**{**vars(population), "share": 1.0}), 1)
    with Maker(population) if share > 0 else nullcontext():
        settings = RunSettings(run, steps=steps, measure_every=measure_every)
        trainer = ChoosingTrainer(recipe, GrowingCache(population.folder), settings, before)
        curve = LearningCurve(recipe, case or [], population.config(), run)
        trainer.run(measure=curve, report=_reporter(steps, trainer.step))


def measure(
    run: Run,
    case: Annotated[list[Path] | None, typer.Option(help="brain-extracted real case; not asked where prepared")] = None,
    anatomies: Anatomies = None,
) -> None:
    """Add a line to the run's learning curve from its last checkpoint; the run may go on meanwhile."""
    import torch

    from choosing.curve import TABLE, LearningCurve
    from choosing.trainer import averaged

    torch.set_num_threads(1)
    found = checkpoints.load(run / checkpoints.FILE)
    population = _population(run, found.recipe, anatomies, limit=1, share=1.0)
    LearningCurve(found.recipe, case or [], population.config(), run)(averaged(found.recipe, found.average), found.step)
    typer.echo((run / TABLE).read_text())


def export(
    run: Annotated[list[Path], typer.Option(help="run folder, or checkpoint file; several make an ensemble's members")],
    half: Annotated[
        Path | None, typer.Option(help="folder for weights in half precision and their record, to go on from")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="model folder to write, as the plugin runs it")] = None,
    version: Annotated[str, typer.Option(help="version of the model")] = "1.0.0",
) -> None:
    """Write the averaged weights in half precision: to go on from on another machine, or for the plugin to run."""
    from choosing.publish import publish

    members = [checkpoints.load(path / checkpoints.FILE if path.is_dir() else path) for path in run]
    if half is not None:
        checkpoints.export(members[0], half)
        typer.echo(f"{half}: {members[0].step:,} steps")
    if model is not None:
        typer.echo(f"{model}: digest {publish(model, members, version=version).digest[:12]}")


def _before(run: Path, resume: bool, from_weights: Path | None) -> Checkpoint | None:
    path = run / checkpoints.FILE
    if resume and path.exists():
        return checkpoints.load(path)
    if path.exists():
        raise typer.BadParameter(f"{run} holds a run; go on with --resume, or choose another folder")
    return checkpoints.import_weights(from_weights) if from_weights is not None else None


def _recipe(switches: Sequence[str] | None, before: Checkpoint | None = None) -> ChoosingRecipe:
    try:
        return changed(ChoosingRecipe() if before is None else before.recipe, switches or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _population(run: Path, recipe: ChoosingRecipe, anatomies: Path | None, limit: int, share: float) -> Population:
    return Population(run / _PATIENTS, limit, share, recipe.seed, anatomies, recipe.random_contrast)


def _reporter(steps: int, first: int, *, every_seconds: float = 60.0) -> Callable[[int, dict[str, float]], None]:
    """A line a minute: a log file of days must stay readable."""
    started = last = time.monotonic()

    def report(step: int, terms: dict[str, float]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every_seconds and step != steps:
            return
        last = now
        each = (now - started) / max(step - first, 1)
        values = ", ".join(f"{name} {value:.4f}" for name, value in terms.items())
        hours = each * (steps - step) / 3600
        print(
            f"{time.strftime('%d %H:%M')} step {step}/{steps}, {each:.2f} s a step, {hours:.1f} h left: {values}",
            flush=True,
        )

    return report
