"""Orphans: results that have outlived a series that they were made from.

A source that is deleted, moved or split off was perhaps another patient's. What was made from it goes too, or is
flagged (`Output.WhenSourceGone`).

Orthanc tells of a deleted series once. A restart may lose that, so the sources of every result are looked for at start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import structlog

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError, LedgerError, Problem
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Code, JobRow, Source, State
from enhancement.service.follow_up import Results
from enhancement.service.health import Health, Light
from enhancement.settings import Settings

log = structlog.get_logger("enhancement.results")

BY = "enhancement"
PART = "sources"
PAGE = 1000


class Orphans:
    """Looks after the sources of one archive's results.

    Parameters
    ----------
    settle_s : float, seconds
        How long after a deletion the study is looked at. Orthanc overwrites a series by deleting it first, and a series
        that is sent again within this time is no loss.
    """

    def __init__(
        self,
        ledger: Ledger,
        archive: OrthancArchive,
        results: Results,
        settings: Settings,
        health: Health,
        *,
        settle_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._results = results
        self._settings = settings
        self._health = health
        self._settle_s = settle_s
        self._monotonic = monotonic
        self._due: dict[str, float] = {}
        self._written_down_to: int | None = 0

    def deleted(self, archive_id: str) -> None:
        """Orthanc deleted a series; if a result was made from it, its study is looked at soon."""
        for study_id in self._ledger.sources.studies_of([archive_id]):
            self._due[study_id] = self._monotonic() + self._settle_s

    def start(self) -> int:
        """Find the sources that went while nobody listened; how many studies are looked at for it."""
        lost = self._ledger.sources.all()
        for page in self._series():
            lost.difference_update(page)
            if not lost:
                return 0
        studies = {study for some in _chunks(sorted(lost)) for study in self._ledger.sources.studies_of(some)}
        self._due |= {study_id: self._monotonic() + self._settle_s for study_id in studies}
        if studies:
            log.warning("sources are missing", series=len(lost), studies=len(studies))
        return len(studies)

    def step(self) -> None:
        """Look at the studies that are due; called every few seconds."""
        self._write_down_older()
        for study_id in [study for study, due in self._due.items() if due <= self._monotonic()]:
            self.check(study_id)
            del self._due[study_id]
        flagged = self._ledger.sources.flagged()
        if flagged:
            reason = f"{flagged} stored results have outlived a series that they were made from"
            advice = "See the jobs with code SOURCE_GONE; withdraw their results, or send the series again."
            self._health.report(PART, Light.YELLOW, Problem(Code.SOURCE_GONE, reason, advice))
        else:
            self._health.clear(PART)

    def check(self, study_id: str) -> None:
        """Withdraw or flag each result of the study that misses a source."""
        wanted = self._ledger.sources.of_study(study_id)
        if not wanted:
            return
        try:
            present = {series["ID"]: len(series["Instances"]) for series in self._archive.series(study_id)}
        except ArchiveError as error:
            if error.status != 404:
                raise
            self._ledger.requests.study_deleted(study_id)
            return
        for job_id, sources in wanted.items():
            lost = [one for one in sources if present.get(one.archive_id, 0) < one.instances]
            self._judge(self._ledger.records.job(job_id), lost)

    def _judge(self, job: JobRow, lost: list[Source]) -> None:
        flagged = job.problem.code == Code.SOURCE_GONE
        if not lost:
            if flagged:
                self._ledger.sources.flag(job.id)
            return
        uids = ", ".join(sorted(one.series_instance_uid for one in lost))
        reason = f"the result was made from series {uids}, which the study no longer holds whole"
        if self._settings.output.when_source_gone == "withdraw":
            with suppress(LedgerError):  # it ended meanwhile
                self._results.withdraw(job, reason=reason, by=BY, code=Code.SOURCE_GONE)
            self._look_again(job)
        elif not flagged:
            advice = "Withdraw the result, or send the series again."
            self._ledger.sources.flag(job.id, Problem(Code.SOURCE_GONE, reason, advice))
            log.warning("source gone", job=job.id, study=job.study_id, series=uids)

    def _look_again(self, job: JobRow) -> None:
        """Without the series the study is incomplete, or has another result; no stable event says so."""
        if self._settings.enabled and self._settings.automatic and job.state is State.STORED:
            self._ledger.inbox.notice(job.study_id, origin="source-gone")

    def _write_down_older(self) -> None:
        """Results of former versions: their audit record names what they were made from. Once through is enough."""
        if self._written_down_to is None:
            return
        older = self._ledger.sources.unknown(after=self._written_down_to)
        if not older:
            self._written_down_to = None
        for job_id in older:
            self._written_down_to = job_id
            job = self._ledger.records.job(job_id)
            inputs = {uid for uids in job.audit.get("inputs", {}).values() for uid in uids}
            with suppress(ArchiveError):  # deleted meanwhile
                series = self._archive.series(job.study_id)
                known = {str(item["MainDicomTags"].get("SeriesInstanceUID")): item for item in series}
                found = {uid: known.get(uid, {}) for uid in inputs}
                sources = [
                    Source(item.get("ID", f"gone: {uid}"[:64]), uid, max(1, len(item.get("Instances", []))))
                    for uid, item in found.items()
                ]
                self._ledger.sources.note(job_id, sources)
                if not all(found.values()):
                    self._due[job.study_id] = self._monotonic() + self._settle_s

    def _series(self) -> Iterator[list[str]]:
        since = 0
        while page := json.loads(self._archive.transport.get(f"/series?since={since}&limit={PAGE}")):
            yield page
            since += len(page)


def _chunks(values: list[str]) -> Iterable[list[str]]:
    return (values[start : start + 500] for start in range(0, len(values), 500))
