"""The scope of a ledger: one archive's rows, as one Orthanc sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from enhancement.ledger.database import Database
from enhancement.settings import QueueSettings


@dataclass(frozen=True)
class Scope:
    """What every part of a `Ledger` is given.

    Parameters
    ----------
    database : Database
        Where the rows are; several archives and several Orthancs may share it.
    archive : str
        Only rows of this archive are seen.
    instance : str
        A name of this Orthanc that survives its restart and that no other Orthanc on this ledger has.
    queue : QueueSettings
        Limits, leases and retries.
    clock : callable, seconds since 1970
        Time of day, for people, for the order of jobs and for pauses. Leases have a clock of their own (`leases`).
    """

    database: Database
    archive: str
    instance: str
    queue: QueueSettings
    clock: Callable[[], float] = time.time

    @property
    def ageing_s(self) -> float:
        """Seconds of waiting that lift a job by one class of priority."""
        return self.queue.ageing_minutes * 60.0
