"""The courier: sends results to other systems by C-STORE jobs of Orthanc, and repeats what failed.

A destination that is down delays only its own deliveries. They are rows of the ledger, so a restart goes on with them.
Where several Orthancs share a ledger, the one that began a delivery follows it. The others take it over when that one
falls silent.
"""

from __future__ import annotations

import hashlib
import json

import structlog
from tenacity import RetryCallState, Retrying, wait_exponential_jitter

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError
from enhancement.ledger.deliveries import Deliveries, Delivery, DeliveryRow
from enhancement.settings import DeliverySettings

log = structlog.get_logger("enhancement.deliveries")

POLL_S = 2.0
FAULT_S = 30.0
# An Orthanc that follows a delivery touches its row every few seconds.
ORPHANED_S = 300.0


class Courier:
    """Looks after the ledger's deliveries.

    Parameters
    ----------
    instance : str
        The name of this Orthanc, as in `Scope`.
    """

    def __init__(
        self, deliveries: Deliveries, archive: OrthancArchive, settings: DeliverySettings, *, instance: str
    ) -> None:
        self._deliveries = deliveries
        self._archive = archive
        self._settings = settings
        # The column is narrow, an instance's name may be long.
        self._me = hashlib.sha256(instance.encode()).hexdigest()[:16]

    def step(self) -> None:
        """Look after every delivery that is due; called every few seconds."""
        for row in self._deliveries.due():
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
        if not self._deliveries.change(row, state=Delivery.SENDING, sending=f"{self._me}:", delay_s=POLL_S):
            return  # another Orthanc was faster
        try:
            answer = self._archive.transport.post(f"/modalities/{row.destination}/store", json.dumps(body).encode())
            self._deliveries.change(row, sending=f"{self._me}:{json.loads(answer)['ID']}", delay_s=POLL_S)
        except ArchiveError as error:
            unknown = error.status == 404
            reason = "this Orthanc knows no such modality, or the series is gone" if unknown else error.reason
            self._try_again(row, reason)

    def _follow(self, row: DeliveryRow) -> None:
        sender, _, sending = row.sending.partition(":")
        if sender != self._me:
            if not 0.0 <= self._deliveries.untouched_s(row) < ORPHANED_S:
                self._try_again(row, "the Orthanc that was to send it has fallen silent")
            return
        try:
            job = self._archive.json(f"/jobs/{sending or 'unknown'}")
        except ArchiveError as error:
            if error.status != 404:
                log.warning("delivery not followed", job=row.job_id, destination=row.destination, reason=error.reason)
                self._deliveries.change(row, delay_s=FAULT_S)
                return
            # Orthanc forgot it (JobsHistorySize, or a crash): sending what is there already does no harm.
            self._try_again(row, "Orthanc no longer knows the job that was to send it")
            return
        if job["State"] == "Success":
            self._deliveries.change(row, state=Delivery.DELIVERED, reason="")
            log.info("delivered", job=row.job_id, destination=row.destination)
        elif job["State"] == "Failure":
            self._try_again(row, str(job.get("ErrorDescription", "the C-STORE failed")))
        else:
            self._deliveries.change(row, delay_s=POLL_S)

    def _try_again(self, row: DeliveryRow, reason: str) -> None:
        attempts = row.attempts + 1
        if attempts >= self._settings.max_attempts:
            self._deliveries.change(row, state=Delivery.FAILED, attempts=attempts, sending="", reason=reason)
            log.error("delivery given up", job=row.job_id, destination=row.destination, reason=reason)
            return
        delay_s = self._backoff_s(attempts)
        again = {"state": Delivery.WAITING, "attempts": attempts, "sending": "", "reason": reason}
        self._deliveries.change(row, delay_s=delay_s, **again)
        log.warning("not delivered", job=row.job_id, destination=row.destination, reason=reason, retry_s=round(delay_s))

    def _backoff_s(self, attempts: int) -> float:
        initial, longest = self._settings.retry_initial_seconds, self._settings.retry_max_seconds
        state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
        state.attempt_number = attempts
        return float(wait_exponential_jitter(multiplier=initial, max=longest, jitter=initial / 2)(state))
