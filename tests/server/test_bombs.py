"""Small things that unfold to large ones: refused, and Orthanc stays as it was."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless, generate_uid

from server.server import Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]

MEGABYTE = 1 << 20


def _peak_mb(server: Orthanc) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) >> 10


def _forget_peak(server: Orthanc) -> int:
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    return _peak_mb(server)


def test_a_deflated_bomb_is_refused_unread(start_orthanc: Start, make_study: MakeStudy) -> None:
    """A megabyte that unfolds to a gigabyte: Orthanc itself takes it; our reading stops at 256 MB, and says so."""
    server = start_orthanc()
    study = make_study()
    ds = dcmread(study.paths[0])
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.add_new((0x0009, 0x0010), "LO", "BOMB")
    ds.add_new((0x0009, 0x1001), "OB", bytes(1000 * MEGABYTE))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    del ds
    assert len(buffer.getvalue()) < 2 * MEGABYTE
    server.http.post("/instances", content=buffer.getvalue()).raise_for_status()
    before = _forget_peak(server)
    server.send(study.paths)
    job = server.wait_for_job(server.study_id(study.study_instance_uid))
    assert (job["state"], job["code"]) == ("REJECTED", "UNREADABLE_INSTANCE")
    assert _peak_mb(server) < before + 400


def test_a_frame_that_declares_gigabytes_is_refused_unread(start_orthanc: Start, make_study: MakeStudy) -> None:
    """60,000 by 60,000 pixels in the header, a hundred bytes of RLE in the file."""
    server = start_orthanc()
    study = make_study()
    for path in study.paths:
        ds = dcmread(path)
        ds.Rows = ds.Columns = 60_000
        ds.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" + b"\xfe\xff\x00\xe0\x64\x00\x00\x00" + bytes(100)
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = RLELossless
        ds.save_as(path)
    before = _forget_peak(server)
    for path in study.paths:
        server.http.post("/instances", content=path.read_bytes()).raise_for_status()
    job = server.wait_for_job(server.study_id(study.study_instance_uid))
    assert (job["state"], job["code"]) == ("REJECTED", "TOO_LARGE")
    assert _peak_mb(server) < before + 200


def test_requests_leave_nothing_behind(start_orthanc: Start) -> None:
    """Plugin 4.0 forgets a kilobyte with every request, and all of every body: 200 of 1 MB would stay for good."""
    server = start_orthanc()
    body = b" " * MEGABYTE

    def ask(times: int) -> None:
        for _ in range(times):
            answer = server.http.post("/enhancement/resume", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413

    ask(20)
    before = _resident_mb(server)
    ask(200)
    assert _resident_mb(server) < before + 20


def _resident_mb(server: Orthanc) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) >> 10
