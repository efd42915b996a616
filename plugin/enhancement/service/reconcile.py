"""The reconciler: it finds the studies whose stable event never came.

Orthanc keeps stable events in memory. If it stops within StableAge, the event never comes, not even after a restart. An
event may also be lost between Orthanc and the ledger. Orthanc's log of changes, however, is durable.

A mark follows that log at a distance, so far behind that every change before it has had its stable event. When the mark
passes a change, and nobody has looked at its study since, the study goes into the inbox.

Each Orthanc has a mark of its own. Two of them on one storage look at some studies twice, which changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Priority, State

log = structlog.get_logger("enhancement.ledger")

# Of a study that no stable event brought up.
ORIGIN = "reconcile"

_PAGE = 1000
_SAMPLES = 2048


@dataclass(frozen=True)
class Change:
    """One entry of the archive's log. `level` is Study, Series, Instance or Patient."""

    sequence: int
    kind: str
    level: str
    resource_id: str


@dataclass(frozen=True)
class StudyStamp:
    """A study, and when it last changed (seconds since 1970), where the archive knows."""

    study_id: str
    updated_at: float | None


class Store(Protocol):
    """What reconciling needs of an archive. Any call may raise `ArchiveError`; it is then tried again later."""

    def last_change(self) -> int:
        """The sequence number of the newest change; 0 if there was none."""
        ...

    def changes(self, since: int, limit: int) -> list[Change]:
        """At most `limit` changes after `since`, in order; an empty list at the end."""
        ...

    def study_of(self, change: Change) -> str | None:
        """The study that a change touched; None if it is gone, or if the change was made by our own result."""
        ...

    def studies(self) -> Iterable[StudyStamp]:
        """Every study."""
        ...

    def has_study(self, study_id: str) -> bool:
        """Whether the study is still there."""
        ...

    def updated_at(self, study_id: str) -> float | None:
        """When this study last changed (seconds since 1970), where the archive knows."""
        ...


@dataclass(frozen=True)
class Reconciliation:
    """What was found. `listed`: the mark was of no use, so all studies were listed instead."""

    noticed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    listed: bool = False


class Reconciler:
    """Follows one archive's changes for one Orthanc.

    Parameters
    ----------
    settle_s : float, seconds
        How long after its last change a study has had its stable event: StableAge and a margin.
    recent_s : float, seconds
        With a new or a lost ledger all studies are listed, and those that changed within this time are looked at.
        Installing the plugin must not set out to enhance ten years of an archive. Infinity for all.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        *,
        settle_s: float,
        recent_s: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._settle_s = settle_s
        self._recent_s = recent_s
        self._clock = clock
        self._monotonic = monotonic
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._looked: dict[str, int] = {}
        self._lock = threading.Lock()

    def start(self) -> Reconciliation:
        """Take up what this Orthanc left when it went down; call it once it serves, then `sweep` as ever.

        What arrived meanwhile is left to `sweep`: a study may have been cut off in the middle of its arrival, and its
        sender may come back.
        """
        self._ledger.claims.recover(mine=True)
        deleted = self._forget_deleted()
        mark, newest = self._ledger.marks.last_change(self._ledger.instance), self._store.last_change()
        with self._lock:
            self._samples.clear()
            self._samples.append((self._monotonic(), newest))
        if mark is not None and mark <= newest:
            return Reconciliation((), tuple(deleted))
        noticed = self._list()
        self._ledger.marks.set_last_change(self._ledger.instance, newest)
        log.info("studies listed", noticed=len(noticed), deleted=len(deleted), mark=mark, newest=newest)
        return Reconciliation(tuple(noticed), tuple(deleted), listed=True)

    def sweep(self) -> Reconciliation:
        """Move the mark up to the changes that have settled; call it every few seconds.

        The caller makes sure that every stable event it has received so far is in the inbox.
        """
        newest = self._store.last_change()
        mark = self._ledger.marks.last_change(self._ledger.instance)
        if mark is None or mark > newest:
            return self.start()
        horizon = self._settled(mark, newest)
        if horizon <= mark:
            return Reconciliation()
        touched = self._touched(mark, newest)
        # A study that changed after the horizon may still be arriving; those later changes will bring it up again.
        quiet = [study_id for study_id, last in touched.items() if last <= horizon and not self._seen(study_id, last)]
        for study_id in quiet:
            self._ledger.inbox.notice(study_id, origin=ORIGIN)
        self._ledger.marks.set_last_change(self._ledger.instance, horizon)
        self._forget_looks(horizon)
        return Reconciliation(tuple(quiet))

    def look_begins(self, study_id: str) -> None:
        """Somebody is about to read this study: its changes up to now need no further look."""
        sequence = self._store.last_change()
        with self._lock:
            self._looked[study_id] = sequence

    def settles_in(self, study_id: str) -> float:
        """Seconds until this study has had its stable event; 0 if it had, or if nobody can tell.

        The list of studies does not say which of them are still arriving; of one that is, a look would only find
        that something is missing.
        """
        updated_at = self._store.updated_at(study_id)
        if updated_at is None:
            return 0.0
        left = updated_at + self._settle_s - self._clock()
        # A change far in the future is a clock that was set back, and says nothing.
        return min(left, self._settle_s) if 0.0 < left < 2.0 * self._settle_s else 0.0

    def _settled(self, mark: int, newest: int) -> int:
        """The newest change that is older than `settle_s`."""
        now = self._monotonic()
        with self._lock:
            if not self._samples or self._samples[-1][1] != newest:
                self._samples.append((now, newest))
            while self._samples and now - self._samples[0][0] >= self._settle_s:
                mark = max(mark, self._samples.popleft()[1])
        return mark

    def _touched(self, since: int, until: int) -> dict[str, int]:
        """The last change of every study that the changes in (since, until] touched."""
        touched: dict[str, int] = {}
        # Entries of deleted resources vanish: a page may be empty before the end is reached.
        while since < until and (page := self._store.changes(since, _PAGE)):
            for change in page:
                study_id = None if change.kind in _IGNORED else self._store.study_of(change)
                if study_id is not None and change.sequence <= until:
                    touched[study_id] = change.sequence
            since = page[-1].sequence
        return touched

    def _list(self) -> list[str]:
        oldest = self._clock() - self._recent_s
        noticed = []
        for stamp in self._store.studies():
            if stamp.updated_at is None or stamp.updated_at >= oldest:
                self._ledger.inbox.notice(
                    stamp.study_id, priority=Priority.BACKFILL, origin=ORIGIN, delay_s=self._settle_s
                )
                noticed.append(stamp.study_id)
        return noticed

    def _forget_deleted(self) -> list[str]:
        waiting = self._ledger.records.studies((State.QUEUED, State.RUNNING)) | {
            study.study_id for study in self._ledger.inbox.incomplete()
        }
        gone = [study_id for study_id in sorted(waiting) if not self._store.has_study(study_id)]
        for study_id in gone:
            self._ledger.requests.study_deleted(study_id)
        return gone

    def _seen(self, study_id: str, sequence: int) -> bool:
        with self._lock:
            return self._looked.get(study_id, -1) >= sequence

    def _forget_looks(self, horizon: int) -> None:
        with self._lock:
            self._looked = {study: sequence for study, sequence in self._looked.items() if sequence > horizon}


_IGNORED = frozenset({"UpdatedMetadata", "UpdatedAttachment", "StablePatient", "NewPatient", "Deleted"})
