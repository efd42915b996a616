"""Finished series on their way to other systems: asynchronous C-STORE jobs of Orthanc, tried until they succeed.

A destination that is down delays nothing but its own delivery. What is under way is in the ledger's database, so
a restart goes on with it. Of several Orthancs on one ledger, the one that began a delivery follows it; the others take
it over when it has fallen silent.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import exc, insert, or_, select, update
from tenacity import RetryCallState, Retrying, wait_exponential_jitter

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError
from enhancement.ledger.database import Database
from enhancement.ledger.scheduling import CLOCK_SLACK_S
from enhancement.ledger.schema import deliveries
from enhancement.settings import DeliverySettings

log = structlog.get_logger("enhancement.deliveries")

POLL_S = 2.0
FAULT_S = 30.0
# An Orthanc that follows a delivery touches its row every few seconds.
ORPHANED_S = 300.0


class Delivery(StrEnum):
    """Where a delivery stands."""

    WAITING = "WAITING"
    SENDING = "SENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class DeliveryRow:
    """One result on its way to one destination."""

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
    """Writes down, sends, follows and repeats."""

    def __init__(
        self,
        database: Database,
        archive_name: str,
        archive: OrthancArchive,
        settings: DeliverySettings,
        *,
        instance: str = "orthanc",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._archive_name = archive_name
        self._archive = archive
        self._settings = settings
        self._clock = clock
        # The column is narrow, an instance's name may be long.
        self._me = hashlib.sha256(instance.encode()).hexdigest()[:16]

    def add(self, job_id: int, series: Sequence[str]) -> None:
        """Send these series of a job to every destination; a second time changes nothing."""
        for destination in self._settings.destinations:
            try:
                self._insert(job_id, destination, series)
            except exc.IntegrityError:
                continue  # it is under way, or has arrived

    def _insert(self, job_id: int, destination: str, series: Sequence[str]) -> None:
        now = self._clock()
        values = {"archive": self._archive_name, "job_id": job_id, "destination": destination}
        values |= {"series": list(series), "state": Delivery.WAITING, "attempts": 0, "not_before": now}
        with self._database.write() as connection:
            connection.execute(insert(deliveries).values(**values, sending="", reason="", updated_at=now))

    def of_job(self, job_id: int) -> list[dict[str, Any]]:
        """How the job's deliveries stand, for people."""
        query = select(deliveries).filter_by(archive=self._archive_name, job_id=job_id).order_by(deliveries.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [{name: row[name] for name in ("destination", "state", "attempts", "reason")} for row in rows]

    def counts(self) -> dict[str, int]:
        """How many are under way, and how many were given up."""
        with self._database.read() as connection:
            states = list(
                connection.execute(
                    select(deliveries.c.state).where(
                        deliveries.c.archive == self._archive_name, deliveries.c.state != Delivery.DELIVERED
                    )
                ).scalars()
            )
        failed = sum(state == Delivery.FAILED for state in states)
        return {"pending": len(states) - failed, "failed": failed}

    def step(self) -> None:
        """Look after every delivery that is due; called every few seconds."""
        now = self._clock()
        # A row that was written in the future: the clock was set back since, and nobody knows by how much.
        due = or_(deliveries.c.not_before <= now, deliveries.c.updated_at > now + CLOCK_SLACK_S)
        query = select(deliveries).where(
            deliveries.c.archive == self._archive_name,
            deliveries.c.state.in_([Delivery.WAITING, Delivery.SENDING]),
            due,
        )
        with self._database.read() as connection:
            found = [_row(mapping) for mapping in connection.execute(query.limit(100)).mappings()]
        for row in found:
            if row.state is Delivery.WAITING:
                self._send(row)
            else:
                self._follow(row)

    def _send(self, row: DeliveryRow) -> None:
        body = {
            "Resources": list(row.series),
            "Asynchronous": True,
            "StorageCommitment": self._settings.storage_commitment,
        }
        if not self._write(row, state=Delivery.SENDING, sending=f"{self._me}:", delay_s=POLL_S):
            return  # another Orthanc was faster
        try:
            answer = self._archive.transport.post(f"/modalities/{row.destination}/store", json.dumps(body).encode())
            self._write(row, sending=f"{self._me}:{json.loads(answer)['ID']}", delay_s=POLL_S)
        except ArchiveError as error:
            unknown = error.status == 404
            reason = "this Orthanc knows no such modality, or the series is gone" if unknown else error.reason
            self._try_again(row, reason)

    def _follow(self, row: DeliveryRow) -> None:
        sender, _, sending = row.sending.partition(":")
        if sender != self._me:
            if not 0.0 <= self._clock() - row.updated_at < ORPHANED_S:
                self._try_again(row, "the Orthanc that was to send it has fallen silent")
            return
        try:
            job = self._archive.json(f"/jobs/{sending or 'unknown'}")
        except ArchiveError as error:
            if error.status != 404:
                log.warning("delivery not followed", job=row.job_id, destination=row.destination, reason=error.reason)
                self._write(row, delay_s=FAULT_S)
                return
            # Orthanc forgot it (JobsHistorySize, or a crash): sending what is there already does no harm.
            self._try_again(row, "Orthanc no longer knows the job that was to send it")
            return
        if job["State"] == "Success":
            self._write(row, state=Delivery.DELIVERED, reason="")
            log.info("delivered", job=row.job_id, destination=row.destination)
        elif job["State"] == "Failure":
            self._try_again(row, str(job.get("ErrorDescription", "the C-STORE failed")))
        else:
            self._write(row, delay_s=POLL_S)

    def _try_again(self, row: DeliveryRow, reason: str) -> None:
        attempts = row.attempts + 1
        if attempts >= self._settings.max_attempts:
            self._write(row, state=Delivery.FAILED, attempts=attempts, sending="", reason=reason)
            log.error("delivery given up", job=row.job_id, destination=row.destination, reason=reason)
            return
        delay_s = self._backoff_s(attempts)
        self._write(row, state=Delivery.WAITING, attempts=attempts, sending="", reason=reason, delay_s=delay_s)
        log.warning("not delivered", job=row.job_id, destination=row.destination, reason=reason, retry_s=round(delay_s))

    def _backoff_s(self, attempts: int) -> float:
        initial, longest = self._settings.retry_initial_seconds, self._settings.retry_max_seconds
        state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
        state.attempt_number = attempts
        return float(wait_exponential_jitter(multiplier=initial, max=longest, jitter=initial / 2)(state))

    def _write(self, row: DeliveryRow, *, delay_s: float = 0.0, **values: Any) -> bool:
        """Change the row; False if another Orthanc changed its state since it was read."""
        now = self._clock()
        values |= {"updated_at": now, "not_before": now + delay_s}
        unchanged = [deliveries.c.id == row.id]
        if values.get("state") is Delivery.SENDING:
            unchanged += [deliveries.c.state == row.state, deliveries.c.attempts == row.attempts]
        with self._database.write() as connection:
            return connection.execute(update(deliveries).where(*unchanged).values(**values)).rowcount == 1


def _row(mapping: Any) -> DeliveryRow:
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
