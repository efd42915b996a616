"""Recall of what the ledger does not know: results of a lost ledger, or of a copied archive.

The header of every series of ours names the model that made it (ContributingEquipmentSequence, Device UID).
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog
from pydicom.dataset import Dataset

from enhancement.archive.orthanc import OrthancArchive
from enhancement.dicom.own_series import SOFTWARE, is_of_model
from enhancement.errors import ArchiveError, InputError
from enhancement.service import audit

log = structlog.get_logger("enhancement.results")


@dataclass(frozen=True)
class Unlisted:
    """A series that a model made and that no job of the ledger lists."""

    study_id: str
    series_id: str
    series_instance_uid: str


def unlisted(archive: OrthancArchive, model_digest: str, known: Collection[str]) -> list[Unlisted]:
    """The model's series in the archive besides those with a known SeriesInstanceUID."""
    query = {"Level": "Series", "Expand": True, "Query": {"Manufacturer": SOFTWARE}}
    answer: list[dict[str, Any]] = json.loads(archive.transport.post("/tools/find", json.dumps(query).encode("ascii")))
    found = []
    for series in answer:
        uid = series["MainDicomTags"].get("SeriesInstanceUID", "")
        if uid not in known and series["Instances"] and is_of_model(_header(archive, series), model_digest):
            found.append(Unlisted(series["ParentStudy"], series["ID"], uid))
    return found


def withdraw_unlisted(
    archive: OrthancArchive, series_id: str, model_digest: str, *, reason: str, by: str
) -> dict[str, Any]:
    """Delete one such series, with a record of who and why on its study.

    Raises
    ------
    InputError
        NOT_OF_THIS_MODEL if the series is none that the model made.
    """
    series = archive.json(f"/series/{series_id}")
    if not is_of_model(_header(archive, series), model_digest):
        raise InputError(f"series {series_id} was not made by this model", code="NOT_OF_THIS_MODEL")
    uid, study_id = series["MainDicomTags"]["SeriesInstanceUID"], series["ParentStudy"]
    archive.transport.delete(f"/series/{series_id}")
    record = {"job": f"withdrawal of {uid}", "withdrawn_at": time.time(), "by": by, "reason": reason}
    try:
        audit.attach(archive, study_id, record | {"model_digest": model_digest, "series": [uid]})
    except ArchiveError as error:
        log.warning("audit record not attached", study=study_id, reason=error.reason)
    log.warning("withdrawn", study=study_id, by=by, series=[uid])
    return {"study_id": study_id, "withdrawn": [uid]}


def _header(archive: OrthancArchive, series: dict[str, Any]) -> Dataset:
    try:
        return archive.series_header(series)
    except InputError:
        return Dataset()  # unreadable, so nobody can say who made it
