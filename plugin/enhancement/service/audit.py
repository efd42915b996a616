"""The audit record of a job, kept in the ledger and attached to the study in Orthanc.

It holds UIDs, digests, settings, decisions and times. It holds nothing that names the patient.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError

# Free of the numbers that other plugins use; orthanc.json names it "enhancement-audit".
ATTACHMENT = 4711
MAX_RECORDS = 50


def attach(archive: OrthancArchive, study_id: str, record: dict[str, Any]) -> None:
    """Append the record to the study's attachment.

    Raises
    ------
    ArchiveError
        If Orthanc does not take it; the ledger has it all the same.
    """
    uri = f"/studies/{study_id}/attachments/{ATTACHMENT}"
    records: list[dict[str, Any]] = []
    with suppress(ArchiveError, ValueError):
        records = list(json.loads(archive.transport.get(f"{uri}/data"))["records"])
    records = [old for old in records if old.get("job") != record.get("job")][-(MAX_RECORDS - 1) :]
    content = {"format": 1, "records": [*records, record]}
    archive.transport.put(uri, json.dumps(content, indent=1, default=str).encode("ascii"))
