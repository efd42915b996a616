r"""Train the networks: t1c-pro's (patients, choose, export), and the papers' recipes and the brain extractor.

Examples
--------
    train.py patients --run runs/pro --anatomies heads --count 150
    train.py choose --run runs/pro --anatomies heads --steps 100000 [--resume]
    train.py export --run runs/pro --half model_weights/t1c-pro-training
    train.py --preset t1c-pro --simulate 40 --run runs/pro --model model_weights/t1c-pro
    train.py --preset bone-2022 --data /studies --run runs/bone --set channels=16 --set inputs=T1,T1C
    train.py --preset t1c-pro --data cache --run runs/pro --resume
    train.py --preset t1c-pro --data /studies --run runs/ours --start model_weights/t1c-pro --model model_weights/ours \
        --set doses.input_volume=t1c_low --set doses.target_volume=t1c

A folder of studies has a sub-folder a patient; training/studies.py says what lies there. Patients that the plugin
would refuse are left out, and named with the reason before the training begins.
"""

from pathlib import Path
from typing import Annotated

import typer

from choosing import commands
from training.environment import with_large_allocations

app = typer.Typer(add_completion=False, help=__doc__)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    preset: Annotated[str, typer.Option(help="bone-2022, t1c-pro or brain")] = "t1c-pro",
    run: Annotated[Path, typer.Option(help="folder for checkpoints and logs")] = Path("runs/t1c-pro"),
    data: Annotated[
        Path | None,
        typer.Option(help="simulator cache, or a folder with a sub-folder a patient", exists=True, file_okay=False),
    ] = None,
    simulate: Annotated[int, typer.Option(help="without --data: simulated patients to choose from at a time")] = 20,
    model: Annotated[Path | None, typer.Option(help="model folder to write at the end")] = None,
    fold: Annotated[int | None, typer.Option(help="train this fold only")] = None,
    start: Annotated[
        Path | None, typer.Option(help="fold folder of another run, or model folder, to start the weights from")
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, ...")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all")] = 0,
    save_every: Annotated[int, typer.Option(help="steps between checkpoints")] = 200,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="change the recipe: steps=2000, loss.ssim=0.1, patch=none, average=0, ..."),
    ] = None,
    label: Annotated[int, typer.Option(help="enhancing tumour in the studies' segmentations; 4 before BraTS 2023")] = 3,
    version: Annotated[str, typer.Option(help="version of the model")] = "0.1.0",
    metrics: Annotated[Path | None, typer.Option(help="JSON of measured results for the manifest")] = None,
    notes: Annotated[Path | None, typer.Option(help="Markdown for the model card")] = None,
    publish_only: Annotated[bool, typer.Option(help="write the model folder from the checkpoints there are")] = False,
) -> None:
    """Without a command: train one network a fold and write the model folder."""
    if context.invoked_subcommand is not None:
        return
    from enhancement.errors import EnhancementError
    from training.runs import RunPlan, publish_run, train_folds
    from training.switches import change

    try:
        recipe = change(preset, set_ or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    plan = RunPlan(
        recipe=recipe,
        folder=run,
        data=data,
        simulate=simulate,
        folds=tuple(range(recipe.folds)) if fold is None else (fold,),
        start=start,
        resume=resume,
        device=device,
        threads=threads,
        save_every=save_every,
        label=label,
    )
    if not publish_only:
        try:
            train_folds(plan, report=typer.echo)
        except EnhancementError as error:
            typer.echo(f"failed: {error.reason}", err=True)
            raise typer.Exit(1) from None
    if model is not None:
        manifest = publish_run(plan, model, version=version, metrics=metrics, notes=notes)
        typer.echo(f"{model}: {manifest.name} {manifest.version}, digest {manifest.digest[:12]}")


for command in (commands.patients, commands.choose, commands.measure, commands.export):
    app.command()(command)

if __name__ == "__main__":
    with_large_allocations()
    app()
