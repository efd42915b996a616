"""Experiments on a real Orthanc that tests run small and scripts/soak.py runs large."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from orthanc.server import Orthanc
from unit.phantom import PhantomStudy

MakeStudy = Callable[..., PhantomStudy]

# Every job may be killed as often as it takes, and comes back at once: tested is that nothing is lost or doubled.
PATIENT_QUEUE = {
    "ContrastEnhancement.Queue.MaxCrashes": 1000,
    "ContrastEnhancement.Queue.MaxAttempts": 100,
    "ContrastEnhancement.Queue.BreakerFailures": 1000,
    "ContrastEnhancement.Queue.RetryInitialSeconds": 0.2,
    "ContrastEnhancement.Queue.RetryMaxSeconds": 1,
    "ContrastEnhancement.Queue.LeaseSeconds": 4,
}


@dataclass
class Kills:
    """What was done and what came of it."""

    studies: int
    kills: int = 0
    moments: dict[str, int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    attempts: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(replace(self, moments={}, wrong=list(self.wrong))) | {"moments": dict(self.moments)}


class Scanner(threading.Thread):
    """Sends studies one after the other and, as scanners do, sends a study again whose association broke."""

    def __init__(self, servers: Sequence[Orthanc], studies: Sequence[PhantomStudy], pause_s: float) -> None:
        super().__init__(daemon=True)
        self._servers = servers
        self._studies = studies
        self._pause_s = pause_s
        self.sending = False

    def run(self) -> None:
        for number, study in enumerate(self._studies):
            while not self._send(self._servers[number % len(self._servers)], study):
                time.sleep(0.2)
            time.sleep(self._pause_s)

    def _send(self, server: Orthanc, study: PhantomStudy) -> bool:
        self.sending = True
        try:
            server.send(study.paths)
        except Exception:  # pynetdicom raises many kinds when the peer is killed
            return False
        finally:
            self.sending = False
        return True


def kill_again_and_again(
    servers: Sequence[Orthanc],
    studies: Sequence[PhantomStudy],
    *,
    kills: int,
    seed: int,
    moment: Callable[[], str],
    quiet_s: tuple[float, float] = (0.3, 4.0),
    timeout_s: float = 600.0,
) -> Kills:
    """SIGKILL a server at random moments while studies arrive and are worked on; then look at what is there.

    Parameters
    ----------
    moment : callable
        What was going on, from the ledger, right after a kill; for the report only.
    quiet_s : (low, high), seconds
        From the start of the Orthanc process to its kill.
    """
    chance = random.Random(seed)
    report = Kills(len(studies))
    began = time.monotonic()
    scanner = Scanner(servers, studies, pause_s=0.5)
    scanner.start()
    while report.kills < kills:
        victim = chance.choice(list(servers))
        time.sleep(chance.uniform(*quiet_s))
        receiving = scanner.sending
        victim.kill()
        report.kills += 1
        report.moments["receiving" if receiving else moment()] += 1
        victim.start(wait=chance.random() < 0.5)
    scanner.join(timeout_s)
    for server in servers:
        server.wait(lambda server=server: _is_up(server), 120, "the plugin after the last kill")
    for study in studies:
        report.wrong += await_one_result(servers[0], study, timeout_s)
    report.attempts = sum(job["attempts"] for job in servers[0].jobs())
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _is_up(server: Orthanc) -> bool:
    return bool(server.get("/enhancement/status").get("state") not in ("", "starting"))


def await_one_result(server: Orthanc, study: PhantomStudy, timeout_s: float) -> list[str]:
    """What is wrong with this study once its job is stored; nothing if it has exactly one whole result."""
    study_id = server.study_id(study.study_instance_uid)
    try:
        job = server.wait_for_job(study_id, timeout_s=timeout_s)
        server.wait(lambda: server.get("/enhancement/status")["arrivals"] == 0, timeout_s, "an empty inbox")
        job = server.wait_for_job(study_id, timeout_s=timeout_s)
    except AssertionError as error:
        return [f"{study_id}: {str(error)[:300]}"]
    return wrong_with(server, study, study_id, job)


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


def sqlite_moment(ledger: Path) -> str:
    """The stage of the running job, or what the ledger holds otherwise."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=1)) as connection:
        running = connection.execute("SELECT stage FROM enhancement_jobs WHERE state = 'RUNNING'").fetchall()
        if running:
            return str(running[0][0])
        waiting = connection.execute("SELECT count(*) FROM enhancement_arrivals").fetchone()[0]
        queued = connection.execute("SELECT count(*) FROM enhancement_jobs WHERE state = 'QUEUED'").fetchone()[0]
        return "looking" if waiting else "queued" if queued else "idle"
    return "no ledger yet"


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
