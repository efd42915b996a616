"""Intake: the look at a study that has arrived. Which recipes have what they need? Are their results stored already?

A look reads headers only. For each recipe that has what it needs, the study becomes a job under the fingerprint of its
inputs. A study that lacks a series is noted as incomplete. Series of ours change no fingerprint, so the arrival of a
result asks for nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog
from pydicom.dataset import Dataset

from enhancement.archive.orthanc import OrthancArchive
from enhancement.dicom.identity import ResultIdentity
from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.own_copies import copied_results
from enhancement.dicom.own_series import is_enhanced, is_of_model, is_own, lies_on
from enhancement.errors import ArchiveError, EnhancementError, InputError, LedgerError, MissingRole, ModelError
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Arrival, Code, Priority, Source, State
from enhancement.pipeline.fingerprint import fingerprint, settings_that_matter
from enhancement.recipes.base import Recipe
from enhancement.recipes.offer import Offer
from enhancement.service.models import Models
from enhancement.service.reconcile import ORIGIN
from enhancement.settings import Settings

log = structlog.get_logger("enhancement.intake")

RETRY_S = 30.0
QUEUE_FULL_S = 60.0
REMEMBERED = 2000
STAT_PRIORITIES = frozenset({"STAT", "HIGH"})

#: One thing to write down; the arrival, where one is given, leaves the inbox with it.
Step = Callable[[Arrival | None], None]


@dataclass(frozen=True)
class Study:
    """What the headers of one study say.

    Attributes
    ----------
    match : StudyMatch
    instances : dict of SeriesInstanceUID to SOP Instance UIDs
        Of every series that is not ours.
    own_series : frozenset of SeriesInstanceUID
        Our results in it, those that are whole.
    archive_ids : mapping of SeriesInstanceUID to the archive's identifier
        Of every series.
    headers : mapping of SeriesInstanceUID to headers
        Of every series.
    study_instance_uid : str
    urgent : bool
    """

    match: StudyMatch
    instances: dict[str, tuple[str, ...]]
    own_series: frozenset[str]
    archive_ids: Mapping[str, str]
    headers: Mapping[str, Sequence[Dataset]]
    study_instance_uid: str
    urgent: bool

    def read_by(self, recipe: Recipe) -> list[Source]:
        """Every series that goes into the recipe's result."""
        chosen = {uid for role in recipe.inputs for uid in self.match.uids(role) if uid in self.archive_ids}
        return [Source(self.archive_ids[uid], uid, len(self.instances.get(uid, ()))) for uid in sorted(chosen)]

    def sources(self, recipe: Recipe) -> tuple[str, ...]:
        """Every instance that goes into the recipe's result."""
        chosen = {uid for role in recipe.inputs for uid in self.match.uids(role)}
        return tuple(sop for uid in chosen for sop in self.instances.get(uid, ()))


class Arrivals(Protocol):
    """What a look needs to know of the archive's log of changes; `reconcile.Reconciler` is one."""

    def look_begins(self, study_id: str) -> None:
        """Told of a study before it is read, so that its changes up to now need no further look."""
        ...

    def settles_in(self, study_id: str) -> float:
        """Seconds until the study has had its stable event; 0 if it had."""
        ...


class Intake:
    """Looks at the studies in the ledger's inbox."""

    def __init__(
        self,
        ledger: Ledger,
        archive: OrthancArchive,
        models: Models,
        recipes: Offer,
        settings: Settings,
        arrivals: Arrivals,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._models = models
        self._recipes = recipes
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
            log.warning("look failed", study=arrival.study_id, code=error.code, reason=error.reason)
            self._ledger.inbox.postpone(arrival, RETRY_S)
        except EnhancementError as error:
            log.warning("look failed", study=arrival.study_id, code=error.code, reason=error.reason)
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
        listed = self._archive.series(study_id)
        headers = self._archive.headers(study_id)
        foreign = [header for header in headers if not is_own(header)]
        instances: defaultdict[str, list[str]] = defaultdict(list)
        for ds in foreign:
            instances[str(ds.SeriesInstanceUID)].append(str(ds.SOPInstanceUID))
        by_series: defaultdict[str, list[Dataset]] = defaultdict(list)
        for ds in headers:
            by_series[str(ds.SeriesInstanceUID)].append(ds)
        return Study(
            match=match(foreign, self._settings.matching),
            instances={uid: tuple(found) for uid, found in instances.items()},
            own_series=_whole_own_series(headers),
            archive_ids={series["MainDicomTags"].get("SeriesInstanceUID", ""): series["ID"] for series in listed},
            headers=dict(by_series),
            study_instance_uid=str(headers[0].StudyInstanceUID) if headers else "",
            urgent=any(str(ds.get("RequestedProcedurePriority", "")).upper() in STAT_PRIORITIES for ds in headers),
        )

    def _look(self, arrival: Arrival) -> bool:
        if arrival.origin == ORIGIN and (wait_s := self._arrivals.settles_in(arrival.study_id)) > 0.0:
            self._ledger.inbox.postpone(arrival, wait_s)
            return False
        self._arrivals.look_begins(arrival.study_id)
        began = time.time()
        seen = self._digest_of_foreign(arrival.study_id)
        if self._needs_no_look(arrival, seen):
            self._ledger.inbox.done(arrival)
            return False
        steps, made = self._decide(arrival, seen, began)
        for step in steps[:-1]:
            step(None)
        if steps:
            steps[-1](
                arrival
            )  # it leaves the inbox in the transaction of the last one; doing all twice changes nothing
        else:
            self._ledger.inbox.done(arrival)
        self._remember(arrival.study_id, seen)
        return made

    def _decide(self, arrival: Arrival, seen: str, began: float) -> tuple[list[Step], bool]:
        """What is to be written down, a step a recipe, and whether there is work among it."""
        try:
            asked = self._recipes.asked(arrival.recipe, manual=arrival.priority is Priority.MANUAL)
            study = self.read(arrival.study_id)
        except InputError as error:
            name = arrival.recipe or self._recipes.default.name
            return [partial(self._refuse, arrival.study_id, name, seen, error)], False
        steps: list[Step] = []
        lacking: list[tuple[Recipe, MissingRole]] = []
        made = False
        for recipe in asked:
            fault = self._fault(recipe, study)
            if fault is None:
                made = True
                steps.append(partial(self._enqueue, arrival, recipe, study, seen, began))
            elif isinstance(fault, MissingRole):
                lacking.append((recipe, fault))
            else:
                steps.append(partial(self._refuse, arrival.study_id, recipe.name, seen, fault))
        # A study that one recipe can take is not reported for what others would need, and a chest film not at all.
        if not steps and lacking:
            recipe, lack = lacking[0]
            if study.sources(recipe) or arrival.priority is Priority.MANUAL:
                missing = self._missing(recipe, study)
                steps.append(partial(self._refuse, arrival.study_id, recipe.name, seen, lack, missing=missing))
        return steps, made

    def _needs_no_look(self, arrival: Arrival, seen: str) -> bool:
        """The same instances were looked at before, and the ledger, which may be a new one, still knows of it."""
        if arrival.priority is Priority.MANUAL or arrival.force or self._seen.get(arrival.study_id) != seen:
            return False
        jobs = self._ledger.records.jobs(study_id=arrival.study_id)
        return any(job.current and job.problem.code not in (Code.STUDY_DELETED, Code.SOURCE_GONE) for job in jobs)

    def _fault(self, recipe: Recipe, study: Study) -> InputError | None:
        """What keeps the recipe from the study: a role that nothing plays, or one that two series play alike."""
        try:
            recipe.require(study.match, self._settings.preprocessing)
        except InputError as error:
            return error
        return None

    def _missing(self, recipe: Recipe, study: Study) -> list[str]:
        judged = recipe.judged(study.match, self._settings.preprocessing)
        return [str(role) for role in judged.missing]

    def _enqueue(
        self, asked: Arrival, recipe: Recipe, study: Study, seen: str, began: float, arrival: Arrival | None
    ) -> None:
        try:
            digest = self._models.manifest(recipe).digest
        except ModelError as error:
            self._without_model(asked, recipe, seen, error, arrival)
            return
        sources = study.sources(recipe)
        settings = settings_that_matter(self._settings, recipe, study.match.roles)
        identity = ResultIdentity.of(
            study.study_instance_uid, sources, model_digest=digest, recipe=recipe.name, settings=settings
        )
        expected = [identity.series_instance_uid]
        maker = digest
        present = self._present(asked.study_id, study, began)
        if (
            not asked.force
            and present is not None
            and (copied := self._copied(asked.study_id, recipe, study, identity))
        ):
            expected, maker = copied, self._maker(study.headers[copied[0]][0], digest)
        job = self._ledger.requests.enqueue(
            asked.study_id,
            recipe.name,
            fingerprint(sources, digest, settings),
            priority=Priority(min(asked.priority, Priority.STAT)) if study.urgent else asked.priority,
            origin=asked.origin,
            requested_by=asked.requested_by,
            model_digest=maker,
            present=present,
            expected=expected,
            sources=study.read_by(recipe),
            archive_ids={study.archive_ids[uid]: uid for uid in study.own_series if uid in study.archive_ids},
            force=asked.force,
            arrival=arrival,
        )
        log.info("looked at", study=asked.study_id, job=job.id, recipe=recipe.name, state=str(job.state))

    def _copied(self, study_id: str, recipe: Recipe, study: Study, identity: ResultIdentity) -> list[str]:
        """The whole results that came with the study, where it is a copy of an enhanced one."""
        if identity.series_instance_uid in study.own_series:
            return []
        known = {uid for job in self._ledger.records.jobs(study_id=study_id) for uid in job.result_uids}
        reference = study.match.uids(recipe.reference)
        found = copied_results(study.headers, reference, recipe.words.image_type, known)
        return [uid for uid in found if uid in study.own_series] if found and found[0] in study.own_series else []

    def _maker(self, header: Dataset, current: str) -> str:
        """Digest of the model that made a copied result; "" where its header names none that the ledger knows."""
        digests = [current, *self._ledger.records.models()]
        return next((digest for digest in digests if digest and is_of_model(header, digest)), "")

    def _present(self, study_id: str, study: Study, began: float) -> frozenset[str] | None:
        """Our results in the study, or None where a job was storing its own while the study was being read.

        What was read is then older than what the ledger knows, and a result stored meanwhile would look lost.
        """
        for job in self._ledger.records.jobs(study_id=study_id, states=[State.RUNNING, State.STORED]):
            if job.state is State.RUNNING or (job.finished_at or 0.0) >= began:
                return None
        return study.own_series

    def _refuse(
        self,
        study_id: str,
        recipe: str,
        seen: str,
        error: InputError,
        arrival: Arrival | None,
        *,
        missing: list[str] | None = None,
    ) -> None:
        job = self._ledger.requests.refuse(
            study_id, recipe, seen, problem=error.problem, missing=missing, arrival=arrival
        )
        event = "refused" if missing is None else "incomplete"
        log.warning(event, study=study_id, job=job.id, recipe=recipe, code=error.code, reason=error.reason)

    def _without_model(
        self, asked: Arrival, recipe: Recipe, seen: str, error: ModelError, arrival: Arrival | None
    ) -> None:
        """Without a manifest there is no fingerprint, but the study must not wait in silence."""
        self._ledger.requests.enqueue(
            asked.study_id,
            recipe.name,
            seen,
            priority=asked.priority,
            origin=asked.origin,
            requested_by=asked.requested_by,
            arrival=arrival,
        )
        log.warning("no model", study=asked.study_id, recipe=recipe.name, code=error.code, reason=error.reason)

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


def _whole_own_series(headers: Sequence[Dataset]) -> frozenset[str]:
    """Our results in the study.

    An enhanced series with fewer slices than the series that it lies on was cut off while it was stored.
    """
    series_of = {str(ds.SOPInstanceUID): str(ds.SeriesInstanceUID) for ds in headers}
    slices: Counter[str] = Counter()
    for ds in headers:
        slices[str(ds.SeriesInstanceUID)] += int(ds.get("NumberOfFrames", 1) or 1)
    own = {str(ds.SeriesInstanceUID): ds for ds in headers if is_own(ds)}
    return frozenset(
        uid for uid, ds in own.items() if not is_enhanced(ds) or slices[uid] >= slices[series_of.get(lies_on(ds), "")]
    )
