"""Fill a folder with simulated patients (or whole heads) for training.

Usage:
    simulate_cache.py cache --patients 150 --workers 2     # for train.py --data cache
    simulate_cache.py heads --heads --patients 400         # for the brain extractor

What is there is kept, so a killed run goes on where it stopped, and training may read meanwhile.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track


def main(
    folder: Annotated[Path, typer.Argument(help="where to; created if needed")],
    patients: Annotated[int, typer.Option(min=1, help="how many")] = 100,
    first_seed: Annotated[int, typer.Option(min=0, help="seed of the first; patients of other seeds are others")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="processes, about 1.5 GB each (patients only)")] = 1,
    anatomies: Annotated[
        Path | None, typer.Option(help="folder of real heads' label maps to draw anatomies from: those for training")
    ] = None,
    heads: Annotated[bool, typer.Option("--heads", help="whole heads at 2 mm instead of patients")] = False,
) -> None:
    """Simulate patients into FOLDER and say how fast it went."""
    from simulation.cache import generate
    from simulation.head import write_heads
    from simulation.patient import PatientConfig

    seeds = range(first_seed, first_seed + patients)
    if heads:
        jobs = write_heads(folder, seeds, anatomies=anatomies)
    else:
        config = PatientConfig(anatomies=str(anatomies or ""))
        jobs = generate(folder, seeds, workers=workers, config=config)
    start = time.monotonic()
    for _ in track(jobs, total=patients, description="heads" if heads else "patients"):
        pass
    minutes = (time.monotonic() - start) / 60
    typer.echo(f"{patients} in {minutes:.1f} min: {patients / max(minutes, 1e-9):.1f} a minute")


if __name__ == "__main__":
    typer.run(main)
