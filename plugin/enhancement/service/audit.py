"""The audit record of a job, kept in the ledger and attached to the study in Orthanc.

It holds UIDs, digests, settings, decisions and times. It holds nothing that names the patient.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError

NAME = "enhancement-audit"
# Free of the numbers that other plugins use.
ATTACHMENTS = range(4711, 4731)
MAX_RECORDS = 50


class Reader(Protocol):
    """Reads a resource of Orthanc's; a missing one is an `ArchiveError` with status 404."""

    def get(self, uri: str) -> bytes: ...


def numbers(configuration: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers that our attachment may have here: what the site calls so, and what it calls nothing else."""
    named = configuration.get("UserContentType")
    site = {str(name): _number(value) for name, value in named.items()} if isinstance(named, Mapping) else {}
    own = site.pop(NAME, None)
    free = [number for number in ATTACHMENTS if number not in site.values() and number != own]
    return (own, *free) if own is not None and own not in site.values() else tuple(free)


def _number(value: object) -> int | None:
    """In its long form a content type is an array of its number and its media type."""
    first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else value
    return first if isinstance(first, int) else None


def read(archive: Reader, study_id: str, allowed: Sequence[int]) -> tuple[int, dict[str, Any]]:
    """Our attachment of a study and its number; where there is none yet, the first number that nobody uses.

    Raises
    ------
    ArchiveError
        If Orthanc does not answer; NO_ATTACHMENT, if somebody else uses all numbers.
    """
    for number in allowed:
        try:
            content = archive.get(f"/studies/{study_id}/attachments/{number}/data")
        except ArchiveError as error:
            if error.status != 404:
                raise
            return number, {"format": 1, "records": []}
        found = _ours(content)
        if found is not None:
            return number, found
    raise ArchiveError("every number for the audit record's attachment is in use", code="NO_ATTACHMENT")


def _ours(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("format") == 1 and "records" in found else None


def attach(archive: OrthancArchive, study_id: str, record: dict[str, Any]) -> None:
    """Append the record to the study's attachment. What a site attached itself is left alone.

    Raises
    ------
    ArchiveError
        If Orthanc does not take it; the ledger has it all the same.
    """
    number, found = read(archive.transport, study_id, archive.audit_numbers)
    records = [old for old in found["records"] if old.get("job") != record.get("job")][-(MAX_RECORDS - 1) :]
    content = {"format": 1, "records": [*records, record]}
    body = json.dumps(content, indent=1, default=str).encode("ascii")
    archive.transport.put(f"/studies/{study_id}/attachments/{number}", body)
