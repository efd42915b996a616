"""Measure a model: the papers' tables on simulated and real cases, null cases, ensemble, brain extractor, ablations.

Each sub-command writes report.md, figures and JSON to --output, as in
evaluate.py real CASE_FOLDER... --model model_weights/t1c-pro --label 3 --output runs/real
"""

from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).resolve().parent

WEIGHTS = HERE.parent / "model_weights"
Output = Annotated[Path, typer.Option(help="folder for report.md, figures and JSON")]
Model = Annotated[Path, typer.Option(help="model folder")]
Folds = Annotated[int, typer.Option(help="folds of the ensemble to use", min=1, max=5)]
Mirrorings = Annotated[int, typer.Option(help="mirrorings of each fold: 1, 2, 4 or 8")]
Patients = Annotated[int, typer.Option(help="simulated patients", min=1)]
Keep = Annotated[Path | None, typer.Option(help="folder to keep simulated patients in, 200 MB each")]
Anatomies = Annotated[Path | None, typer.Option(help="folder of real heads' label maps; draws those kept for tests")]
Steps = Annotated[int, typer.Option(help="training steps of each point")]
Data = Annotated[Path | None, typer.Option(help="simulator cache to train from")]
#: As many patients as the paper read.
TEST_SEEDS = "900000-900078"
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
PRO, BRAIN = WEIGHTS / "t1c-pro", WEIGHTS / "brain"


def _seeds(text: str) -> str:
    """A refusal by the command line of what is no list of test patients."""
    from evaluation.cohort import seeds_of

    try:
        seeds_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


@app.command()
def cohort(output: Output, model: Model = PRO, seeds: Annotated[str, typer.Option(
               help="of the patients, as 900000-900078,920000; one folder may hold the patients of several runs",
               callback=_seeds)] = TEST_SEEDS,
           folds: Folds = 5, mirrorings: Mirrorings = 8,
           figures: Annotated[int, typer.Option(help="sheets of the first N patients")] = 10, keep: Keep = None,
           quick: Annotated[bool, typer.Option(help="read T1c and T1c-pro only")] = False,
           anatomies: Anatomies = None) -> None:  # fmt: skip
    """Tables 4 and 5 of Bone 2022 on simulated patients; goes on where it was stopped."""
    from evaluation.studies import cohort_study

    cohort_study(output, model, seeds=seeds, folds=folds, mirrorings=mirrorings,
                 figures=figures, kept=keep, anatomies=anatomies, quick=quick, report=typer.echo)  # fmt: skip


@app.command()
def real(folders: list[Path], output: Output, model: Model = PRO, brain: Model = BRAIN,
         label: Annotated[int, typer.Option(help="enhancing tumour in the segmentations")] = 3,
         segmentation: Annotated[Path | None, typer.Option(help="instead of the one in the folder")] = None,
         folds: Folds = 5, mirrorings: Mirrorings = 8) -> None:  # fmt: skip
    """The same measures on real cases, a folder each; call again to add cases with another label."""
    from evaluation.studies import real_study

    real_study(output, model, brain, folders, label=label, segmentation=segmentation, folds=folds,
               mirrorings=mirrorings, report=typer.echo)  # fmt: skip


@app.command()
def realism(folders: list[Path], output: Output, brain: Model = BRAIN,
            spin_echo: Annotated[list[Path] | None, typer.Option(help="real case whose T1c is a spin echo")] = None,
            patients: Patients = 40, seed: Annotated[int, typer.Option(help="of the first patient")] = 890_000,
            anatomies: Anatomies = None) -> None:  # fmt: skip
    """What normally enhances, where and how strongly: real cases (gradient echoes first) beside simulated patients."""
    from evaluation.cases import of_test_heads
    from evaluation.realism_study import realism_study
    from simulation.patient import PatientConfig

    realism_study(output, brain, folders, spin_echoes=spin_echo or [], seeds=range(seed, seed + patients),
                  config=of_test_heads(anatomies, PatientConfig(doses=(1,))), report=typer.echo)  # fmt: skip


@app.command()
def reader(output: Output, fit: Annotated[bool, typer.Option(help="fit it anew first, and write its files")] = False,
           patients: Patients = 60, seeds: Annotated[str, typer.Option(callback=_seeds)] = TEST_SEEDS,
           anatomies: Anatomies = None) -> None:  # fmt: skip
    """How well the automatic reader reads the T1c of simulated patients; with --fit on so many development patients."""
    from evaluation import judge, normal_prior, reader_study
    from evaluation.cases import FIRST_DEVELOPMENT_SEED, of_test_heads
    from evaluation.cohort import seeds_of
    from simulation.patient import PatientConfig

    if fit:
        first = FIRST_DEVELOPMENT_SEED + 1000
        reader_study.fit_reader(output / "development", seeds=range(first, first + patients),
                                config=reader_study.development_config(anatomies), judge_path=judge.PATH,
                                prior_path=normal_prior.PATH, report=typer.echo)  # fmt: skip
    config, fitted = of_test_heads(anatomies, PatientConfig(doses=(1,))), judge.load_judge()
    readings = list(reader_study.read_cohort(seeds_of(seeds), config, output / "patients", fitted))
    reader_study.report_reader(output, readings, fitted)


@app.command()
def null(output: Output, model: Model = PRO, patients: Patients = 10, folds: Folds = 5,
         mirrorings: Mirrorings = 8, keep: Keep = None, anatomies: Anatomies = None) -> None:  # fmt: skip
    """False enhancement where nothing may enhance."""
    from evaluation.studies import null_study

    null_study(output, model, patients=patients, folds=folds, mirrorings=mirrorings, kept=keep,
               anatomies=anatomies, report=typer.echo)  # fmt: skip


@app.command()
def ensemble(output: Output, model: Model = PRO, patients: Patients = 5) -> None:
    """Quality and time of 1, 5, 8 and 40 predictions; the spread as a flag of false enhancement."""
    from evaluation.studies import ensemble_size_study

    ensemble_size_study(output, model, patients=patients, report=typer.echo)


@app.command()
def brain(output: Output, model: Model = BRAIN, heads: Annotated[int, typer.Option(help="simulated heads")] = 40,
          head: Annotated[list[Path] | None, typer.Option(help="real head: volume or DICOM folder")] = None,
          atlas: Annotated[bool, typer.Option(help="compare with atlas registration")] = True,
          edges: Annotated[int, typer.Option(help="heads for what enhances at the edge")] = 0,
          anatomies: Anatomies = None) -> None:  # fmt: skip
    """Dice and volumes of the built-in brain extractor, and what it cuts at the edge."""
    from evaluation.studies import brain_extractor_study

    brain_extractor_study(output, model, head or [], heads=heads, atlas=atlas, edges=edges, anatomies=anatomies,
                          report=typer.echo)  # fmt: skip


@app.command()
def ablation(output: Output, steps: Steps = 300, data: Data = None, patients: Patients = 10) -> None:
    """The input table of ISBI 2021, with short trainings."""
    from evaluation.ablation import Study
    from evaluation.studies import ablation_study

    ablation_study(output, Study(steps=steps, patients=patients, data=data), report=typer.echo)


@app.command()
def channels(output: Output, steps: Steps = 300, data: Data = None, patients: Patients = 10) -> None:
    """The channels x fraction figure of ISBI 2021, with short trainings."""
    from evaluation.ablation import Study
    from evaluation.studies import channel_study

    channel_study(output, Study(steps=steps, patients=patients, data=data), report=typer.echo)


if __name__ == "__main__":
    app()
