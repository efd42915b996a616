"""SIGKILL at chosen and at random moments while studies arrive and are worked on; then a look at what is there."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from server.experiments import await_one_result
from server.server import Orthanc
from unit.phantom import PhantomStudy

# Every job may be killed as often as it takes, and comes back at once: tested is that nothing is lost or doubled.
PATIENT_QUEUE = {
    "ContrastEnhancement.Queue.MaxCrashes": 1000,
    "ContrastEnhancement.Queue.MaxAttempts": 100,
    "ContrastEnhancement.Queue.BreakerFailures": 1000,
    "ContrastEnhancement.Queue.RetryInitialSeconds": 0.2,
    "ContrastEnhancement.Queue.RetryMaxSeconds": 1,
    "ContrastEnhancement.Queue.LeaseSeconds": 4,
}

STAGES = (
    "starting",
    "reading the study",
    "finding the brain",
    "registering T1",
    "to the atlas",
    "predicting",
    "returning to the T1c's grid",
    "writing the series",
    "storing the series",
)
# In this order, again and again; a moment that does not come within PATIENCE_S is killed all the same.
MOMENTS = ("receiving", "looking", "queued", *STAGES, "stored just now", "any", "any")
PATIENCE_S = 12.0
POLL_S = 0.005
CLICK_S = 2.0


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
        return asdict(self) | {"moments": dict(sorted(self.moments.items()))}


class Scanner(threading.Thread):
    """Sends studies one after the other, as fast as it is let; a study whose association broke it sends again."""

    def __init__(self, servers: Sequence[Orthanc], studies: Sequence[PhantomStudy]) -> None:
        super().__init__(daemon=True)
        self.receiver: Orthanc | None = None
        self._servers = servers
        self._studies = studies
        self._let = threading.Semaphore(0)
        self._sent = 0

    def let(self, studies: int) -> None:
        """Let it send until so many studies were sent."""
        while self._sent < min(studies, len(self._studies)):
            self._let.release()
            self._sent += 1

    def run(self) -> None:
        for number, study in enumerate(self._studies):
            self._let.acquire()
            while not self._send(self._servers[number % len(self._servers)], study):
                time.sleep(0.2)

    def _send(self, server: Orthanc, study: PhantomStudy) -> bool:
        self.receiver = server
        try:
            server.send(study.paths)
        except Exception:  # pynetdicom raises many kinds when the peer is killed
            return False
        finally:
            self.receiver = None
        return True


class Watch:
    """What the servers are doing, from their status."""

    def __init__(self, servers: Sequence[Orthanc], scanner: Scanner, chance: random.Random) -> None:
        self._chance = chance
        self._servers = list(servers)
        self._scanner = scanner
        self._http = [httpx.Client(base_url=server.url, auth=server.http.auth, timeout=2) for server in servers]
        self._stored = 0

    def seen(self) -> dict[str, Orthanc]:
        """The moments that it is now, and the server at which to kill for each."""
        moments: dict[str, Orthanc] = {}
        for server, http in zip(self._servers, self._http, strict=True):
            try:
                status = http.get("/enhancement/status").json()
                jobs = status["jobs"]
            except (httpx.HTTPError, ValueError, KeyError):
                continue  # it is starting
            moments |= {running["stage"]: server for running in status["running"]}
            moments |= {"looking": server} if status["arrivals"] else {}
            moments |= {"queued": server} if jobs["QUEUED"] else {}
            moments |= {"stored just now": server} if jobs["STORED"] > self._stored else {}
            self._stored = max(self._stored, jobs["STORED"])
        receiver = self._scanner.receiver
        return moments | ({"receiving": receiver} if receiver else {})

    def _click(self) -> None:
        """Where nothing is going on, somebody asks for two results once more, stored or not."""
        http = self._chance.choice(self._http)
        with suppress(httpx.HTTPError, ValueError):
            studies = http.get("/studies").json()
            for study_id in self._chance.sample(studies, min(2, len(studies))):
                http.post(f"/enhancement/studies/{study_id}", json={"force": True})

    def wait_for(self, moment: str) -> tuple[str, Orthanc | None]:
        """The moment that it is, the wished for one if it comes in time; and where."""
        deadline = time.monotonic() + PATIENCE_S
        seen: dict[str, Orthanc] = {}
        clicked = time.monotonic()
        while time.monotonic() < deadline and moment not in seen:
            time.sleep(POLL_S)
            seen = self.seen()
            if not seen and time.monotonic() - clicked > CLICK_S:
                clicked = time.monotonic()
                self._click()
        if moment in seen:
            return moment, seen[moment]
        return (next(iter(seen), "idle")), next(iter(seen.values()), None)


def kill_again_and_again(
    servers: Sequence[Orthanc],
    studies: Sequence[PhantomStudy],
    *,
    kills: int,
    seed: int,
    timeout_s: float = 600.0,
    tell: Callable[[str], None] = lambda _text: None,
) -> Kills:
    """Kill a server `kills` times while studies arrive evenly and are worked on; then compare ledger and archive."""
    chance = random.Random(seed)
    report = Kills(len(studies))
    began = time.monotonic()
    scanner = Scanner(servers, studies)
    scanner.start()
    watch = Watch(servers, scanner, chance)
    while report.kills < kills:
        scanner.let(1 + report.kills * len(studies) // kills)
        moment, victim = _moment(watch, MOMENTS[report.kills % len(MOMENTS)], chance)
        victim = victim or chance.choice(list(servers))
        victim.kill()
        report.kills += 1
        report.moments[moment] += 1
        tell(f"kill {report.kills}: {moment}")
        victim.start(wait=chance.random() < 0.5)
    scanner.let(len(studies))
    scanner.join(timeout_s)
    for server in servers:
        server.wait(lambda server=server: server.is_up(), 120, "the plugin after the last kill")
        # A part of a study may have its result already, while the news of its rest went with the kill.
        server.wait_until_reconciled(timeout_s)
    for study in studies:
        report.wrong += await_one_result(servers[0], study, timeout_s)
    report.wrong += [] if len(servers[0].studies()) == len(studies) else ["studies that nobody sent"]
    report.attempts = sum(
        job["attempts"] for server in servers[:1] for job in server.get("/enhancement/jobs", limit="1000")["jobs"]
    )
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _moment(watch: Watch, wished: str, chance: random.Random) -> tuple[str, Orthanc | None]:
    if wished != "any":
        moment, victim = watch.wait_for(wished)
        # Half of them at once, half somewhat later: the same stage, or what follows it.
        time.sleep(chance.choice([0.0, chance.uniform(0.0, 0.2)]))
        return moment, victim
    time.sleep(chance.uniform(0.0, 4.0))
    seen = watch.seen()
    return next(iter(seen), "idle"), next(iter(seen.values()), None)
