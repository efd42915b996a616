"""Deliveries: which results are on their way to which other systems, and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, exc, func, insert, or_, select, update

from enhancement.ledger.scheduling import CLOCK_SLACK_S
from enhancement.ledger.schema import deliveries
from enhancement.ledger.scope import Scope


class Delivery(StrEnum):
    """Where a delivery stands."""

    WAITING = "WAITING"
    SENDING = "SENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class DeliveryRow:
    """One result on its way to one destination. `sending` names who sends it, and by which job of the archive."""

    id: int
    job_id: int
    destination: str
    series: tuple[str, ...]
    state: Delivery
    attempts: int
    sending: str
    reason: str
    updated_at: float


class Deliveries:
    """The deliveries of one archive."""

    def __init__(self, scope: Scope) -> None:
        self._database = scope.database
        self._archive = scope.archive
        self._clock = scope.clock

    def add(self, job_id: int, destination: str, series: Sequence[str]) -> None:
        """Have these series of a job sent to a destination; a second time changes nothing.

        Parameters
        ----------
        series : sequence of str
            The archive's identifiers of the series.
        """
        now = self._clock()
        values = {"archive": self._archive, "job_id": job_id, "destination": destination}
        values |= {"series": list(series), "state": Delivery.WAITING, "attempts": 0, "not_before": now}
        try:
            with self._database.write() as connection:
                connection.execute(insert(deliveries).values(**values, sending="", reason="", updated_at=now))
        except exc.IntegrityError:
            return  # it is under way, or has arrived

    def due(self, limit: int = 100) -> list[DeliveryRow]:
        """The deliveries that somebody should look after now."""
        now = self._clock()
        # A row that was written in the future: the clock was set back since, and nobody knows by how much.
        due = or_(deliveries.c.not_before <= now, deliveries.c.updated_at > now + CLOCK_SLACK_S)
        open_ones = deliveries.c.state.in_([Delivery.WAITING, Delivery.SENDING])
        query = select(deliveries).where(deliveries.c.archive == self._archive, open_ones, due)
        with self._database.read() as connection:
            return [_row(mapping) for mapping in connection.execute(query.limit(limit)).mappings()]

    def change(self, row: DeliveryRow, *, delay_s: float = 0.0, **values: Any) -> bool:
        """Write `values` into the row and let it rest for `delay_s`; False if another began to send it meanwhile."""
        now = self._clock()
        values |= {"updated_at": now, "not_before": now + delay_s}
        unchanged = [deliveries.c.id == row.id]
        if values.get("state") is Delivery.SENDING:
            unchanged += [deliveries.c.state == row.state, deliveries.c.attempts == row.attempts]
        with self._database.write() as connection:
            return connection.execute(update(deliveries).where(*unchanged).values(**values)).rowcount == 1

    def untouched_s(self, row: DeliveryRow) -> float:
        """Seconds since anybody wrote into the row; negative where the clock was set back."""
        return self._clock() - row.updated_at

    def of_job(self, job_id: int) -> list[DeliveryRow]:
        """The deliveries of one job."""
        query = select(deliveries).filter_by(archive=self._archive, job_id=job_id).order_by(deliveries.c.id)
        with self._database.read() as connection:
            return [_row(mapping) for mapping in connection.execute(query).mappings()]

    def counts(self) -> dict[str, int]:
        """How many are under way, and how many were given up."""
        query = select(deliveries.c.state, func.count()).where(deliveries.c.archive == self._archive)
        with self._database.read() as connection:
            found = {state: int(count) for state, count in connection.execute(query.group_by(deliveries.c.state))}
        pending = found.get(Delivery.WAITING, 0) + found.get(Delivery.SENDING, 0)
        return {"pending": pending, "failed": found.get(Delivery.FAILED, 0)}


def _row(mapping: RowMapping) -> DeliveryRow:
    return DeliveryRow(
        id=mapping["id"],
        job_id=mapping["job_id"],
        destination=mapping["destination"],
        series=tuple(mapping["series"]),
        state=Delivery(mapping["state"]),
        attempts=mapping["attempts"],
        sending=mapping["sending"],
        reason=mapping["reason"],
        updated_at=mapping["updated_at"],
    )
