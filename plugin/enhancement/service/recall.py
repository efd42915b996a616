"""Recall: every series of a model in the archive, also those that the ledger does not list.

Such are results of a lost ledger, and copies: modified, anonymised, merged, sent here by others. Headers of ours name
the model (Contributing Equipment, Device UID). An anonymiser may take that out; then the pixels tell, of which the
ledger keeps a digest.

The archive is gone through page by page, because its searches may be cut short (LimitFindResults). Orthanc's own record
of a series says whether its header has to be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydicom.dataset import Dataset

from enhancement.archive.orthanc import OrthancArchive
from enhancement.dicom.own_series import is_of_model, is_own
from enhancement.dicom.reading.pixel_digest import pixel_digest
from enhancement.errors import ArchiveError, InputError
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.records import Made
from enhancement.ledger.states import Code
from enhancement.service import audit

log = structlog.get_logger("enhancement.results")

PAGE = 500
_TAGS = ("Manufacturer", "SeriesDescription", "SeriesInstanceUID")
_COPY_OF = ("ModifiedFrom", "AnonymizedFrom")


@dataclass(frozen=True)
class Unlisted:
    """A series of ours that no job of the model lists. `known_by`: header, pixels, origin, or "" for nothing."""

    study_id: str
    series_id: str
    series_instance_uid: str
    known_by: str


@dataclass
class Found:
    """What was found in a part of the archive.

    Attributes
    ----------
    unlisted : list of Unlisted
        The model's own.
    unattributed : list of Unlisted
        Ours, of an unknown model: perhaps of this one.
    unreadable : list of str
        Series that may be ours and whose header or pixels cannot be read.
    series, headers : int
        How many series were gone through, and of how many the header was read.
    next : int or None
        Where to go on; None at the end.
    """

    unlisted: list[Unlisted] = field(default_factory=list)
    unattributed: list[Unlisted] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    series: int = 0
    headers: int = 0
    next: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The lists, and the numbers beside them."""
        lists = {name: [vars(one) for one in getattr(self, name)] for name in ("unlisted", "unattributed")}
        counts = {name: len(getattr(self, name)) for name in ("unlisted", "unattributed", "unreadable")}
        counts |= {"series": self.series, "headers": self.headers}
        return {**lists, "unreadable": self.unreadable, "counts": counts, "next": self.next}


class Recall:
    """Finds and withdraws what one model made."""

    def __init__(self, ledger: Ledger, archive: OrthancArchive) -> None:
        self._ledger = ledger
        self._archive = archive

    def listed(self, model_digest: str) -> list[Made]:
        """The ledger's results of the model."""
        return self._ledger.records.made(model_digest)

    def search(self, model_digest: str, *, since: int = 0, limit: int | None = None) -> Found:
        """Go through the archive's series from the one at `since` on, through at most `limit`."""
        known = self._ledger.records.made_series()
        results = self._ledger.records.result_series()
        copies: set[str] = set()
        found = Found()
        for page in self._pages(since, limit, found):
            for series in page:
                uid = str(series["MainDicomTags"].get("SeriesInstanceUID", ""))
                is_copy = any(series.get(name) in results | copies for name in _COPY_OF)
                if is_copy:
                    copies.add(series["ID"])
                if (series["ParentStudy"], uid) not in known and (is_copy or _may_be_ours(series)):
                    self._judge(series, uid, model_digest, found)
        return found

    def withdraw(self, series_id: str, model_digest: str, *, reason: str, by: str) -> dict[str, Any]:
        """Delete one such series, with a record of who and why on its study.

        Raises
        ------
        InputError
            NOT_OF_THIS_MODEL if the series is none that the model made.
        """
        series = self._archive.json(f"/series/{series_id}")
        if not self._made_by(series, model_digest)[0]:
            raise InputError(f"series {series_id} was not made by this model", code="NOT_OF_THIS_MODEL")
        uid, study_id = str(series["MainDicomTags"]["SeriesInstanceUID"]), str(series["ParentStudy"])
        self._ledger.requests.result_deleted(
            study_id, uid, code=Code.WITHDRAWN, reason=f"the result was removed by {by}"
        )
        self._archive.transport.delete(f"/series/{series_id}")
        record = {"job": f"withdrawal of {uid}", "withdrawn_at": time.time(), "by": by, "reason": reason}
        try:
            audit.attach(self._archive, study_id, record | {"model_digest": model_digest, "series": [uid]})
        except ArchiveError as error:
            log.warning("audit record not attached", study=study_id, reason=error.reason)
        log.warning("withdrawn", study=study_id, by=by, series=[uid])
        return {"study_id": study_id, "withdrawn": [uid]}

    def _pages(self, since: int, limit: int | None, found: Found) -> Iterator[list[dict[str, Any]]]:
        while limit is None or found.series < limit:
            size = PAGE if limit is None else min(PAGE, limit - found.series)
            page = self._archive.json(f"/series?expand&since={since + found.series}&limit={size}")
            if not page:
                return
            found.series += len(page)
            yield page
        found.next = since + found.series

    def _judge(self, series: dict[str, Any], uid: str, model_digest: str, found: Found) -> None:
        try:
            found.headers += 1
            of_model, known_by = self._made_by(series, model_digest)
        except InputError:
            found.unreadable.append(series["ID"])
            return
        except ArchiveError as error:
            if error.status != 404:  # else it was deleted meanwhile
                raise
            return
        if of_model is not False:
            one = Unlisted(series["ParentStudy"], series["ID"], uid, known_by)
            (found.unlisted if of_model else found.unattributed).append(one)

    def _made_by(self, series: dict[str, Any], model_digest: str) -> tuple[bool | None, str]:
        """Whether the model made the series, and what says so; None where it is ours and nothing names a model."""
        header = self._archive.series_header(series) if series["Instances"] else Dataset()
        if is_of_model(header, model_digest):
            return True, "header"
        if any(is_of_model(header, other) for other in self._ledger.records.models()):
            return False, "header"
        makers = self._ledger.records.makers(self._pixels(series))
        if makers:
            return model_digest in makers, "pixels"
        maker = self._ledger.records.maker(self._original(series))
        if maker:
            return maker == model_digest, "origin"
        return (None, "") if is_own(header) else (False, "")

    def _original(self, series: dict[str, Any]) -> str:
        """The archive's identifier of the series that Orthanc made this one from, through any number of copies."""
        seen: set[str] = set()
        while (origin := next((series[name] for name in _COPY_OF if series.get(name)), "")) and origin not in seen:
            seen.add(origin)
            if self._ledger.records.maker(origin) or not self._archive.exists(f"/series/{origin}"):
                return str(origin)
            series = self._archive.json(f"/series/{origin}")
        return ""

    def _pixels(self, series: dict[str, Any]) -> str:
        uid = str(series["MainDicomTags"].get("SeriesInstanceUID", ""))
        return pixel_digest(self._archive.instances(series["ParentStudy"], uid))


def _may_be_ours(series: dict[str, Any]) -> bool:
    """By what Orthanc's own record of a series holds; one that lost both maker and name may be anybody's."""
    tags = series["MainDicomTags"]
    if tags.get("Modality", "MR") not in ("MR", "OT", ""):
        return False
    partial = Dataset()
    for name in _TAGS:
        if tags.get(name):
            setattr(partial, name, str(tags[name]))
    return is_own(partial) or not (tags.get("Manufacturer") or tags.get("SeriesDescription"))
