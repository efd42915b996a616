"""Follow-ups: what is still to be done after a result was stored, such as its delivery and its audit record.

They are written down in the transaction that stores the result, so no kill loses them. Doing one twice does no harm
(`service.follow_up`).
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from enhancement.ledger.scheduling import CLOCK_SLACK_S
from enhancement.ledger.schema import followups, jobs, results
from enhancement.ledger.scope import Scope
from enhancement.ledger.states import JobRow

# The Orthanc that stored the result goes first; after this its partners on the same ledger take over.
ORPHANED_S = 60.0


def write_down(connection: Connection, job: JobRow, archive_ids: Mapping[str, str], now: float) -> None:
    """Note the stored job's follow-up and its series; called inside the transaction that ends the job.

    Parameters
    ----------
    archive_ids : mapping
        The archive's identifier of each stored series -> SeriesInstanceUID.
    """
    connection.execute(delete(followups).filter_by(job_id=job.id))
    values = {"job_id": job.id, "archive": job.archive, "instance": job.instance or "", "since": now}
    connection.execute(insert(followups).values(**values))
    note_results(connection, job, archive_ids)


def note_results(connection: Connection, job: JobRow, archive_ids: Mapping[str, str]) -> None:
    """Note which series of the archive a job's results are."""
    for archive_id, uid in archive_ids.items():
        connection.execute(delete(results).filter_by(archive=job.archive, archive_id=archive_id))
        values = {"archive": job.archive, "archive_id": archive_id, "job_id": job.id, "series_instance_uid": uid}
        connection.execute(insert(results).values(**values))


class Followups:
    """The follow-ups of one archive, as one Orthanc sees them."""

    def __init__(self, scope: Scope) -> None:
        self._database = scope.database
        self._archive = scope.archive
        self._instance = scope.instance
        self._clock = scope.clock

    def due(self, limit: int = 20) -> list[int]:
        """The jobs whose follow-up this Orthanc should do now, the oldest first."""
        now = self._clock()
        left_behind = or_(followups.c.since < now - ORPHANED_S, followups.c.since > now + CLOCK_SLACK_S)
        mine = or_(followups.c.instance == self._instance, left_behind)
        query = select(followups.c.job_id).where(and_(followups.c.archive == self._archive, mine))
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(followups.c.since).limit(limit)).scalars())

    def done(self, job_id: int) -> None:
        """Everything after this job is done."""
        with self._database.write() as connection:
            connection.execute(delete(followups).filter_by(job_id=job_id))

    def series(self, job_id: int) -> list[str]:
        """The archive's identifiers of the series that a job stored."""
        with self._database.read() as connection:
            query = select(results.c.archive_id).filter_by(archive=self._archive, job_id=job_id)
            return sorted(connection.execute(query).scalars())

    def without_pixels(self, job_id: int) -> list[tuple[str, str]]:
        """The series of a job (the archive's identifier, SeriesInstanceUID) without a digest of their pixels."""
        query = select(results.c.archive_id, results.c.series_instance_uid).filter_by(job_id=job_id, pixels="")
        with self._database.read() as connection:
            return [(str(archive_id), str(uid)) for archive_id, uid in connection.execute(query)]

    def note_pixels(self, archive_id: str, digest: str) -> None:
        """Write down the digest of a result's pixels."""
        with self._database.write() as connection:
            key = {"archive": self._archive, "archive_id": archive_id}
            connection.execute(update(results).filter_by(**key).values(pixels=digest))

    def result(self, archive_id: str) -> tuple[str, str] | None:
        """The study and the SeriesInstanceUID of a series of the archive if it is, or was, a result."""
        query = select(jobs.c.study_id, results.c.series_instance_uid)
        query = query.select_from(results.join(jobs, jobs.c.id == results.c.job_id))
        with self._database.read() as connection:
            found = connection.execute(
                query.where(results.c.archive == self._archive, results.c.archive_id == archive_id)
            ).first()
        return None if found is None else (str(found[0]), str(found[1]))
