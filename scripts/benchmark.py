"""What the method, the archive and matching cost: each beside plain ways to the same, in one run.

.venv/bin/python scripts/benchmark.py [STUDY_DIR] [--only method|archive|matching] [--rounds 3] [--instances 100]
                                      [--set KEY=VALUE ...] [-o OUT.json]
"""

import json
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarking import archive, matching, method
from benchmarking.method import Say
from training.environment import with_large_allocations

ROOT = Path(__file__).resolve().parent


class Part(StrEnum):
    """What can be measured by itself."""

    METHOD = "method"
    ARCHIVE = "archive"
    MATCHING = "matching"


def main(
    study: Annotated[Path | None, typer.Argument(help="DICOM study that is enhanced; simulated if left out")] = None,
    only: Annotated[
        Part | None, typer.Option(help="One of them; matching takes no study, but one of 20,000 headers")
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often the load is sent to each of the three")] = 3,
    instances: Annotated[int, typer.Option(help="Instances of each of four associations")] = 100,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE as for scripts/serve")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the figures go as JSON")] = None,
) -> None:
    """Measure and print; ratios are to plain reading, one plain prediction and a stock Orthanc, of the same run."""
    say = lambda text: typer.echo(text, err=True)  # noqa: E731
    figures = {} if only in (Part.METHOD, Part.ARCHIVE) else {"matching": matching.measure(say=say)}
    if only is not Part.MATCHING:
        figures |= _with_study(study, only, list(set_ or []), rounds=rounds, instances=instances, say=say)
    text = json.dumps(figures, indent=1)
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")
    typer.echo(text)


def _with_study(
    study: Path | None, only: Part | None, changes: list[str], *, rounds: int, instances: int, say: Say
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="benchmark-study-") as name:
        folder = study or _simulated(Path(name))
        files = sorted(path for path in folder.rglob("*.dcm") if path.is_file())
        if not files:
            raise typer.BadParameter(f"no DICOM file (*.dcm) was found in {folder}")
        figures: dict[str, Any] = {}
        if only is not Part.ARCHIVE:
            figures["method"] = method.measure(folder, changes, say=say)
        if only is not Part.METHOD:
            figures |= archive.measure(files, changes, rounds=rounds, instances=instances, say=say)
    return figures


def _simulated(folder: Path) -> Path:
    import subprocess

    subprocess.run([sys.executable, str(ROOT / "simulate.py"), str(folder), "--seed", "1"], check=True)
    return folder


if __name__ == "__main__":
    with_large_allocations()
    typer.run(main)
