"""Stock Orthanc, the plugin idle, the plugin computing: the same load to each in turn, and ratios of medians."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarking.load import Latency, make_series, store
from demonstration.peers import free_ports, send_study
from demonstration.server import OrthancServer

ASSOCIATIONS = 4
Say = Callable[[str], None]


@contextmanager
def server(folder: Path, name: str, overrides: list[str]) -> Iterator[OrthancServer]:
    """An Orthanc on ports of its own."""
    http_port, dicom_port = free_ports(2)
    overrides = ["StableAge=2", *overrides]
    with OrthancServer(folder / name, http_port=http_port, dicom_port=dicom_port, overrides=overrides) as running:
        yield running


def throughput(
    folder: Path, study: list[Path], overrides: list[str], *, rounds: int, instances: int, say: Say
) -> dict[str, Any]:
    """Instances a second and the latency of GET /system, for the three in turn.

    Parameters
    ----------
    study : list of Path
        A study that the plugin enhances while the load is sent.
    rounds : int
        Each round sends the load to all three; the order changes from round to round.
    instances : int
        Of each of the four associations, in each round.
    """
    rates: dict[str, list[float]] = {"stock": [], "idle": [], "computing": []}
    latencies: dict[str, Latency] = {}
    with (
        server(folder, "stock", ["Plugins=[]"]) as stock,
        server(folder, "idle", overrides) as idle,
        server(folder, "busy", [*overrides, "ContrastEnhancement.Automatic=false"]) as busy,
    ):
        servers = {"stock": stock, "idle": idle, "computing": busy}
        for name, running in servers.items():
            latencies[name] = Latency(running.url, (running.USER, running.password))
            store(running.dicom_port, [make_series(5, 0)])
        send_study(study, port=busy.dicom_port, called_aet="ORTHANC", sent=lambda: None)
        study_id = _only_brain_study(busy, study)
        for index in range(rounds):
            order = list(servers)[index % 3 :] + list(servers)[: index % 3]
            for name in order:
                load = [make_series(instances, 1000 * index + part + 1) for part in range(ASSOCIATIONS)]
                if name == "computing":
                    _keep_computing(busy, study_id)
                with latencies[name]:
                    rates[name].append(store(servers[name].dicom_port, load))
                latencies[name] = _next(latencies[name])
                say(f"round {index + 1}, {name}: {rates[name][-1]:.0f} instances a second")
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "instances_per_second": {name: [round(value, 1) for value in values] for name, values in rates.items()},
        "ratio_idle": round(median["idle"] / median["stock"], 3),
        "ratio_computing": round(median["computing"] / median["stock"], 3),
        "system_ms": {name: latency.milliseconds() for name, latency in latencies.items()},
    }


def one_study(folder: Path, study: list[Path], overrides: list[str], say: Say) -> dict[str, Any]:
    """Send one study to a fresh Orthanc: seconds to the stored series, by stages; memory; latency meanwhile."""
    with server(folder, "one", overrides) as running:
        with Latency(running.url, (running.USER, running.password)) as latency:
            send_study(study, port=running.dicom_port, called_aet="ORTHANC", sent=lambda: None)
            began = time.monotonic()
            study_id = _only_brain_study(running, study)
            job: dict[str, Any] = {}
            for job in running.follow_job(study_id, patience_s=3600, settle_s=10):  # noqa: B007
                pass
            seconds = time.monotonic() - began - 2
        details = running.get(f"/enhancement/jobs/{job['id']}")
        say(f"job {job['state']} after {seconds:.1f} s besides StableAge")
        return {
            "state": job["state"],
            "reason": job["reason"],
            "seconds_besides_stable_age": round(seconds, 1),
            "stage_seconds": details["audit"].get("stage_seconds", {}),
            "peak_rss_mb": running.peak_rss_bytes >> 20,
            "system_ms_while_computing": latency.milliseconds(),
        }


def measure(study: list[Path], overrides: list[str], *, rounds: int, instances: int, say: Say) -> dict[str, Any]:
    """Everything, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        return {
            "one_study": one_study(folder, study, overrides, say),
            "archive": throughput(folder, study, overrides, rounds=rounds, instances=instances, say=say),
        }


def _next(latency: Latency) -> Latency:
    """The same list of seconds, with a thread to come."""
    return Latency(latency.url, latency.auth, latency.seconds)


def _only_brain_study(running: OrthancServer, study: list[Path]) -> str:
    from pydicom import dcmread

    uid = str(dcmread(study[0], specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
    return running.find("Study", StudyInstanceUID=uid)[0]


def _keep_computing(running: OrthancServer, study_id: str) -> None:
    """Start the study's job (again) and wait until it computes."""
    status = running.get(f"/enhancement/studies/{study_id}")
    if status["state"] not in ("RUNNING", "QUEUED", "NOTICED"):
        running.post(f"/enhancement/studies/{study_id}", {"force": True})
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        status = running.get(f"/enhancement/studies/{study_id}")
        if status["state"] == "RUNNING" and status["fraction"] > 0.05:
            return
        time.sleep(0.2)
    raise TimeoutError("the job did not begin to compute")
