"""Image volumes with a role each become a DICOM study of a fictional patient.

Example: scripts/dicomize.py out --t1 t1.nii.gz --t1c t1c.nii.gz --flair flair.nii.gz
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from simulation.nifti_study import dicomize
from simulation.vendors import MAKERS, Vendor

HERE = Path(__file__).resolve().parent

File = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, readable=True)]


def main(
    out_dir: Annotated[Path, typer.Argument(help="Folder for the study, one sub-folder per series")],
    t1: File = None,
    t1c: File = None,
    flair: File = None,
    t2: File = None,
    adc: File = None,
    dwi_b0: File = None,
    dwi_b1000: File = None,
    vendor: Annotated[str, typer.Option(help=f"Style of the headers: {', '.join(MAKERS)}")] = "ge",
    patient_name: Annotated[str, typer.Option(help="Fictional")] = "Converted^Case",
    patient_id: Annotated[str | None, typer.Option(help="Fictional; else made from the files")] = None,
) -> None:
    """Turn volumes of any format that ITK reads into one DICOM study, each on its own grid."""
    if vendor not in MAKERS:
        raise typer.BadParameter(f"{vendor!r} is none of {', '.join(MAKERS)}", param_hint="--vendor")
    if (dwi_b0 is None) != (dwi_b1000 is None):
        raise typer.BadParameter("--dwi-b0 and --dwi-b1000 go together")
    given = {"T1": t1, "T1C": t1c, "FLAIR": flair, "T2": t2, "ADC": adc}
    files = {role: path for role, path in given.items() if path is not None}
    diffusion = (dwi_b0, dwi_b1000) if dwi_b0 is not None and dwi_b1000 is not None else None
    if not files and diffusion is None:
        raise typer.BadParameter("Give at least one volume with its role, such as --t1c FILE")
    style: Vendor = vendor  # checked against MAKERS above
    try:
        paths = dicomize(out_dir, files, diffusion, vendor=style, patient_name=patient_name, patient_id=patient_id)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    Console().print(f"{len(paths)} instances in {len({path.parent for path in paths})} series written to {out_dir}")


if __name__ == "__main__":
    typer.run(main)
