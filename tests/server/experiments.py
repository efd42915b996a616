"""Experiments on a real Orthanc that tests run small and scripts/soak.py runs large."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from server.server import Orthanc
from unit.phantom import PhantomStudy

MakeStudy = Callable[..., PhantomStudy]


def let_all_before_pass(orthanc: Orthanc, make_study: MakeStudy) -> None:
    """Events are dealt with in order: once a study sent now has its result, whatever came before has had its turn."""
    study = make_study()
    orthanc.send(study.paths)
    orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid), {"STORED"})
    orthanc.wait_for_looks()


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
    """Throughput of C-STORE beside a stock Orthanc's, and REST latency while jobs run."""

    studies: int
    associations: int
    instances: int
    instances_per_second: dict[str, list[float]]
    ratio_idle: float
    ratio_computing: float
    rest_median_ms: float
    rest_p95_ms: float
    rest_max_ms: float
    stock_rest_median_ms: float
    failed_requests: int
    wrong: list[str]


class Questions(threading.Thread):
    """Asks for one page ten times a second until told to stop."""

    def __init__(self, server: Orthanc, path: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._path = path
        self._done = threading.Event()
        self._seconds: list[float] = []
        self.failed = 0

    def run(self) -> None:
        with httpx.Client(base_url=self._server.url, auth=self._server.http.auth, timeout=10) as http:
            while not self._done.wait(0.1):
                began = time.monotonic()
                try:
                    http.get(self._path).raise_for_status()
                except httpx.RemoteProtocolError:
                    continue  # Orthanc closes idle connections after a second, at times just when one is used again
                except httpx.HTTPError:
                    self.failed += 1
                self._seconds.append(time.monotonic() - began)

    def stop(self) -> list[float]:
        """The seconds of every answer, in order of length."""
        self._done.set()
        self.join()
        return sorted(self._seconds)


def load(
    servers: Mapping[str, Orthanc],
    make_study: MakeStudy,
    *,
    studies: int,
    associations: int,
    rounds: int,
    timeout_s: float = 1800.0,
) -> Load:
    """Send the same studies at once to each server in turn, and wait for every result of the one that computes.

    Parameters
    ----------
    servers : mapping
        "stock", "idle" (the plugin without work) and "computing".
    studies : int
        In each round, to each server.
    """
    computing = servers["computing"]
    warm = make_study()
    for server in servers.values():
        server.send(warm.paths)
    questions = Questions(computing, "/enhancement/status")
    stock_questions = Questions(servers["stock"], "/system")
    questions.start(), stock_questions.start()
    rates: dict[str, list[float]] = {name: [] for name in servers}
    sent: list[PhantomStudy] = [warm]
    for number in range(rounds):
        batch = [make_study() for _ in range(studies)]
        for name in list(servers)[number % 3 :] + list(servers)[: number % 3]:
            if name == "computing":
                keep_busy(computing, computing.study_id(warm.study_instance_uid))
            rates[name].append(_burst(servers[name], batch, associations))
        sent += batch
    computing.wait_until_reconciled(timeout_s)
    wrong = [fault for study in sent for fault in await_one_result(computing, study, timeout_s)]
    wrong += [f"{name}: a study is missing" for name, server in servers.items() if len(server.studies()) != len(sent)]
    ordered, stock_ordered = questions.stop(), stock_questions.stop()
    median = {name: statistics.median(values) for name, values in rates.items()}
    return Load(
        studies=len(sent),
        associations=associations,
        instances=sum(len(study.paths) for study in sent),
        instances_per_second={name: [round(value, 1) for value in values] for name, values in rates.items()},
        ratio_idle=round(median["idle"] / median["stock"], 3),
        ratio_computing=round(median["computing"] / median["stock"], 3),
        rest_median_ms=round(1000 * ordered[len(ordered) // 2], 1),
        rest_p95_ms=round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 1),
        rest_max_ms=round(1000 * ordered[-1], 1),
        stock_rest_median_ms=round(1000 * stock_ordered[len(stock_ordered) // 2], 1),
        failed_requests=questions.failed,
        wrong=wrong,
    )


def keep_busy(server: Orthanc, study_id: str) -> None:
    """Have a job that computes."""

    def computes() -> bool:
        running = server.get("/enhancement/status")["running"]
        if not running:
            server.post(f"/enhancement/studies/{study_id}", {"force": True})
            time.sleep(0.5)
        return bool(running and running[0]["fraction"] > 0.04)

    server.wait(computes, 300, "a job that computes")


def _burst(server: Orthanc, studies: Sequence[PhantomStudy], associations: int) -> float:
    """Instances a second over several associations at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(associations) as pool:
        list(pool.map(lambda study: server.send(study.paths), studies))
    return sum(len(study.paths) for study in studies) / (time.monotonic() - began)


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
    server: Orthanc, make_study: MakeStudy, *, studies: int, every: int, tell: Callable[[object], None]
) -> tuple[list[Footprint], list[str]]:
    """Many small studies through one Orthanc, waited for by the dozen; what the process holds after each dozen."""
    footprints, wrong = [], []
    for number in range(0, studies, every):
        batch = [make_study() for _ in range(min(every, studies - number))]
        for study in batch:
            server.send(study.paths)
        server.wait_until_reconciled()
        for study in batch:
            wrong += await_one_result(server, study, 600.0)
            for path in study.paths:
                path.unlink()
        footprints.append(footprint(server, number + len(batch)))
        tell(footprints[-1])
    return footprints, wrong
