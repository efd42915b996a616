"""Experiments on a real Orthanc that tests run small and scripts/soak.py runs large."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from orthanc.server import Orthanc
from unit.phantom import PhantomStudy

MakeStudy = Callable[..., PhantomStudy]


def await_one_result(server: Orthanc, study: PhantomStudy, timeout_s: float) -> list[str]:
    """What is wrong with this study once its job is stored; nothing if it has exactly one whole result."""
    study_id = server.study_id(study.study_instance_uid)
    try:
        job = server.wait_for_job(study_id, timeout_s=timeout_s)
        server.wait(lambda: server.get("/enhancement/status")["arrivals"] == 0, timeout_s, "an empty inbox")
        job = server.wait_for_job(study_id, timeout_s=timeout_s)
    except AssertionError as error:
        return [f"{study_id}: {str(error)[:300]}"]
    return wrong_with(server, study, study_id, job) + _wrong_audit(server, study_id, job)


def _wrong_audit(server: Orthanc, study_id: str, job: dict[str, Any]) -> list[str]:
    """The audit record hangs on the study too, however the process ended after the result was stored."""

    def attached() -> bool:
        answer = server.http.get(f"/studies/{study_id}/attachments/enhancement-audit/data")
        return answer.is_success and job["id"] in [record["job"] for record in answer.json()["records"]]

    try:
        server.wait(attached, 90, "the audit record")
    except AssertionError:
        return [f"{study_id}: no audit record of job {job['id']} on the study"]
    return []


def wrong_with(server: Orthanc, study: PhantomStudy, study_id: str, job: dict[str, Any]) -> list[str]:
    """Compare ledger and archive."""
    wrong = []
    if job["state"] != "STORED":
        wrong.append(f"{study_id}: job {job['id']} is {job['state']} {job['code']}")
    current = [item for item in server.jobs(study_id) if item["state"] not in ("SUPERSEDED",)]
    if len(current) != 1:
        wrong.append(f"{study_id}: {len(current)} jobs that are not superseded")
    # A study that was looked at before it was whole may keep the superseded result of its first part.
    superseded = {uid for item in server.jobs(study_id) if item["state"] == "SUPERSEDED" for uid in item["result_uids"]}
    results = {item["MainDicomTags"]["SeriesInstanceUID"]: item for item in server.results(study_id)}
    ours = set(results) - (superseded - set(job["result_uids"]))
    if ours != set(job["result_uids"]):
        wrong.append(f"{study_id}: results {sorted(ours)} in the archive, {job['result_uids']} in the ledger")
    for uid in ours:
        instances = server.get(f"/series/{results[uid]['ID']}/instances")
        numbers = {item["MainDicomTags"]["SOPInstanceUID"] for item in instances}
        if len(numbers) != study.grids["T1C"].size[2]:
            wrong.append(f"{study_id}: {len(numbers)} instances in result {uid}")
    return wrong


@dataclass
class Load:
    """Throughput and latency while jobs run."""

    studies: int
    associations: int
    instances: int
    seconds: float
    instances_per_second: float
    rest_median_ms: float
    rest_p95_ms: float
    rest_max_ms: float
    failed_requests: int
    wrong: list[str]


def load(server: Orthanc, studies: Sequence[PhantomStudy], *, associations: int, timeout_s: float = 600.0) -> Load:
    """Send studies over several associations at once while REST is asked all the time; wait for every result."""
    done = threading.Event()
    latencies: list[float] = []
    failed = [0]

    def ask() -> None:
        with httpx.Client(base_url=server.url, auth=server.http.auth, timeout=10) as http:
            while not done.is_set():
                began = time.monotonic()
                try:
                    http.get("/enhancement/status").raise_for_status()
                except httpx.HTTPError:
                    failed[0] += 1
                latencies.append(time.monotonic() - began)
                time.sleep(0.1)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    began = time.monotonic()
    with ThreadPoolExecutor(associations) as pool:
        list(pool.map(lambda study: server.send(study.paths), studies))
    seconds = time.monotonic() - began
    wrong = [fault for study in studies for fault in await_one_result(server, study, timeout_s)]
    done.set()
    asking.join()
    ordered = sorted(latencies)
    instances = sum(len(study.paths) for study in studies)
    return Load(
        studies=len(studies),
        associations=associations,
        instances=instances,
        seconds=round(seconds, 2),
        instances_per_second=round(instances / seconds, 1),
        rest_median_ms=round(1000 * ordered[len(ordered) // 2], 1),
        rest_p95_ms=round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 1),
        rest_max_ms=round(1000 * ordered[-1], 1),
        failed_requests=failed[0],
        wrong=wrong,
    )


@dataclass(frozen=True)
class Footprint:
    """What the Orthanc process holds."""

    studies: int
    resident_mb: float
    threads: int
    handles: int


def footprint(server: Orthanc, studies: int) -> Footprint:
    """Of the process now."""
    process = psutil.Process(server.pid)
    return Footprint(studies, process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())


def day(
    server: Orthanc, make_study: MakeStudy, *, studies: int, every: int, tell: Callable[[Footprint], None]
) -> tuple[list[Footprint], list[str]]:
    """Many small studies through one Orthanc, each waited for; what the process holds every so many studies."""
    footprints, wrong = [], []
    for number in range(1, studies + 1):
        study = make_study()
        server.send(study.paths)
        wrong += await_one_result(server, study, 120.0)
        for path in study.paths:
            path.unlink()
        if number % every == 0:
            footprints.append(footprint(server, number))
            tell(footprints[-1])
    return footprints, wrong
