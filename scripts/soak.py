"""Long experiments on a real Orthanc: kills, load, a day in fast motion.

    .venv/bin/python scripts/soak.py kills --kills 100 --studies 20 [--postgres]
    .venv/bin/python scripts/soak.py load --studies 30 --associations 4
    .venv/bin/python scripts/soak.py start --rounds 10
    .venv/bin/python scripts/soak.py day --studies 300

The method is stood in for (tests/server/light), so that the service is what is worn. Each prints its figures as JSON
and ends with 1 if anything is lost, doubled or wrong.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from server import experiments
from server.conftest import small_study
from server.kills import PATIENT_QUEUE, kill_again_and_again
from server.server import Orthanc, light_model, storage_folder
from server.shared_postgres import shared_orthancs

ROOT = Path(__file__).resolve().parents[1]

app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True)
console = Console(stderr=True)


@contextmanager
def _bench(seconds: float, settings: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any], dict[str, str]]]:
    """A folder for models and studies, and what an Orthanc is started with."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        light_model(Path(name) / "models" / "t1c-pro")
        chosen = {"ContrastEnhancement.ModelWeights": Path(name) / "models", **settings}
        yield Path(name), chosen, {"LIGHT_SECONDS": str(seconds)}


@contextmanager
def _orthanc(seconds: float, settings: dict[str, Any]) -> Iterator[tuple[Orthanc, Path]]:
    with _bench(seconds, settings) as (folder, chosen, variables), storage_folder() as storage:
        server = Orthanc(storage, chosen, variables=variables)
        try:
            server.start()
            yield server, folder
        except Exception:
            ended = server.process.poll() if server.process else None
            console.print(f"Orthanc {'runs' if ended is None else f'ended with {ended}'}; the end of its log:")
            console.print(server.log_text()[-5000:], markup=False)
            raise
        finally:
            server.close()


def _end(report: dict[str, Any]) -> None:
    typer.echo(json.dumps(report, indent=2))
    raise typer.Exit(1 if report["wrong"] else 0)


@app.command()
def kills(
    kills: int = 100,
    studies: int = 20,
    seconds: Annotated[float, typer.Option(help="How long a job takes")] = 2.0,
    seed: int = 1,
    postgres: Annotated[bool, typer.Option(help="Two Orthancs on one PostgreSQL (index and ledger)")] = False,
) -> None:
    """SIGKILL in every stage and at random while studies arrive; every study must end with exactly one whole result."""
    with ExitStack() as stack:
        if postgres:
            folder, chosen, variables = stack.enter_context(_bench(seconds, PATIENT_QUEUE))
            servers = stack.enter_context(shared_orthancs(chosen, variables))
        else:
            server, folder = stack.enter_context(_orthanc(seconds, PATIENT_QUEUE))
            servers = [server]
        sent = [small_study(folder / f"study-{number}", number) for number in range(1, studies + 1)]
        report = kill_again_and_again(servers, sent, kills=kills, seed=seed, tell=console.print)
    _end(report.to_json())


@app.command()
def load(studies: int = 30, associations: int = 4, rounds: int = 3, seconds: float = 2.0) -> None:
    """Studies over several associations at once while jobs compute, beside a stock Orthanc: throughput, latency."""
    variables = {"LIGHT_SECONDS": str(seconds), "LIGHT_BURN": "1"}
    kinds: dict[str, dict[str, Any]] = {
        "stock": {"Plugins": []},
        "idle": {"ContrastEnhancement.Automatic": False},
        "computing": {},
    }
    with tempfile.TemporaryDirectory(prefix="soak-") as name, ExitStack() as stack:
        folder = Path(name)
        light_model(folder / "models" / "t1c-pro")
        servers = {}
        for kind, settings in kinds.items():
            chosen = {"ContrastEnhancement.ModelWeights": folder / "models", **settings}
            servers[kind] = Orthanc(stack.enter_context(storage_folder()), chosen, variables=variables)
            stack.callback(servers[kind].close)
            servers[kind].start(wait=kind != "stock")
        servers["stock"].wait(lambda: servers["stock"].get("/system"), 60, "the stock Orthanc")
        made = iter(range(1, 10**6))
        report = experiments.load(
            servers,
            lambda: small_study(folder / f"study-{(number := next(made))}", number),
            studies=studies,
            associations=associations,
            rounds=rounds,
        )
    _end(dataclasses.asdict(report))


def _is_green(server: Orthanc) -> bool:
    return bool(server.get("/enhancement/status")["light"] == "green")


@app.command()
def start(rounds: int = 10) -> None:
    """Seconds until Orthanc answers and until it has stopped: alone, with an empty Python script, and with ours."""
    kinds = ("stock", "empty_script", "ours")
    answers: dict[str, list[float]] = {kind: [] for kind in kinds}
    stops: dict[str, list[float]] = {kind: [] for kind in kinds}
    ready = []
    with _bench(1.0, {}) as (folder, chosen, variables):
        (folder / "empty.py").write_text("")
        changes: dict[str, dict[str, Any]] = {
            "stock": {"Plugins": []},
            "empty_script": {"PythonScript": folder / "empty.py"},
            "ours": {},
        }
        for number in range(rounds):
            for kind in kinds[number % 3 :] + kinds[: number % 3]:
                with storage_folder() as storage:
                    server = Orthanc(storage, {**chosen, **changes[kind]}, variables=variables)
                    began = time.monotonic()
                    server.start(wait=False)
                    server.wait(partial(server.get, "/system"), 120, "Orthanc", every_s=0.005)
                    answers[kind].append(time.monotonic() - began)
                    if kind == "ours":
                        server.wait(partial(_is_green, server), 120, "us")
                        ready.append(time.monotonic() - began)
                    stops[kind].append(server.stop())
                    server.close()
    report: dict[str, Any] = {"plugin_ready_s": round(statistics.median(ready), 2), "rounds": rounds, "wrong": []}
    for name, seen in (("answers_s", answers), ("stops_s", stops)):
        report[name] = {kind: round(statistics.median(values), 2) for kind, values in seen.items()}
    _end(report)


@app.command()
def day(studies: int = 300, every: int = 20, seconds: float = 0.2) -> None:
    """Many small studies through one Orthanc: memory, threads and handles must not grow."""
    # Orthanc keeps up to 128 MB of the last files in memory, which would be taken for a leak until it is full.
    with _orthanc(seconds, {"MaximumStorageCacheSize": 4}) as (server, folder):
        made = iter(range(1, studies + 1))
        seen, wrong = experiments.day(
            server,
            lambda: small_study(folder / f"study-{(number := next(made))}", number),
            studies=studies,
            every=every,
            tell=lambda item: console.print(item),
        )
    first, last = seen[0], seen[-1]
    if last.resident_mb > 1.1 * first.resident_mb:
        wrong.append(f"{first.resident_mb:.0f} MB after {first.studies} studies, {last.resident_mb:.0f} MB in the end")
    _end({"footprints": [dataclasses.asdict(item) for item in seen], "wrong": wrong})


if __name__ == "__main__":
    app()
