"""Orthanc as the archive, through its REST API.

`OrthancArchive` says what is asked of Orthanc. A `Transport` says how a request gets there: by HTTP, from anywhere and
without the GIL (`HttpTransport`), or through the plugin SDK (`host.orthanc.SdkTransport`).
"""

from __future__ import annotations

import io
import json
import logging
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Protocol

import httpx
from pydicom.dataset import Dataset

from enhancement.archive.base import PublishedSeries
from enhancement.dicom.reading import files
from enhancement.errors import ArchiveError, InputError
from enhancement.host.generations import has_labels

_log = logging.getLogger(__name__)


class Transport(Protocol):
    """One request to Orthanc's REST API; every fault is an `ArchiveError` with the HTTP status."""

    def get(self, uri: str) -> bytes: ...

    def post(self, uri: str, body: bytes) -> bytes: ...

    def put(self, uri: str, body: bytes) -> bytes: ...

    def delete(self, uri: str) -> None: ...

    @property
    def takes_archives(self) -> bool:
        """Whether one large ZIP may be posted (through the SDK it would hold the GIL for all of it)."""
        ...


class HttpTransport:
    """Orthanc over HTTP.

    Parameters
    ----------
    base_url : str
        Such as ``http://127.0.0.1:8042``.
    authorization : callable, optional
        The value of the Authorization header, asked for at every request.
    auth : (user, password), optional
        HTTP basic authentication instead.
    """

    takes_archives = True

    def __init__(
        self,
        base_url: str,
        *,
        authorization: Callable[[], str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        self._authorization = authorization
        # trust_env=False: a site's proxy must never see, or break, the plugin's talk with its own Orthanc.
        # identity: Orthanc would compress pixels for a loopback connection, at the cost of both sides.
        self._client = httpx.Client(
            base_url=base_url,
            auth=auth,
            timeout=timeout_s,
            trust_env=False,
            headers={"Accept-Encoding": "identity"},
        )

    def get(self, uri: str) -> bytes:
        return self._request("GET", uri)

    def post(self, uri: str, body: bytes) -> bytes:
        return self._request("POST", uri, body)

    def put(self, uri: str, body: bytes) -> bytes:
        return self._request("PUT", uri, body)

    def delete(self, uri: str) -> None:
        self._request("DELETE", uri)

    def close(self) -> None:
        self._client.close()

    def _request(self, method: str, uri: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": self._authorization()} if self._authorization else {}
        try:
            try:
                response = self._client.request(method, uri, content=body, headers=headers)
            except httpx.RemoteProtocolError:
                # Orthanc closes an idle connection after a second, at times just when it is used again.
                # Every request of ours may be repeated: what was stored is answered as AlreadyStored.
                response = self._client.request(method, uri, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise ArchiveError(
                f"Orthanc did not answer {method} {uri}: {type(error).__name__}", code="ARCHIVE_UNREACHABLE", uri=uri
            ) from error
        if response.status_code >= 400:
            raise ArchiveError(
                f"Orthanc answered {response.status_code} to {method} {uri}", status=response.status_code, uri=uri
            )
        return response.content


class OrthancArchive:
    """`Archive` on an Orthanc server, and what the service needs besides.

    Parameters
    ----------
    audit_numbers : sequence of int
        Content types that the audit record's attachment may have here, the preferred one first.
    """

    def __init__(self, transport: Transport, audit_numbers: Sequence[int] = (4711,)) -> None:
        self.transport = transport
        self.audit_numbers = audit_numbers
        self._publishing = threading.Lock()
        self._labels: bool | None = None

    def json(self, uri: str) -> Any:
        """GET a JSON answer."""
        return json.loads(self.transport.get(uri))

    def exists(self, uri: str) -> bool:
        """Whether a resource is there."""
        try:
            self.transport.get(uri)
        except ArchiveError as error:
            if error.status == 404:
                return False
            raise
        return True

    def headers(self, study_id: str) -> list[Dataset]:
        """Every instance of the study, without pixel data."""
        return [
            _parse(self.transport.get(f"/instances/{instance_id}/file"), instance_id, pixels=False)
            for series in self.series(study_id)
            for instance_id in series["Instances"]
        ]

    def instances(self, study_id: str, series_instance_uid: str) -> list[Dataset]:
        """The instances of one series, whole."""
        for series in self.series(study_id):
            if series["MainDicomTags"].get("SeriesInstanceUID") == series_instance_uid:
                return [
                    _parse(self.transport.get(f"/instances/{instance_id}/file"), instance_id, pixels=True)
                    for instance_id in series["Instances"]
                ]
        raise ArchiveError(
            f"study {study_id} holds no series {series_instance_uid}", code="SERIES_GONE", status=404, uri=study_id
        )

    def series(self, study_id: str) -> list[dict[str, Any]]:
        """Orthanc's own record of each series of the study."""
        found: list[dict[str, Any]] = self.json(f"/studies/{study_id}/series")
        return found

    def series_header(self, series: dict[str, Any]) -> Dataset:
        """The header of one instance of a series."""
        instance_id = series["Instances"][0]
        return _parse(self.transport.get(f"/instances/{instance_id}/file"), instance_id, pixels=False)

    def publish(self, study_id: str, series: Sequence[Dataset]) -> PublishedSeries:
        """Store one series whole or not at all.

        The instances go in as one ZIP and are counted back. Deterministic UIDs make a repetition harmless:
        Orthanc answers ``AlreadyStored`` and keeps what it has.

        Raises
        ------
        ArchiveError
            ``PUBLISH_FAILED`` when the archive did not take every instance. What this call added is gone then.
        """
        if not series:
            raise ArchiveError("an empty series cannot be published", code="PUBLISH_FAILED")
        uid = str(series[0].SeriesInstanceUID)
        expected = {str(ds.SOPInstanceUID) for ds in series}
        sources = {str(item.SeriesInstanceUID) for item in series[0].get("ReferencedSeriesSequence", [])}
        self._check_sources(study_id, sources)
        added: list[str] = []
        try:
            added += [answer["ID"] for answer in self._store(series) if answer.get("Status") == "Success"]
            self._check_sources(study_id, sources)
            return self._count_back(study_id, uid, expected)
        except ArchiveError as error:
            self._roll_back(study_id, uid, expected, added, keep_whole=error.status != 404)
            if error.status == 404:
                raise
            raise ArchiveError(
                f"the archive did not take all {len(series)} instances of the result ({error.reason}); "
                "what it had taken was removed again",
                code="PUBLISH_FAILED",
                status=error.status,
                uri=error.uri,
                advice="Look at Orthanc's log for a full disk or a refused store; the job is tried again.",
            ) from error

    def withdraw(self, study_id: str, series_instance_uid: str) -> int:
        """Delete a series; the number of instances that went."""
        for series in self.series(study_id):
            if series["MainDicomTags"].get("SeriesInstanceUID") == series_instance_uid:
                self.transport.delete(f"/series/{series['ID']}")
                return len(series["Instances"])
        return 0

    def label(self, study_id: str, label: str) -> bool:
        """Put a label on the study; False where this Orthanc knows no labels."""
        if self._labels is None:
            self._labels = has_labels(self.json("/system"))
        if self._labels:
            self.transport.put(f"/studies/{study_id}/labels/{label}", b"")
        return self._labels

    def _store(self, series: Sequence[Dataset]) -> Iterator[dict[str, Any]]:
        if not self.transport.takes_archives:
            for ds in series:
                yield json.loads(self.transport.post("/instances", encode(ds)))
            return
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for index, ds in enumerate(series):
                archive.writestr(f"{index:05d}.dcm", encode(ds))
        with self._publishing:
            answers = json.loads(self.transport.post("/instances", buffer.getvalue()))
        yield from answers if isinstance(answers, list) else [answers]

    def _check_sources(self, study_id: str, sources: set[str]) -> None:
        """A result must not outlive, or bring back, what it was made from."""
        try:
            there = {series["MainDicomTags"].get("SeriesInstanceUID") for series in self.series(study_id)}
        except ArchiveError as error:
            if error.status == 404:
                raise ArchiveError(f"study {study_id} was deleted meanwhile", code="STUDY_GONE", status=404) from error
            raise
        if gone := sorted(sources - there):
            raise ArchiveError(f"source series {gone[0]} was deleted meanwhile", code="SOURCE_GONE", status=404)

    def _stored(self, study_id: str, uid: str) -> tuple[str, set[str]]:
        for series in self.series(study_id):
            if series["MainDicomTags"].get("SeriesInstanceUID") == uid:
                instances = self.json(f"/series/{series['ID']}/instances")
                return series["ID"], {instance["MainDicomTags"]["SOPInstanceUID"] for instance in instances}
        return "", set()

    def _count_back(self, study_id: str, uid: str, expected: set[str]) -> PublishedSeries:
        archive_id, stored = self._stored(study_id, uid)
        if stored != expected:
            raise ArchiveError(f"{len(stored & expected)} of {len(expected)} were found back")
        return PublishedSeries(series_instance_uid=uid, archive_id=archive_id, instances=len(stored))

    def _roll_back(
        self, study_id: str, uid: str, expected: set[str], added: Sequence[str], *, keep_whole: bool
    ) -> None:
        """Remove what is there of the series; of a study that vanished meanwhile, what we just brought back."""
        with suppress(ArchiveError):
            if keep_whole and self._stored(study_id, uid)[1] == expected:
                return
            self.withdraw(study_id, uid)
        for instance_id in added:
            with suppress(ArchiveError):
                self.transport.delete(f"/instances/{instance_id}")


def encode(ds: Dataset) -> bytes:
    """A data set as a DICOM file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _parse(data: bytes, instance_id: str, *, pixels: bool) -> Dataset:
    ds = files.parse(data, pixels=pixels)
    if ds is None:
        # An InputError: the same bytes will be no more readable at the next try.
        raise InputError(
            f"Instance {instance_id} is damaged, or unfolds to more than is read.",
            code="UNREADABLE_INSTANCE",
            advice="Delete that instance, or send its series again.",
        )
    return ds
