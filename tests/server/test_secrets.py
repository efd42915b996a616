"""A patient's data go nowhere but into DICOM objects: not into logs, job rows, metrics, audit records or answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from server.server import Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]

# In each of these a site may have written who the patient is.
TEXTS = {
    "PatientName": "CANARY^NAME",
    "PatientID": "CANARY-ID",
    "PatientBirthDate": "19010203",
    "OtherPatientIDs": "CANARY-OTHER",
    "PatientComments": "CANARY comments",
    "PatientAddress": "CANARY street",
    "AccessionNumber": "CANARYACC",
    "StudyID": "CANARYSTUDY",
    "StudyDescription": "CANARY study",
    "ReferringPhysicianName": "CANARY^DOCTOR",
    "OperatorsName": "CANARY^OPERATOR",
    "InstitutionName": "CANARY hospital",
    "ImageComments": "CANARY image",
    "RequestedProcedureDescription": "CANARY procedure",
}


def _mark(study: PhantomStudy, spoil: Callable[[Dataset], None] | None = None) -> None:
    for path in study.paths:
        ds = dcmread(path)
        for keyword, text in TEXTS.items():
            setattr(ds, keyword, text)
        ds.SeriesDescription = f"{ds.SeriesDescription} CANARY"
        if spoil is not None:
            spoil(ds)
        ds.save_as(path)


def _without_rows(ds: Dataset) -> None:
    if "T1C" in str(ds.SeriesInstanceUID) or int(ds.InstanceNumber) == 3:
        del ds.Rows


def test_a_canary_in_every_text_is_never_seen_again(start_orthanc: Start, make_study: MakeStudy) -> None:
    """A stored, an incomplete, a refused and a failing study, all with the patient's name in every free text."""
    server = start_orthanc({"ContrastEnhancement.Queue.MaxAttempts": 1})
    whole, incomplete, damaged = make_study(), make_study(), make_study()
    _mark(whole), _mark(incomplete), _mark(damaged, _without_rows)
    ids = []
    for study, paths in (
        (whole, whole.paths),
        (incomplete, incomplete.paths_without(incomplete.paths_of("T1C"))),
        (damaged, damaged.paths),
    ):
        server.send(paths)
        ids.append(server.study_id(study.study_instance_uid))
    states = [server.wait_for_job(study_id)["state"] for study_id in ids]
    assert states == ["STORED", "REJECTED", "REJECTED"]
    attachment = f"/studies/{ids[0]}/attachments/enhancement-audit/data"
    server.wait(lambda: server.http.get(attachment).is_success, 60, "the audit record")
    texts = {"log": server.log_text(), "audit": server.http.get(attachment).text}
    texts |= {path: server.http.get(path).text for path in ("/enhancement/jobs", "/enhancement/incomplete")}
    texts |= {path: server.http.get(path).text for path in ("/enhancement/status", "/tools/metrics-prometheus")}
    for job in server.jobs():
        texts[f"job {job['id']}"] = server.http.get(f"/enhancement/jobs/{job['id']}").text
    server.stop()
    with closing(sqlite3.connect(server.storage / "enhancement-ledger.db")) as connection:
        texts["ledger"] = "\n".join(connection.iterdump())
    for place, text in texts.items():
        assert "CANARY" not in text.upper(), place
        assert "19010203" not in text, place
    assert "INSERT INTO" in texts["ledger"]
