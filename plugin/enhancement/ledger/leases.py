"""Leases: how others learn that nobody works on a job any more.

Whoever holds a job raises a counter in its row. Everybody else watches the counter by a monotonic clock of his own. The
lease has ended when the counter stood still for the lease's length. The time of day plays no part: a clock that is set
forward ends no living lease, and one that is set back keeps no dead one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from enhancement.ledger.states import JobRow


class LeaseWatch:
    """Remembers when each running job's counter was last seen to move."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[str | None, int, float]] = {}
        self._lock = threading.Lock()

    def expired(self, running: Iterable[JobRow]) -> list[JobRow]:
        """The jobs among all running ones whose holder has been silent for the length of its lease."""
        now = self._clock()
        silent = []
        seen = {}
        with self._lock:
            for job in running:
                claim_id, beat, since = self._seen.get(job.id, (None, -1, now))
                if (claim_id, beat) != (job.claim_id, job.beat):
                    since = now
                seen[job.id] = (job.claim_id, job.beat, since)
                if now - since >= job.lease_s:
                    silent.append(job)
            self._seen = seen
        return silent
