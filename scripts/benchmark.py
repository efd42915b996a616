"""What the plugin costs the archive: throughput, latency and memory beside a stock Orthanc, in one run.

.venv/bin/python scripts/benchmark.py [STUDY_DIR] [--rounds 3] [--instances 100] [--set KEY=VALUE ...] [-o OUT.json]
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT.parent / "plugin")]

from benchmarking.archive import measure  # noqa: E402


def main(
    study: Annotated[Path | None, typer.Argument(help="DICOM study that is enhanced; simulated if left out")] = None,
    rounds: Annotated[int, typer.Option(help="How often the load is sent to each of the three")] = 3,
    instances: Annotated[int, typer.Option(help="Instances of each of four associations")] = 100,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE as for scripts/serve")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the figures go as JSON")] = None,
) -> None:
    """Measure and print; ratios are of medians, to the stock Orthanc of the same run."""
    with tempfile.TemporaryDirectory(prefix="benchmark-study-") as name:
        folder = study or _simulated(Path(name))
        files = sorted(path for path in folder.rglob("*.dcm") if path.is_file())
        if not files:
            raise typer.BadParameter(f"no DICOM file (*.dcm) was found in {folder}")
        say = lambda text: typer.echo(text, err=True)  # noqa: E731
        figures = measure(files, list(set_ or []), rounds=rounds, instances=instances, say=say)
    text = json.dumps(figures, indent=1)
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")
    typer.echo(text)


def _simulated(folder: Path) -> Path:
    import subprocess

    subprocess.run([sys.executable, str(ROOT / "simulate.py"), str(folder), "--seed", "1"], check=True)
    return folder


if __name__ == "__main__":
    typer.run(main)
