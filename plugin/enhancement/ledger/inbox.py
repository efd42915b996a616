"""The inbox: studies that somebody has to look at, and studies that lack a series.

A look reads all headers of a study, which takes longer than a callback of Orthanc may. The callback therefore only
writes the study down here, and the look comes later. What is written down survives a crash between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, or_, select, update

from enhancement.ledger.rows import lock_study
from enhancement.ledger.scheduling import CLOCK_SLACK_S, order_at
from enhancement.ledger.schema import arrivals, incomplete
from enhancement.ledger.scope import Scope
from enhancement.ledger.states import Arrival, IncompleteStudy, Priority


class Inbox:
    """The arrivals and the incomplete studies of one archive."""

    def __init__(self, scope: Scope) -> None:
        self._database = scope.database
        self._archive = scope.archive
        self._ageing_s = scope.ageing_s
        self._clock = scope.clock

    def notice(
        self,
        study_id: str,
        *,
        recipe: str = "",
        priority: Priority = Priority.ROUTINE,
        origin: str = "stable",
        requested_by: str = "",
        force: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        """Write down that this study has to be looked at; once is enough, the most urgent reason wins.

        Parameters
        ----------
        recipe : str
            For which; "" for those that are made of every study.
        """
        now = self._clock()
        with self._database.write() as connection:
            lock_study(connection, self._archive, study_id, "")
            old = self._find(connection, study_id, recipe)
            best = Priority(min(priority, old.priority)) if old else priority
            urgent = old is None or priority <= old.priority
            values: dict[str, Any] = {
                "priority": best,
                "force": force or bool(old and old.force),
                "order_at": order_at(old.noticed_at if old else now, best, self._ageing_s),
                "not_before": now + delay_s,
                "set_at": now,
                "looks": 0,
            }
            if urgent:
                values |= {"origin": origin[:32], "requested_by": requested_by[:128]}
            if old:
                values |= {"revision": old.revision + 1}
                connection.execute(update(arrivals).where(*self._key(study_id, recipe)).values(**values))
            else:
                values |= {"archive": self._archive, "study_id": study_id, "recipe": recipe}
                values |= {"noticed_at": now, "revision": 1}
                connection.execute(insert(arrivals).values(**values))

    def waiting(self, limit: int = 20) -> list[Arrival]:
        """The next studies to look at, the most urgent first. They stay until `done`, `postpone` or `enqueue`."""
        now = self._clock()
        due = or_(arrivals.c.not_before <= now, arrivals.c.set_at > now + CLOCK_SLACK_S)
        query = (
            select(arrivals).where(arrivals.c.archive == self._archive, due).order_by(arrivals.c.order_at).limit(limit)
        )
        with self._database.read() as connection:
            return [_arrival(row) for row in connection.execute(query).mappings()]

    def done(self, arrival: Arrival) -> None:
        """The study has been looked at, unless there is a new reason since."""
        with self._database.write() as connection:
            remove_arrival(connection, self._archive, arrival)

    def postpone(self, arrival: Arrival, delay_s: float) -> None:
        """The look failed or the queue is full: look again later, unless there is a new reason since."""
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(
                update(arrivals)
                .where(*self._key(arrival.study_id, arrival.recipe), arrivals.c.revision == arrival.revision)
                .values(not_before=now + delay_s, set_at=now, looks=arrivals.c.looks + 1)
            )

    def incomplete(self, study_id: str | None = None, limit: int = 1000) -> list[IncompleteStudy]:
        """The studies that lack series, the longest waiting first."""
        query = select(incomplete).filter_by(archive=self._archive).order_by(incomplete.c.since).limit(limit)
        if study_id is not None:
            query = query.filter_by(study_id=study_id)
        with self._database.read() as connection:
            return [_incomplete(row) for row in connection.execute(query).mappings()]

    def counts(self) -> tuple[int, int]:
        """How many arrivals and how many incomplete studies there are."""
        with self._database.read() as connection:
            return (
                connection.execute(
                    select(func.count()).select_from(arrivals).filter_by(archive=self._archive)
                ).scalar_one(),
                connection.execute(
                    select(func.count()).select_from(incomplete).filter_by(archive=self._archive)
                ).scalar_one(),
            )

    def _key(self, study_id: str, recipe: str) -> tuple[ColumnElement[bool], ...]:
        return arrivals.c.archive == self._archive, arrivals.c.study_id == study_id, arrivals.c.recipe == recipe

    def _find(self, connection: Connection, study_id: str, recipe: str) -> Arrival | None:
        row = connection.execute(select(arrivals).where(*self._key(study_id, recipe))).mappings().first()
        return _arrival(row) if row else None


def remove_arrival(connection: Connection, archive: str, arrival: Arrival) -> None:
    """Forget the arrival, unless a newer reason came in after it was read."""
    connection.execute(
        delete(arrivals).where(
            arrivals.c.archive == archive,
            arrivals.c.study_id == arrival.study_id,
            arrivals.c.recipe == arrival.recipe,
            arrivals.c.revision == arrival.revision,
        )
    )


def put_incomplete(
    connection: Connection, key: tuple[str, str, str], missing: Iterable[str], reason: str, now: float
) -> None:
    """Note what a study (archive, study, recipe) lacks. Since when it does is kept."""
    names = dict(zip(("archive", "study_id", "recipe"), key, strict=True))
    since = connection.execute(select(incomplete.c.since).filter_by(**names)).scalar()
    connection.execute(delete(incomplete).filter_by(**names))
    values = {"missing": list(missing), "reason": reason, "since": since or now, "checked_at": now}
    connection.execute(insert(incomplete).values(**names, **values))


def remove_incomplete(connection: Connection, archive: str, study_id: str, recipe: str) -> None:
    """Forget that the study was incomplete for this recipe."""
    connection.execute(delete(incomplete).filter_by(archive=archive, study_id=study_id, recipe=recipe))


def remove_study(connection: Connection, archive: str, study_id: str) -> None:
    """Forget everything here about a study that the archive has deleted."""
    connection.execute(delete(arrivals).filter_by(archive=archive, study_id=study_id))
    connection.execute(delete(incomplete).filter_by(archive=archive, study_id=study_id))


def _arrival(row: RowMapping) -> Arrival:
    return Arrival(
        study_id=row["study_id"],
        recipe=row["recipe"],
        priority=Priority(row["priority"]),
        origin=row["origin"],
        requested_by=row["requested_by"],
        force=bool(row["force"]),
        noticed_at=row["noticed_at"],
        looks=row["looks"],
        revision=row["revision"],
    )


def _incomplete(row: RowMapping) -> IncompleteStudy:
    return IncompleteStudy(
        study_id=row["study_id"],
        recipe=row["recipe"],
        missing=tuple(row["missing"]),
        reason=row["reason"],
        since=row["since"],
        checked_at=row["checked_at"],
    )
