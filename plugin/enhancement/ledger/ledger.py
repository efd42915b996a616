"""The ledger: one durable row for each study, recipe and inputs, from the first look to the stored result.

It is safe from any thread and from several processes. It knows nothing of DICOM, of Orthanc or of the method.

Work that is done more than once leaves exactly one result, for three reasons. The key (archive, study, recipe,
fingerprint) is unique. The database allows one RUNNING and one STORED row for each study and recipe. Only the holder
of a claim can end it. Results have deterministic UIDs, so that what is stored twice is one series.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from enhancement.errors import LedgerError
from enhancement.ledger.claims import Claims
from enhancement.ledger.database import Database
from enhancement.ledger.deliveries import Deliveries
from enhancement.ledger.followups import Followups
from enhancement.ledger.inbox import Inbox
from enhancement.ledger.leases import LeaseWatch
from enhancement.ledger.marks import Marks
from enhancement.ledger.records import Records
from enhancement.ledger.requests import Requests
from enhancement.ledger.scope import Scope
from enhancement.ledger.sources import Sources
from enhancement.settings import LedgerSettings, QueueSettings


class Ledger:
    """All jobs of one archive, by what one does with them.

    ==============  ===============================================================
    ``inbox``       studies that have to be looked at, and those that lack a series
    ``requests``    ask for a result, refuse, cancel, retry; what was deleted
    ``claims``      take a job, keep it, end it; take back what a dead process held
    ``followups``   what is still to be done after a result was stored
    ``deliveries``  results on their way to other systems
    ``records``     read: jobs, attempts, counts, the circuit breaker
    ``marks``       facts about the whole archive: paused, the last change seen
    ==============  ===============================================================

    Parameters
    ----------
    settings : LedgerSettings
        Its URL must be set by now.
    queue : QueueSettings
        Limits, leases and retries.
    instance : str
        A name of this Orthanc that survives its restart and that no other Orthanc on this ledger has.
    clock, monotonic : callable, seconds
        Time of day (for people, order and pauses) and the clock of the leases.

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
        self.database = Database(
            settings.url.get_secret_value(),
            busy_s=settings.busy_seconds,
            synchronous=settings.synchronous,
            rebuild=settings.rebuild_damaged,
        )
        scope = Scope(self.database, self.archive, instance, queue, clock)
        self.marks = Marks(scope)
        self.inbox = Inbox(scope)
        self.records = Records(scope)
        self.followups = Followups(scope)
        self.deliveries = Deliveries(scope)
        self.sources = Sources(scope)
        self.requests = Requests(scope)
        self.claims = Claims(scope, LeaseWatch(monotonic))

    @property
    def generation(self) -> int:
        """Grows whenever the ledger's file was replaced by another: the archive must then be reconciled anew."""
        return self.database.generation

    def close(self) -> None:
        """Give every connection back."""
        self.database.close()
