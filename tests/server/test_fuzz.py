"""2,000 requests and 500 files that nobody should send: no fault of ours, no traceback, Orthanc still up."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from server.server import PASSWORD, USER, Orthanc
from server.test_doors import ROUTES, looks_like_a_fault
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

log = logging.getLogger(__name__)

MakeStudy = Callable[..., PhantomStudy]


class TestFuzz:
    def test_requests_that_nobody_should_send(self, orthanc: Orthanc) -> None:
        """ENHANCEMENT_FUZZ requests (300 by default, 2,000 for the record): no 500, no traceback, Orthanc still up."""
        generator = np.random.default_rng(20)
        count = int(os.environ.get("ENHANCEMENT_FUZZ", "300"))
        statuses: Counter[int] = Counter()
        reached = 0
        for _ in range(count):
            request = _random_request(generator)
            answer = _send_raw(orthanc.http_port, request)
            if not answer:
                continue
            status = int(answer.split(b" ", 2)[1])
            statuses[status] += 1
            # The one header that no other part of Orthanc sends.
            reached += b"frame-ancestors 'self'" in answer
            if status == 500:
                # Plugin 4.0 itself refuses text that is not UTF-8, before it calls us.
                assert b"Internal error" in answer, answer[:500]
                assert not _is_utf8(request), request
            assert not looks_like_a_fault(answer.decode("latin-1")), answer[:500]
        orthanc.post("/enhancement/resume").raise_for_status()  # a drawn request may have been a good one to pause
        log.info("%d requests: %s; answered by our routes: %d", count, dict(sorted(statuses.items())), reached)
        assert reached > count / 2
        assert statuses.total() > 0.8 * count
        assert orthanc.get("/enhancement/status")["light"] == "green"

    def test_headers_that_make_no_sense(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """ENHANCEMENT_FUZZ_FILES (40 by default, 500 for the record) stored, looked at and explained.

        Elements are deleted, emptied or filled with noise, and the files stay well-formed: a stock Orthanc 1.10.1
        dies of files whose structure is damaged (4 of 200 ended it with signal 11), with or without us.
        """
        generator = np.random.default_rng(21)
        originals = make_study().paths
        count = int(os.environ.get("ENHANCEMENT_FUZZ_FILES", "40"))
        stored = 0
        for _ in range(count):
            ds = dcmread(originals[int(generator.integers(len(originals)))])
            _spoil(ds, generator)
            buffer = io.BytesIO()
            ds.save_as(buffer)
            answer = orthanc.http.post("/instances", content=buffer.getvalue())
            stored += answer.status_code == 200
        log.info("%d files: Orthanc stored %d", count, stored)
        assert stored > count / 4
        orthanc.wait(lambda: orthanc.get("/enhancement/status")["arrivals"] == 0, 300, "every look")
        for study_id in orthanc.studies():
            explained = orthanc.http.get(f"/enhancement/studies/{study_id}/explain")
            assert explained.status_code in (200, 400, 503), explained.text
            assert not looks_like_a_fault(explained.text)
        assert "unexpected" not in json.dumps(orthanc.jobs())
        assert orthanc.http.get("/enhancement/status").status_code == 200


def _spoil(ds: Dataset, generator: np.random.Generator) -> None:
    """Delete, empty or fill with noise one to ten elements of a header; the study's identity stays."""
    kept = {"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"}
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.SeriesInstanceUID = f"{ds.SeriesInstanceUID[:50]}.{int(generator.integers(8))}"
    elements = [element for element in ds if element.VR != "SQ" and element.keyword not in kept]
    for index in generator.choice(len(elements), int(generator.integers(1, 11)), replace=False):
        element = elements[index]
        kind = int(generator.integers(4))
        if kind == 0:
            del ds[element.tag]
            continue
        noise = bytes(generator.integers(32, 127, int(generator.integers(1, 9)) * 2, dtype=np.uint8))
        value = [b"", noise, [b"NaN ", b"-1", b"1e99", b"0\\0\\0\\0 ", b"99999999"][int(generator.integers(5))]][
            kind - 1
        ]
        value += b" " * (len(value) % 2)
        ds[element.tag] = RawDataElement(element.tag, element.VR, len(value), value, 0, False, True)


# Values that a JSON body of ours may hold, and ones that it may not.
_VALUES = ["manual", "now", "", 0, -1, 1e308, True, False, None, [], {}, [[[]]], {"a": {"b": 1}}, "\u0000", "é" * 300]


def _random_request(generator: np.random.Generator) -> bytes:
    """A request to one of our routes with something wrong, in three of four cases one that Orthanc's parser takes."""

    def pick(values: list[Any]) -> Any:
        return values[int(generator.integers(len(values)))]

    noise = bytes(generator.integers(0, 256, int(generator.integers(0, 60)), dtype=np.uint8))
    raw = generator.random() < 0.25
    text = noise.replace(b"\r", b"").replace(b"\n", b"").replace(b" ", b"%20") if raw else _word(noise)
    path = pick([path.encode() for _, path in ROUTES])
    mutated = pick(
        [path, path, path + b"/" + text, path[: int(generator.integers(1, len(path)))] + text, b"/enhancement/" + text]
    )
    query = pick([b"", b"?" + text, b"?limit=" + text, b"?study=" + text + b"&state=" + text, b"?model=" + text])
    keys = ["priority", "force", "reason", "unknown", noise.hex()]
    document = json.dumps({pick(keys): pick(_VALUES) for _ in range(int(generator.integers(0, 4)))}).encode()
    cut = document[: int(generator.integers(0, len(document)))]
    body = pick([b"", b"{}", noise, document, document, cut, b'{"force": ' + noise, b"[" * 500, b"[" * 20_000])
    authorization = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    media = pick([b"application/json", b"application/json", b"text/plain", b"application/json; charset=" + text])
    headers = [
        b"Host: localhost",
        b"Authorization: Basic " + authorization,
        b"Connection: close",
        b"Content-Length: " + str(len(body)).encode(),
        b"Content-Type: " + (text if raw and text else media),
    ]
    if generator.random() < 0.3:
        headers.append(b"X-Contrast-Enhancement: " + text)
    method = pick([b"GET", b"POST", b"PUT", b"DELETE", b"GET", b"POST"])
    return method + b" " + mutated + query + b" HTTP/1.1\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body


def _word(noise: bytes) -> bytes:
    """The noise as a URL may carry it: letters of many scripts, %-encoded."""
    return quote(noise.decode("utf-16-le", "ignore").encode("utf-8", "ignore")).encode()


def _is_utf8(request: bytes) -> bool:
    """Whether the request line and the headers are, also after %-decoding."""
    try:
        unquote_to_bytes(request.partition(b"\r\n\r\n")[0]).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _send_raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return received
