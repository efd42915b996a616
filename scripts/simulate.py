"""A simulated tumour patient as a DICOM study, with the truth beside it.

Example: scripts/simulate.py out --seed 7 --vendor siemens
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.progress import Progress

from simulation.grids import Plane
from simulation.study import StudySpec, simulate
from simulation.vendors import MAKERS

HERE = Path(__file__).resolve().parent

Triple = tuple[float, float, float]


def main(
    out_dir: Annotated[Path, typer.Argument(help="Gets one sub-folder per series, and truth/")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed and options give the same bytes")] = 0,
    vendor: Annotated[str, typer.Option(help=f"Style of the headers: {', '.join(MAKERS)}")] = "ge",
    plane: Annotated[str, typer.Option(help=f"Of T1 and T1c: {', '.join(get_args(Plane))}")] = "axial",
    spacing: Annotated[Triple | None, typer.Option(help="Of T1 and T1c: columns, rows, slices (mm)")] = None,
    dwi_spacing: Annotated[Triple | None, typer.Option(help="Of the DWI (mm)")] = None,
    tilt: Annotated[Triple | None, typer.Option(help="Of T1 and T1c about the axes L, P, S (degrees)")] = None,
    reversed_slices: Annotated[bool, typer.Option("--reversed", help="Number the slices the other way")] = False,
    noise_free: Annotated[bool, typer.Option("--noise-free", help="No noise, receive field or ghosts")] = False,
    still: Annotated[bool, typer.Option("--still", help="The patient does not move between the series")] = False,
    coarse: Annotated[bool, typer.Option("--coarse", help="About 2 mm: a sixth of the data")] = False,
    slices: Annotated[int | None, typer.Option(min=2, help="Number of T1c slices")] = None,
    anatomies: Annotated[
        Path | None, typer.Option(help="Folder of real heads' label maps to draw the anatomy from, not the average")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave a series out: T1, FLAIR, DWI or T1C")] = None,
) -> None:
    """Simulate one patient: 3D T1 and T1c, 3D FLAIR, 2D DWI (b = 0, 1000), whole head, own grids."""
    for name, value, allowed in (("vendor", vendor, tuple(MAKERS)), ("plane", plane, get_args(Plane))):
        if value not in allowed:
            raise typer.BadParameter(f"{value!r} is none of {', '.join(allowed)}", param_hint=f"--{name}")
    base = StudySpec().coarse() if coarse else StudySpec()
    spec = StudySpec(
        seed=seed,
        vendor=vendor,  # type: ignore[arg-type]  # checked above
        plane=plane,  # type: ignore[arg-type]
        spacing_mm=spacing or base.spacing_mm,
        flair_spacing_mm=base.flair_spacing_mm,
        dwi_spacing_mm=dwi_spacing or base.dwi_spacing_mm,
        tilt_deg=tilt,
        reversed_slices=reversed_slices,
        noise_free=noise_free,
        still=still,
        slices=slices,
        leave_out=tuple(role.upper() for role in without or ()),
        anatomies=str(anatomies or ""),
    )
    with Progress(transient=True) as progress:
        task = progress.add_task("simulating", total=1.0)
        study = simulate(
            out_dir, spec, lambda stage, fraction: progress.update(task, description=stage, completed=fraction)
        )
    lesions = [item for item in study.facts["lesions"] if item["enhancing"]]
    largest = max(lesions, key=lambda item: item["diameter_mm"])
    Console().print(
        f"{len(study.files)} instances in {len(study.facts['series'])} series written to {out_dir}; "
        f"{len(lesions)} enhancing lesions, the largest a {largest['kind']} of {largest['diameter_mm']:.0f} mm"
    )


if __name__ == "__main__":
    typer.run(main)
