"""The whole way on a simulated patient: a scanner sends, Orthanc enhances, a viewer fetches.

Ends with demo/report.png, the contrast before and after, the time of every stage, and a non-zero exit code if
any of it failed.
"""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from demonstration.peers import Viewer, free_ports
from demonstration.run import Demo
from demonstration.server import DemoError, OrthancServer

ROOT = Path(__file__).resolve().parent.parent


def main(
    folder: Annotated[Path, typer.Option(help="Where the study, Orthanc's storage and the report go.")] = ROOT / "demo",
    seed: Annotated[int, typer.Option(help="Of the simulated patient.")] = 2,
    folds: Annotated[int, typer.Option(min=1, max=5)] = 5,
    mirrorings: Annotated[int, typer.Option(help="1, 2, 4 or 8.")] = 8,
    stable_age: Annotated[int, typer.Option(help="Seconds of silence after which a study counts as whole.")] = 5,
    serve: Annotated[bool, typer.Option("--serve", help="Leave Orthanc running at the end.")] = False,
) -> None:
    """Simulate, send, enhance, fetch, compare, report."""
    console = Console()
    study = folder / f"study-{seed}"
    if not (study / "truth" / "truth.json").is_file():
        console.print(f"[bold]Simulating[/] a patient (seed {seed}) into {study}")
        simulate = [sys.executable, str(ROOT / "scripts" / "simulate.py"), str(study), "--seed", str(seed)]
        if subprocess.run(simulate, check=False).returncode != 0:
            raise typer.Exit(1)
    with Viewer() as viewer:
        overrides = [f"StableAge={stable_age}", f"ContrastEnhancement.Model.Folds={folds}"]
        overrides += [f"ContrastEnhancement.Model.Mirrorings={mirrorings}"]
        overrides += [f"DicomModalities.{viewer.ae_title}={json.dumps([viewer.ae_title, '127.0.0.1', viewer.port])}"]
        shutil.rmtree(folder / "orthanc", ignore_errors=True)  # a study that is already stored would start nothing
        http_port, dicom_port = free_ports(2)
        server = OrthancServer(folder / "orthanc", http_port=http_port, dicom_port=dicom_port, overrides=overrides)
        try:
            with server:
                Demo(console, server, viewer, study, report=folder / "report.png").run(stable_age_s=stable_age)
                if serve:
                    console.print(
                        f"Orthanc goes on: {server.url}/app/explorer.html, user [bold]{server.USER}[/],", end=" "
                    )
                    console.print(f"password [bold]{server.password}[/]. Ctrl-C ends it.")
                    signal.sigwait({signal.SIGINT, signal.SIGTERM})
        except (DemoError, ConnectionError) as error:
            console.print(f"[bold red]failed:[/] {error}")
            raise typer.Exit(1) from None
        except httpx.HTTPError as error:
            console.print(
                f"[bold red]failed:[/] Orthanc does not answer as it should ({error}); its log is {server.log}"
            )
            raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
