"""Orthanc's log of changes and its list of studies, read for the reconciler."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError
from enhancement.service.reconcile import Change, StudyStamp

_PAGE = 1000
_REMEMBERED = 50_000


class OrthancStore:
    """The `Store` of an Orthanc.

    An instance's study is found through its parents. The parents of a whole page of changes are asked for in one
    request: one request for each instance would double the work of a C-STORE.
    """

    def __init__(self, archive: OrthancArchive) -> None:
        self._archive = archive
        self._series_of_instance: dict[str, str | None] = {}
        self._study_of_series: dict[str, str | None] = {}

    def last_change(self) -> int:
        return int(self._archive.json("/changes?last")["Last"])

    def changes(self, since: int, limit: int) -> list[Change]:
        page = self._archive.json(f"/changes?since={since}&limit={limit}")["Changes"]
        return [Change(int(item["Seq"]), item["ChangeType"], item["ResourceType"], str(item["ID"])) for item in page]

    def study_of(self, change: Change) -> str | None:
        if change.level == "Study":
            return change.resource_id
        if change.level == "Series":
            return self._parent_of_series(change.resource_id)
        if change.level == "Instance":
            series = self._parent_of_instance(change)
            return None if series is None else self._parent_of_series(series)
        return None

    def studies(self) -> Iterator[StudyStamp]:
        offset = 0
        while page := self._archive.json(f"/studies?expand&since={offset}&limit={_PAGE}"):
            for study in page:
                yield StudyStamp(str(study["ID"]), _seconds(study.get("LastUpdate")))
            offset += len(page)

    def has_study(self, study_id: str) -> bool:
        return self._archive.exists(f"/studies/{study_id}")

    def updated_at(self, study_id: str) -> float | None:
        return _seconds(self._archive.json(f"/studies/{study_id}").get("LastUpdate"))

    def _parent_of_instance(self, change: Change) -> str | None:
        if change.resource_id not in self._series_of_instance:
            self._fetch_page(change.sequence - 1)
        return self._series_of_instance.get(change.resource_id)

    def _fetch_page(self, since: int) -> None:
        if len(self._series_of_instance) > _REMEMBERED:
            self._series_of_instance.clear()
        wanted = [change.resource_id for change in self.changes(since, _PAGE) if change.level == "Instance"]
        wanted = [resource for resource in dict.fromkeys(wanted) if resource not in self._series_of_instance]
        query = json.dumps({"Resources": wanted, "Metadata": False}).encode("ascii")
        found = json.loads(self._archive.transport.post("/tools/bulk-content", query))
        self._series_of_instance.update(dict.fromkeys(wanted))  # those not found were deleted since
        self._series_of_instance.update({item["ID"]: item["ParentSeries"] for item in found})

    def _parent_of_series(self, series_id: str) -> str | None:
        if series_id not in self._study_of_series:
            if len(self._study_of_series) > _REMEMBERED:
                self._study_of_series.clear()
            self._study_of_series[series_id] = self._ask_parent(series_id)
        return self._study_of_series[series_id]

    def _ask_parent(self, series_id: str) -> str | None:
        try:
            series: dict[str, Any] = self._archive.json(f"/series/{series_id}")
        except ArchiveError as error:
            if error.status == 404:
                return None
            raise
        return str(series["ParentStudy"])


def _seconds(stamp: str | None) -> float | None:
    try:
        return datetime.strptime(stamp or "", "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
