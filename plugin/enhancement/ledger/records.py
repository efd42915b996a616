"""Records: what people, pages and monitors read from the ledger. Nothing here changes it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select

from enhancement.ledger import rows
from enhancement.ledger.breaker import Breaker, read_breaker
from enhancement.ledger.schema import attempts, jobs, results
from enhancement.ledger.scope import Scope
from enhancement.ledger.states import AttemptRow, JobRow, State


@dataclass(frozen=True)
class Counts:
    """Numbers for the metrics; ages and durations are in seconds."""

    by_state: dict[State, int]
    oldest_queued_s: float
    oldest_open_s: float
    mean_attempt_s: float


@dataclass(frozen=True)
class Made:
    """One job's results, in few words: an archive may hold many thousands."""

    id: int
    study_id: str
    recipe: str
    model_digest: str
    state: str
    code: str
    finished_at: float | None
    result_uids: tuple[str, ...]


class Records:
    """The jobs of one archive, to be read."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._database = scope.database
        self._archive = scope.archive

    def job(self, job_id: int) -> JobRow:
        """One job, or a `LedgerError` NO_SUCH_JOB."""
        with self._database.read() as connection:
            return rows.fetch(connection, self._archive, job_id)

    def circuit(self) -> Breaker:
        """Whether this Orthanc's jobs are let through, and what they fail with if not."""
        with self._database.read() as connection:
            return read_breaker(connection, self._scope, self._scope.clock())

    def jobs(
        self,
        *,
        states: Iterable[State] | None = None,
        study_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[JobRow]:
        """Jobs, the last changed first; those in every state without `states`, of every study without `study_id`."""
        query = select(jobs).filter_by(archive=self._archive)
        if states is not None:
            query = query.where(jobs.c.state.in_(list(states)))
        if study_id is not None:
            query = query.filter_by(study_id=study_id)
        query = query.order_by(jobs.c.updated_at.desc(), jobs.c.id.desc()).limit(limit).offset(offset)
        return self._jobs(query)

    def attempts(self, job_id: int) -> list[AttemptRow]:
        """Every try at one job, in order."""
        query = (
            select(attempts)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(jobs.c.archive == self._archive, attempts.c.job_id == job_id)
            .order_by(attempts.c.id)
        )
        with self._database.read() as connection:
            return [AttemptRow.of(row) for row in connection.execute(query).mappings()]

    def made(self, model_digest: str | None = None) -> list[Made]:
        """What models made, still in the archive as far as the ledger knows; without the jobs' audit records."""
        columns = [jobs.c[name] for name in ("id", "study_id", "recipe", "model_digest", "state", "code")]
        query = select(*columns, jobs.c.finished_at, jobs.c.result_uids).filter_by(archive=self._archive)
        if model_digest is not None:
            query = query.filter_by(model_digest=model_digest)
        with self._database.read() as connection:
            found = connection.execute(query.where(jobs.c.state.in_(rows.HAVE_RESULTS)).order_by(jobs.c.id))
            return [Made(**dict(row) | {"result_uids": tuple(row["result_uids"] or ())}) for row in found.mappings()]

    def made_series(self) -> set[tuple[str, str]]:
        """The study and the SeriesInstanceUID of every result of a known model."""
        query = select(jobs.c.study_id, jobs.c.result_uids).where(
            jobs.c.archive == self._archive, jobs.c.model_digest != "", jobs.c.state.in_(rows.HAVE_RESULTS)
        )
        with self._database.read() as connection:
            return {(study_id, uid) for study_id, uids in connection.execute(query) for uid in uids or ()}

    def makers(self, pixels: str) -> set[str]:
        """The digests of the models that made results of these very pixels."""
        query = select(jobs.c.model_digest).distinct().join(results, results.c.job_id == jobs.c.id)
        with self._database.read() as connection:
            return set(connection.execute(query.where(results.c.pixels == pixels)).scalars())

    def maker(self, archive_id: str) -> str:
        """The digest of the model that made this series of the archive; "" if it was no result."""
        query = select(jobs.c.model_digest).join(results, results.c.job_id == jobs.c.id)
        with self._database.read() as connection:
            found = connection.execute(query.where(results.c.archive_id == archive_id).limit(1)).scalar()
        return str(found or "")

    def result_series(self) -> set[str]:
        """The archive's identifier of every series that is, or was, a result."""
        with self._database.read() as connection:
            query = select(results.c.archive_id).filter_by(archive=self._archive)
            return set(connection.execute(query).scalars())

    def models(self) -> list[str]:
        """The digest of every model that a job asked for."""
        query = select(jobs.c.model_digest).distinct().where(jobs.c.model_digest != "")
        with self._database.read() as connection:
            return sorted(connection.execute(query).scalars())

    def studies(self, states: Iterable[State]) -> set[str]:
        """Every study that has a job in one of these states."""
        query = (
            select(jobs.c.study_id).distinct().where(jobs.c.archive == self._archive, jobs.c.state.in_(list(states)))
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def counts(self, now: float | None = None) -> Counts:
        """How many jobs stand where, how old the oldest is, and how long a stored one took on average."""
        with self._database.read() as connection:
            grouped = connection.execute(
                select(jobs.c.state, func.count()).where(jobs.c.archive == self._archive).group_by(jobs.c.state)
            ).all()
            since = (
                select(jobs.c.state, func.min(jobs.c.queued_at))
                .where(jobs.c.archive == self._archive, jobs.c.state.in_([State.QUEUED, State.RUNNING]))
                .group_by(jobs.c.state)
            )
            oldest = {State(state): float(queued_at) for state, queued_at in connection.execute(since)}
            last = (
                select((attempts.c.ended_at - attempts.c.started_at).label("seconds"))
                .where(attempts.c.outcome == State.STORED)
                .order_by(attempts.c.id.desc())
                .limit(20)
                .subquery()
            )
            mean = connection.execute(select(func.avg(last.c.seconds))).scalar()
        by_state = dict.fromkeys(State, 0) | {State(state): count for state, count in grouped}
        now = time.time() if now is None else now
        waited = max(0.0, now - oldest.get(State.QUEUED, now))
        open_s = max(0.0, now - min(oldest.values(), default=now))
        return Counts(by_state, waited, open_s, max(0.0, float(mean or 0.0)))

    def _jobs(self, query: object) -> list[JobRow]:
        with self._database.read() as connection:
            return [JobRow.of(row) for row in connection.execute(query).mappings()]  # type: ignore[call-overload]
