"""What asking and claiming share: one database, one archive, one clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection

from enhancement.errors import LedgerError
from enhancement.ledger import rows
from enhancement.ledger.breaker import Breaker, history, judge
from enhancement.ledger.database import Database
from enhancement.ledger.followups import Followups
from enhancement.ledger.inbox import Inbox
from enhancement.ledger.leases import LeaseWatch
from enhancement.ledger.marks import Marks
from enhancement.ledger.records import Records
from enhancement.ledger.states import JobRow
from enhancement.settings import LedgerSettings, QueueSettings


class LedgerCore:
    """The parts of a `Ledger`, put together.

    Parameters
    ----------
    settings : LedgerSettings
        Its URL must be set by now.
    queue : QueueSettings
        Limits, leases and retries.
    instance : str
        A name of this Orthanc that survives its restart and that no other Orthanc on this ledger has.
    clock, monotonic : callable, seconds
        Time of day (for people, order and backoff) and the clock of the leases.

    Raises
    ------
    LedgerError
        If the ledger cannot be opened; see `Database`.
    """

    def __init__(
        self,
        settings: LedgerSettings,
        queue: QueueSettings,
        *,
        instance: str = "orthanc",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.url is None:
            raise LedgerError("Ledger.Url is not set", code="LEDGER_URL")
        self.archive = settings.archive_name
        self.instance = instance
        self._queue = queue
        self._clock = clock
        self._watch = LeaseWatch(monotonic)
        self._ageing_s = queue.ageing_minutes * 60.0
        self._database = Database(
            settings.url.get_secret_value(),
            busy_s=settings.busy_seconds,
            synchronous=settings.synchronous,
            rebuild=settings.rebuild_damaged,
        )
        self.marks = Marks(self._database, self.archive)
        self.inbox = Inbox(self._database, self.archive, self._ageing_s, clock)
        self.records = Records(self._database, self.archive)
        self.followups = Followups(self._database, self.archive, instance, clock)

    @property
    def database(self) -> Database:
        """For further tables that share the ledger's file and its fate."""
        return self._database

    @property
    def generation(self) -> int:
        """Grows whenever the ledger's file was replaced by another: the archive must then be reconciled anew."""
        return self._database.generation

    def close(self) -> None:
        """Give every connection back."""
        self._database.close()

    def get(self, job_id: int) -> JobRow:
        """One job, or a `LedgerError` NO_SUCH_JOB."""
        with self._database.read() as connection:
            return rows.fetch(connection, self.archive, job_id)

    def circuit(self) -> Breaker:
        """Whether this Orthanc's jobs are let through, and what they fail with if not."""
        with self._database.read() as connection:
            return self._judge(connection, self._clock())

    def _judge(self, connection: Connection, now: float) -> Breaker:
        limit = 4 * self._queue.breaker_failures
        return judge(history(connection, self.archive, self.instance, limit), self._queue, now)

    def _lock_job(self, connection: Connection, job_id: int) -> JobRow:
        job = rows.fetch(connection, self.archive, job_id)
        rows.lock_study(connection, self.archive, job.study_id, job.recipe)
        return rows.fetch(connection, self.archive, job_id)
