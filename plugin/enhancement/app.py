"""The app: puts all parts of the service together, and runs the loop that keeps them in step with Orthanc."""

from __future__ import annotations

import hashlib
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr

from enhancement.archive.orthanc import HttpTransport, OrthancArchive, Transport
from enhancement.errors import EnhancementError, LedgerError, Problem
from enhancement.host.base import Host
from enhancement.host.messages import Answer, Request
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Arrival
from enhancement.recipes.offer import offered
from enhancement.service import audit, logs
from enhancement.service.changes import OrthancStore
from enhancement.service.courier import Courier
from enhancement.service.follow_up import Results
from enhancement.service.health import Health, Light
from enhancement.service.intake import Intake
from enhancement.service.metrics import Metrics
from enhancement.service.models import Models
from enhancement.service.operations import Operations
from enhancement.service.orphans import Orphans
from enhancement.service.reconcile import Reconciler
from enhancement.service.worker import Worker
from enhancement.settings import SECTION, Settings, parse_settings, sections_like_ours
from enhancement.web.router import Router

if TYPE_CHECKING:
    from enhancement.pipeline.publish import Outcome

log = structlog.get_logger("enhancement")

TICK_S = 0.5
SLOW_TICK_S = 5.0
# How long a job may take to end by itself when Orthanc stops, and how long after it was interrupted.
POLITE_STOP_S = 1.5
STOP_S = 2.0
# Orthanc looks for stable studies about once a second; a loaded machine may take longer.
STABLE_SLACK_S = 5.0
FAULT_S = 2.0
LOOKS_PER_TICK = 4
# Python's threads take turns of 5 ms by default. An answer that reads the ledger waits for its turn some ten times, and
# so took 50 ms while another thread was parsing headers.
SWITCH_S = 0.0005

DISABLED = Problem("DISABLED", "Enhancement is switched off.", "Set ContrastEnhancement.Enabled to true.")
NO_AUTHENTICATION = Problem(
    "NO_AUTHENTICATION",
    "Remote access is allowed without a password.",
    "Set AuthenticationEnabled and RegisteredUsers; behind a proxy that authenticates, name its header in "
    "ContrastEnhancement.Access.TrustedUserHeader.",
)

Event = tuple[str, str]


class App:
    """The service of one Orthanc.

    Parameters
    ----------
    host : Host
        The Orthanc process.
    root : Path
        Where relative paths of the settings start.
    stop : Event
        Set when Orthanc stops.
    known : mapping, optional
        Problems that were found while Orthanc loaded, by their part.

    Raises
    ------
    SettingsError, LedgerError
        The service then cannot be; Orthanc serves on and the status says why.
    """

    def __init__(
        self, host: Host, root: Path, *, stop: threading.Event, known: Mapping[str, Problem] | None = None
    ) -> None:
        logs.configure(host.log)
        sys.setswitchinterval(SWITCH_S)
        configuration = host.configuration()
        self._stop = stop
        self._settings = parse_settings(configuration.get(SECTION, {}))
        self._stable_age_s = float(configuration.get("StableAge", 60))
        self._health = Health()
        for part, problem in (known or {}).items():
            self._health.report(part, Light.YELLOW, problem)
        self._storage = Path(configuration.get("StorageDirectory", "OrthancStorage")).resolve()
        self._ledger = open_ledger(self._settings, configuration, self._storage)
        self._archive = OrthancArchive(_transport(host, configuration), audit.numbers(configuration))
        self._generation = self._ledger.generation
        self._reconciler = Reconciler(
            self._ledger,
            OrthancStore(self._archive),
            settle_s=self._stable_age_s + STABLE_SLACK_S,
            recent_s=self._settings.reconciliation.list_days * 86400.0,
        )
        self._courier = Courier(
            self._ledger.deliveries, self._archive, self._settings.delivery, instance=self._ledger.instance
        )
        self._results = Results(self._ledger, self._archive, self._settings)
        self._orphans = Orphans(
            self._ledger, self._archive, self._results, self._settings, self._health, settle_s=self._stable_age_s
        )
        self._follow_up_due = threading.Event()
        self._metrics = Metrics(host.metric, self._ledger, self._health)
        self._recipes = offered(self._settings)
        models = [Models(self._settings, root, device, self._health) for device in self._settings.model.devices]
        self._workers = [self._worker(one) for one in models]
        self._intake = Intake(self._ledger, self._archive, models[0], self._recipes, self._settings, self._reconciler)
        operations = Operations(
            settings=self._settings,
            ledger=self._ledger,
            archive=self._archive,
            lookup=host.sdk_transport(),
            intake=self._intake,
            models=models[0],
            recipes=self._recipes,
            workers=self._workers,
            results=self._results,
            health=self._health,
        )
        # As Orthanc decides it: where nothing is said, remote access brings authentication with it.
        remote = bool(configuration.get("RemoteAccessAllowed", False))
        authenticated = bool(configuration.get("AuthenticationEnabled", remote))
        self._router = Router(operations, self._settings.access, authenticated=authenticated)
        self._warn_of_open_doors(remote=remote, authenticated=authenticated)
        self._warn_of_names(sections_like_ours(configuration))

    def answer(self, request: Request) -> Answer:
        """Answer a REST request."""
        return self._router.answer(request)

    def run(self, events: queue.SimpleQueue[Event]) -> None:
        """Serve until Orthanc stops."""
        if self._settings.enabled:
            for worker in self._workers:
                worker.start()
        else:
            self._health.report("settings", Light.YELLOW, DISABLED)
        started = False
        slow = 0.0
        while not self._stop.is_set():
            if not started or self._generation != self._ledger.generation:
                started = self._guarded("restart", self._take_up)
            self._guarded("events", partial(self._take, events))
            if self._settings.enabled:
                self._guarded("looks", self._look)
            if self._follow_up_due.is_set():
                self._follow_up_due.clear()
                self._guarded("follow-up", self._results.follow_up)
            if time.monotonic() - slow > SLOW_TICK_S:
                slow = time.monotonic()
                self._guarded("housekeeping", self._keep_house)
        self._end_workers()
        self._ledger.close()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.wake()
        if not self._joined(POLITE_STOP_S):
            for worker in self._workers:
                worker.interrupt()
            self._joined(STOP_S)

    def _joined(self, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        return all(worker.join(max(0.0, deadline - time.monotonic())) for worker in self._workers)

    def _guarded(self, part: str, step: Callable[[], Any]) -> bool:
        """Run one step of this part; return whether it went well. A fault is reported once, and ends nothing."""
        try:
            step()
        except LedgerError as error:
            self._report("ledger", Light.RED, error)
        except EnhancementError as error:
            self._report(part, Light.YELLOW, error)
        except Exception as error:  # the last frame of this thread
            fault = EnhancementError(f"unexpected {type(error).__name__} in {part}", advice="See Orthanc's log.")
            if self._report(part, Light.YELLOW, fault):
                log.error("unexpected fault", exc_info=True)
        else:
            self._health.clear("ledger")
            self._health.clear(part)
            return True
        self._stop.wait(FAULT_S)
        return False

    def _report(self, part: str, light: Light, error: EnhancementError) -> bool:
        news = self._health.report(part, light, error.problem)
        if news:
            log.error("fault", part=part, code=error.code, reason=error.reason)
        return news

    def _take(self, events: queue.SimpleQueue[Event]) -> None:
        """Write down every event so far; wait a moment if there is none."""
        timeout: float | None = TICK_S
        while True:
            try:
                kind, resource = events.get(block=timeout is not None, timeout=timeout)
            except queue.Empty:
                return
            try:
                self._handle(kind, resource)
            except LedgerError:
                events.put((kind, resource))  # not lost: written down as soon as the ledger can be written
                raise
            timeout = None

    def _handle(self, kind: str, resource: str) -> None:
        if kind == "STABLE_STUDY" and self._settings.enabled and self._settings.automatic:
            self._ledger.inbox.notice(resource)
        elif kind == "DELETED_STUDY":
            self._ledger.requests.study_deleted(resource)
        elif kind == "DELETED_SERIES":
            self._results.deleted(resource)
            self._orphans.deleted(resource)

    def _look(self) -> None:
        for arrival in self._ledger.inbox.waiting(limit=LOOKS_PER_TICK):
            if self._stop.is_set():
                return
            if self._look_at(arrival):
                for worker in self._workers:
                    worker.wake()

    def _look_at(self, arrival: Arrival) -> bool:
        """One look; a study over which it stumbles is put off, so that those behind it are not held up."""
        try:
            made = self._intake.look(arrival)
            self._orphans.check(arrival.study_id)
            return made
        except EnhancementError:
            raise
        except Exception as error:  # a fault of ours or of a library
            log.error("look failed", study=arrival.study_id, error=type(error).__name__, exc_info=True)
            self._ledger.inbox.postpone(arrival, min(3600.0, FAULT_S * 2.0**arrival.looks))
            return False

    def _take_up(self) -> None:
        """Begin where this Orthanc ended, or with a ledger that was put in the place of a lost one."""
        generation = self._ledger.generation
        if self._settings.enabled and self._settings.automatic:
            self._reconciler.start()
        else:
            self._ledger.claims.recover(mine=True)
        self._orphans.start()
        self._generation = generation

    def _keep_house(self) -> None:
        for worker in self._workers:
            if self._settings.enabled:
                worker.supervise()
        breaker = self._ledger.records.circuit()
        if str(breaker.circuit) == "CLOSED":
            self._health.clear("circuit")
        else:
            reason = f"the last {breaker.failures} jobs failed with {breaker.code}"
            advice = "Mend the cause; meanwhile one job is tried at a time."
            self._health.report("circuit", Light.RED, Problem("CIRCUIT_OPEN", reason, advice))
        self._metrics.publish()
        self._results.follow_up()
        self._orphans.step()
        self._courier.step()
        if self._settings.enabled and self._settings.automatic:
            self._reconciler.sweep()

    def _worker(self, models: Models) -> Worker:
        return Worker(
            models.device,
            ledger=self._ledger,
            archive=self._archive,
            models=models,
            recipes=self._recipes,
            settings=self._settings,
            health=self._health,
            stop=self._stop,
            storage=self._storage,
            stored=self._stored,
        )

    def _stored(self, outcome: Outcome) -> None:
        """Told by a worker: what follows is done by our own thread, one at a time."""
        self._metrics.note_stages(outcome.stage_seconds)
        self._follow_up_due.set()

    def _warn_of_open_doors(self, *, remote: bool, authenticated: bool) -> None:
        if remote and not authenticated and not self._settings.access.trusted_user_header:
            self._health.report("doors", Light.YELLOW, NO_AUTHENTICATION)

    def _warn_of_names(self, sections: list[str]) -> None:
        if sections:
            reason = f"There is a section {', '.join(map(repr, sections))}, which nobody reads."
            advice = f"If it is meant for this plugin, name it {SECTION!r} and restart Orthanc."
            self._health.report("settings-name", Light.YELLOW, Problem("SETTINGS_NAME", reason, advice))


def open_ledger(settings: Settings, configuration: dict[str, Any], storage: Path) -> Ledger:
    """The ledger that the settings name; by default a file in Orthanc's storage folder."""
    chosen = settings.ledger
    if chosen.url is None:
        storage.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{storage / 'enhancement-ledger.db'}"
        chosen = chosen.model_copy(update={"url": SecretStr(url)})
    return Ledger(chosen, settings.queue, instance=_instance(configuration, storage))


def _instance(configuration: dict[str, Any], storage: Path) -> str:
    """A name of this Orthanc that survives its restart and that no other one has."""
    named = configuration.get("DatabaseServerIdentifier")
    if named:
        return str(named)[:128]
    place = f"{socket.gethostname()}:{storage}:{configuration.get('HttpPort', 8042)}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def _transport(host: Host, configuration: dict[str, Any]) -> Transport:
    """HTTP where Orthanc has a plain door, because it leaves the GIL alone; else the SDK."""
    if configuration.get("HttpServerEnabled", True) and not configuration.get("SslEnabled", False):
        port = int(configuration.get("HttpPort", 8042))
        return HttpTransport(f"http://127.0.0.1:{port}", authorization=host.authorization)
    transport: Transport = host.sdk_transport()
    return transport
