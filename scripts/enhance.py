"""Enhance one study without an Orthanc: a folder of DICOM files, or volumes in any format that ITK reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enhancement.errors import EnhancementError
from enhancement.recipes.offer import offered
from enhancing.place import require_place
from enhancing.settings import settings_for
from enhancing.show import fail, progress_bar, report

_EXISTING = {"exists": True, "dir_okay": False}


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for DICOM, file for volumes")],
    study: Annotated[Path | None, typer.Argument(help="Folder of one study", exists=True, file_okay=False)] = None,
    t1: Annotated[Path | None, typer.Option(help="T1 before contrast", **_EXISTING)] = None,
    flair: Annotated[Path | None, typer.Option(help="FLAIR, may be left out", **_EXISTING)] = None,
    adc: Annotated[Path | None, typer.Option(help="ADC map in mm^2/s, may be left out", **_EXISTING)] = None,
    t1c: Annotated[Path | None, typer.Option(help="T1 after contrast", **_EXISTING)] = None,
    brain_extracted: Annotated[
        bool, typer.Option("--brain-extracted", help="The volumes show the brain alone")
    ] = False,
    recipe: Annotated[str, typer.Option(help="What to make; by default what the configuration names first")] = "",
    config: Annotated[Path | None, typer.Option(help="orthanc.json with a ContrastEnhancement section")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over the configuration")] = None,
) -> None:
    """Make what a recipe makes of a study, such as T1c-pro.

    Either STUDY -o FOLDER (DICOM in, DICOM out) or --t1 FILE --t1c FILE [--flair FILE] [--adc FILE] -o FILE.
    """
    console = Console(stderr=True)
    volumes = {role: path for role, path in (("T1", t1), ("FLAIR", flair), ("ADC", adc), ("T1C", t1c)) if path}
    if (study is None) == (not volumes) or (volumes and not {"T1", "T1C"} <= set(volumes)):
        fail(console, "Give either a study folder, or --t1 and --t1c (and --flair, --adc where there are such).", 2)
    try:
        settings, root = settings_for(config, changes or [], brain_extracted=brain_extracted, recipe=recipe)
        chosen = recipe or offered(settings).default.name
        require_place(output, folder=study is not None)
        from enhancing.work import enhance_study, enhance_volumes  # torch: after the arguments are known to be right

        with progress_bar(console) as progress:
            if study is not None:
                done = enhance_study(study, output, chosen, settings, root, progress)
            else:
                done = enhance_volumes(volumes, output, chosen, settings, root, progress)
    except EnhancementError as error:
        fail(console, f"{error.code}: {error.reason.rstrip('.')}. {error.problem.advice}".rstrip(), 1)
    report(console, done)


if __name__ == "__main__":
    typer.run(main)
