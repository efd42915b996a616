"""The look at a study that arrived: does it have what the method needs, and do we have its result already?

It reads headers only. What is there becomes a job of the ledger under the fingerprint of its inputs; what is
missing becomes INCOMPLETE; our own series, whose arrival fires the same event, change no fingerprint.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from pydicom.dataset import Dataset

from enhancement.archive.orthanc import OrthancArchive
from enhancement.dicom.identity import ResultIdentity
from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.writing.provenance import SOFTWARE
from enhancement.errors import ArchiveError, EnhancementError, InputError, LedgerError, MissingRole, ModelError
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Arrival, Code, JobRow, Priority, State
from enhancement.pipeline.fingerprint import INPUT_ROLES, fingerprint, settings_that_matter
from enhancement.service.models import Models
from enhancement.service.reconcile import ORIGIN
from enhancement.settings import Role, Settings

log = structlog.get_logger("enhancement.intake")

RETRY_S = 30.0
QUEUE_FULL_S = 60.0
REMEMBERED = 2000
STAT_PRIORITIES = frozenset({"STAT", "HIGH"})


@dataclass(frozen=True)
class Study:
    """What the headers of one study say."""

    match: StudyMatch
    sources: tuple[str, ...]
    own_series: frozenset[str]
    study_instance_uid: str
    urgent: bool


class Arrivals(Protocol):
    """What the look needs of the archive's log of changes (`reconcile.Reconciler`)."""

    def look_begins(self, study_id: str) -> None:
        """Told of a study before it is read, so that its changes up to now need no further look."""
        ...

    def settles_in(self, study_id: str) -> float:
        """Seconds until the study has had its stable event; 0 if it had."""
        ...


def is_own(header: Dataset) -> bool:
    """Whether this software made the instance; read from what only we write, never from a description."""
    return any(
        SOFTWARE in (str(item.get("Manufacturer", "")), str(item.get("ManufacturerModelName", "")))
        for item in header.get("ContributingEquipmentSequence", [])
    )


class Intake:
    """Works off the ledger's arrivals."""

    def __init__(
        self,
        ledger: Ledger,
        archive: OrthancArchive,
        engine: Models,
        settings: Settings,
        arrivals: Arrivals,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._engine = engine
        self._settings = settings
        self._arrivals = arrivals
        # Of every study looked at: a digest of its foreign instances. Our own result makes the study stable again;
        # this spares reading all of its headers once more.
        self._seen: dict[str, str] = {}

    def look(self, arrival: Arrival) -> bool:
        """Deal with one arrival; whether it may have made work for a worker."""
        try:
            return self._look(arrival)
        except LedgerError as error:
            if error.code != "QUEUE_FULL":
                raise
            log.warning("queue full", study=arrival.study_id)
            self._ledger.inbox.postpone(arrival, QUEUE_FULL_S)
        except ArchiveError as error:
            if error.status == 404 and not self._archive.exists(f"/studies/{arrival.study_id}"):
                self._ledger.requests.study_deleted(arrival.study_id)
                return False
            log.warning("look failed", study=arrival.study_id, code=error.code, reason=error.message)
            self._ledger.inbox.postpone(arrival, RETRY_S)
        except ModelError as error:
            self._without_model(arrival, error)
        except EnhancementError as error:
            log.warning("look failed", study=arrival.study_id, code=error.code, reason=error.message)
            self._ledger.inbox.postpone(arrival, RETRY_S)
        return False

    def read(self, study_id: str) -> Study:
        """Match the study's headers.

        Raises
        ------
        InputError
            STUDY_TOO_LARGE before anything of it is read.
        """
        self._check_size(study_id)
        headers = self._archive.headers(study_id)
        foreign = [header for header in headers if not is_own(header)]
        found = match(foreign, self._settings.matching)
        chosen = set(chosen_series(found))
        return Study(
            match=found,
            sources=tuple(str(ds.SOPInstanceUID) for ds in foreign if str(ds.SeriesInstanceUID) in chosen),
            own_series=_whole_own_series(headers, found),
            study_instance_uid=str(headers[0].StudyInstanceUID) if headers else "",
            urgent=any(str(ds.get("RequestedProcedurePriority", "")).upper() in STAT_PRIORITIES for ds in headers),
        )

    def _look(self, arrival: Arrival) -> bool:
        if arrival.origin == ORIGIN and (wait_s := self._arrivals.settles_in(arrival.study_id)) > 0.0:
            self._ledger.inbox.postpone(arrival, wait_s)
            return False
        self._arrivals.look_begins(arrival.study_id)
        began = time.time()
        recipe = self._engine.manifest().recipe
        seen = self._digest_of_foreign(arrival.study_id)
        if self._needs_no_look(arrival, seen):
            self._ledger.inbox.done(arrival)
            return False
        try:
            study = self.read(arrival.study_id)
            missing = self._missing(study)
        except InputError as error:
            self._refuse(arrival, recipe, seen, error)
            self._remember(arrival.study_id, seen)
            return False
        if missing and not chosen_series(study.match) and arrival.priority is not Priority.MANUAL:
            # Nothing of what we work on is in the study: a chest film must not become a row in the list of jobs.
            self._ledger.inbox.done(arrival)
        elif missing is not None:
            self._refuse(arrival, recipe, seen, missing, [str(role) for role in study.match.missing])
        else:
            job = self._enqueue(arrival, recipe, study, began)
            log.info("looked at", study=arrival.study_id, job=job.id, state=str(job.state))
        self._remember(arrival.study_id, seen)
        return missing is None

    def _needs_no_look(self, arrival: Arrival, seen: str) -> bool:
        """The same instances were looked at before, and the ledger, which may be a new one, still knows of it."""
        if arrival.priority is Priority.MANUAL or arrival.force or self._seen.get(arrival.study_id) != seen:
            return False
        jobs = self._ledger.records.jobs(study_id=arrival.study_id)
        return any(job.current and job.code != Code.STUDY_DELETED for job in jobs)

    def _missing(self, study: Study) -> InputError | None:
        """What the study lacks; anything else that `require` finds wrong is raised."""
        try:
            study.match.require(*required_roles(self._settings))
            if self._settings.preprocessing.require_adc and not study.match.uids(Role.ADC):
                study.match.require(Role.DWI)
        except MissingRole as error:
            return error
        return None

    def _enqueue(self, arrival: Arrival, recipe: str, study: Study, began: float) -> JobRow:
        digest = self._engine.manifest().digest
        priority = arrival.priority
        if study.urgent:
            priority = Priority(min(priority, Priority.STAT))
        return self._ledger.requests.enqueue(
            arrival.study_id,
            recipe,
            fingerprint(study.sources, digest, settings_that_matter(self._settings, study.match.roles)),
            priority=priority,
            origin=arrival.origin,
            requested_by=arrival.requested_by,
            model_digest=digest,
            present=self._present(arrival.study_id, study, began),
            expected=[self._expected(study, recipe, digest)],
            force=arrival.force,
            arrival=arrival,
        )

    def _present(self, study_id: str, study: Study, began: float) -> frozenset[str] | None:
        """Our results in the study, or None where a job was storing its own while the study was being read.

        What was read is then older than what the ledger knows, and a result stored meanwhile would look lost.
        """
        for job in self._ledger.records.jobs(study_id=study_id, states=[State.RUNNING, State.STORED]):
            if job.state is State.RUNNING or (job.finished_at or 0.0) >= began:
                return None
        return study.own_series

    def _expected(self, study: Study, recipe: str, digest: str) -> str:
        """The UID that the enhanced series will have: a function of inputs, model and settings."""
        identity = ResultIdentity.of(
            study.study_instance_uid,
            study.sources,
            model_digest=digest,
            recipe=recipe,
            settings=settings_that_matter(self._settings, study.match.roles),
        )
        return identity.series_instance_uid

    def _refuse(
        self, arrival: Arrival, recipe: str, seen: str, error: InputError, missing: list[str] | None = None
    ) -> None:
        job = self._ledger.requests.refuse(
            arrival.study_id,
            recipe,
            seen,
            code=error.code,
            reason=error.message,
            advice=error.advice,
            missing=missing,
            arrival=arrival,
        )
        event = "refused" if missing is None else "incomplete"
        log.warning(event, study=arrival.study_id, job=job.id, code=error.code, reason=error.message)

    def _without_model(self, arrival: Arrival, error: ModelError) -> None:
        """Without a manifest there is no recipe and no fingerprint, but the study must not wait in silence."""
        fingerprint_of_all = self._digest_of_foreign(arrival.study_id)
        self._ledger.requests.enqueue(
            arrival.study_id,
            self._settings.model.folder.name[:64],
            fingerprint_of_all,
            priority=arrival.priority,
            origin=arrival.origin,
            requested_by=arrival.requested_by,
            arrival=arrival,
        )
        log.warning("no model", study=arrival.study_id, code=error.code, reason=error.message)

    def _check_size(self, study_id: str) -> None:
        statistics = self._archive.json(f"/studies/{study_id}/statistics")
        instances, megabytes = int(statistics["CountInstances"]), int(statistics["DicomDiskSizeMB"])
        limits = self._settings.limits
        if instances > limits.max_study_instances or megabytes > limits.max_study_megabytes:
            raise InputError(
                f"at most {limits.max_study_instances} instances and {limits.max_study_megabytes} MB are taken, "
                f"found {instances} instances and {megabytes} MB",
                code="STUDY_TOO_LARGE",
                advice="Raise ContrastEnhancement.Limits if this study is meant to be enhanced.",
            )

    def _digest_of_foreign(self, study_id: str) -> str:
        """A digest of every instance of the study that is not ours, from Orthanc's lists alone."""
        instances: list[str] = []
        for series in self._archive.series(study_id):
            if series["Instances"] and not self._is_own(series):
                instances += series["Instances"]
        return hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()

    def _is_own(self, series: dict[str, Any]) -> bool:
        try:
            return is_own(self._archive.series_header(series))
        except InputError:
            return False  # what cannot be read is none of ours; reading the study will refuse it by name

    def _remember(self, study_id: str, digest: str) -> None:
        while len(self._seen) >= REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[study_id] = digest


def required_roles(settings: Settings) -> list[Role]:
    """The roles without which nothing is enhanced."""
    roles = list(settings.matching.required_roles)
    if settings.preprocessing.require_flair:
        roles.append(Role.FLAIR)
    return list(dict.fromkeys(roles))


def chosen_series(found: StudyMatch) -> list[str]:
    """Every series that goes into the result."""
    return [uid for role in INPUT_ROLES for uid in found.uids(role)]


def _whole_own_series(headers: Sequence[Dataset], found: StudyMatch) -> frozenset[str]:
    """Our results in the study. An enhanced series with fewer slices than its T1c was cut off while it was stored."""
    counts: Counter[str] = Counter(str(ds.SeriesInstanceUID) for ds in headers if is_own(ds))
    t1c = found.roles.get(Role.T1C)
    slices = sum(int(ds.get("NumberOfFrames", 1) or 1) for ds in headers if str(ds.SeriesInstanceUID) == t1c)
    enhanced = {str(ds.SeriesInstanceUID) for ds in headers if is_own(ds) and _is_enhanced(ds)}
    return frozenset(uid for uid, count in counts.items() if uid not in enhanced or count >= slices)


def _is_enhanced(header: Dataset) -> bool:
    return str(header.get("SyntheticData", "")) == "YES"
