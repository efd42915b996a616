"""Sources: the series of the archive that each job reads, so that its result does not outlive them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, select, update

from enhancement.errors import NO_PROBLEM, Problem
from enhancement.ledger import rows
from enhancement.ledger.schema import jobs, sources
from enhancement.ledger.scope import Scope
from enhancement.ledger.states import Code, Source


def write_down(connection: Connection, archive: str, job_id: int, found: Iterable[Source]) -> None:
    """Note what a job reads, in place of what was noted before."""
    connection.execute(delete(sources).filter_by(job_id=job_id))
    values = [{"archive": archive, "job_id": job_id, **vars(source)} for source in found]
    if values:
        connection.execute(insert(sources), values)


class Sources:
    """The sources of one archive's jobs."""

    def __init__(self, scope: Scope) -> None:
        self._database = scope.database
        self._archive = scope.archive

    def note(self, job_id: int, found: Iterable[Source]) -> None:
        """Write down what a job reads."""
        with self._database.write() as connection:
            write_down(connection, self._archive, job_id, found)

    def studies_of(self, archive_ids: Sequence[str]) -> set[str]:
        """The studies with a result that was made from one of these series."""
        query = self._joined(select(jobs.c.study_id).distinct()).where(sources.c.archive_id.in_(archive_ids))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def of_study(self, study_id: str) -> dict[int, list[Source]]:
        """What each job that has a result in this study was made from, by the job's number."""
        query = self._joined(select(sources)).where(jobs.c.study_id == study_id)
        found: defaultdict[int, list[Source]] = defaultdict(list)
        with self._database.read() as connection:
            for row in connection.execute(query).mappings():
                source = Source(row["archive_id"], row["series_instance_uid"], row["instances"])
                found[row["job_id"]].append(source)
        return dict(found)

    def all(self) -> set[str]:
        """The archive's identifier of every series that a result was made from."""
        with self._database.read() as connection:
            return set(connection.execute(self._joined(select(sources.c.archive_id).distinct())).scalars())

    def unknown(self, after: int, limit: int = 50) -> list[int]:
        """The next jobs, by number, that have a result and of which nobody wrote down what they read."""
        known = select(sources.c.job_id).where(sources.c.job_id == jobs.c.id)
        query = select(jobs.c.id).where(self._have_results(), jobs.c.id > after, ~known.exists())
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(jobs.c.id).limit(limit)).scalars())

    def flag(self, job_id: int, problem: Problem = NO_PROBLEM) -> None:
        """Say beside a stored result that a source of it is gone; without a problem, that all are there again."""
        with self._database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(**rows.columns(problem)))

    def flagged(self) -> int:
        """How many results are in the archive of which a source is gone."""
        query = select(func.count()).select_from(jobs).where(self._have_results(), jobs.c.code == Code.SOURCE_GONE)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _have_results(self) -> ColumnElement[bool]:
        return and_(jobs.c.archive == self._archive, jobs.c.state.in_(rows.HAVE_RESULTS))

    def _joined(self, query: Select[Any]) -> Select[Any]:
        joined = query.select_from(sources.join(jobs, jobs.c.id == sources.c.job_id))
        return joined.where(sources.c.archive == self._archive, jobs.c.state.in_(rows.HAVE_RESULTS))
