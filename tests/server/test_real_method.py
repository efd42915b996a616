"""The method itself inside Orthanc: the archive answers meanwhile, a viewer gets the result, a stop is quick."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage, StudyRootQueryRetrieveInformationModelMove

from server.server import PASSWORD, REPOSITORY, USER, Orthanc, free_port
from unit.phantom import PhantomStudy

pytestmark = [pytest.mark.orthanc, pytest.mark.slow]

MakeStudy = Callable[..., PhantomStudy]
LONG_S = 600


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A simulated tumour patient at about 2 mm."""
    folder = tmp_path_factory.mktemp("patient")
    command = [sys.executable, str(REPOSITORY / "scripts" / "simulate.py"), str(folder), "--coarse", "--seed", "3"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"NO_COLOR": "1"})
    return sorted(folder.rglob("*.dcm"))


class Viewer:
    """A storage SCP."""

    def __init__(self) -> None:
        self.port = free_port()
        self.received: list[Dataset] = []

    def __enter__(self) -> Viewer:
        entity = AE(ae_title="VIEWER")
        entity.add_supported_context(MRImageStorage, ExplicitVRLittleEndian)
        self._server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()

    def move(self, port: int, study_instance_uid: str, series_instance_uid: str) -> None:
        """C-MOVE the series to ourselves."""
        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID, query.SeriesInstanceUID = study_instance_uid, series_instance_uid
        entity = AE(ae_title="VIEWER")
        entity.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
        association = entity.associate("127.0.0.1", port, ae_title="ORTHANC")
        answers = association.send_c_move(query, "VIEWER", StudyRootQueryRetrieveInformationModelMove)
        statuses = [status.Status for status, _ in answers]
        association.release()
        assert statuses[-1] == 0, statuses

    def _store(self, event: evt.Event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        self.received.append(ds)
        return 0


class Stopwatch(threading.Thread):
    """How long GET /system takes, ten times a second."""

    def __init__(self, orthanc: Orthanc) -> None:
        super().__init__(daemon=True)
        self._orthanc = orthanc
        self.done = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._orthanc.url, auth=(USER, PASSWORD), timeout=30) as client:
            while not self.done.wait(0.1):
                began = time.perf_counter()
                client.get("/system").raise_for_status()
                self.seconds.append(time.perf_counter() - began)


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    with Viewer() as running:
        yield running


def test_a_simulated_patient_goes_all_the_way(
    start_orthanc: Callable[..., Orthanc], make_study: MakeStudy, patient: list[Path], viewer: Viewer
) -> None:
    """C-STORE, job, T1c-pro and ADC; meanwhile REST is quick and another study is stored; C-MOVE, WADO-RS; stop."""
    orthanc = start_orthanc(
        {
            "ContrastEnhancement.ModelWeights": REPOSITORY / "model_weights",
            "ContrastEnhancement.Model.Folds": 1,
            "ContrastEnhancement.Model.Mirrorings": 1,
            "DicomModalities": {"viewer": ["VIEWER", "127.0.0.1", viewer.port]},
        },
        light=False,
    )
    study_uid = str(dcmread(patient[0], stop_before_pixels=True).StudyInstanceUID)
    orthanc.send(patient)
    study_id = orthanc.study_id(study_uid)
    orthanc.wait(lambda: _computing(orthanc, study_id), LONG_S, "the computing")
    watch = Stopwatch(orthanc)
    watch.start()
    other = make_study()
    orthanc.send(other.paths)
    assert len(orthanc.studies()) == 2
    job = orthanc.wait_for_job(study_id, timeout_s=LONG_S)
    watch.done.set()
    assert job["state"] == "STORED", job
    assert len(watch.seconds) >= 5
    assert statistics.median(watch.seconds) < 0.05, sorted(watch.seconds)[-10:]

    results = {item["MainDicomTags"]["SeriesInstanceUID"]: item for item in orthanc.results(study_id)}
    assert set(results) == set(job["result_uids"])
    assert len(results) == 2, "T1c-pro and the computed ADC"
    uid = job["result_uids"][0]
    stored = {str(ds.SOPInstanceUID): ds for ds in orthanc.datasets(results[uid]["ID"])}
    viewer.move(orthanc.dicom_port, study_uid, uid)
    assert {str(ds.SOPInstanceUID) for ds in viewer.received} == set(stored)
    for ds in viewer.received:
        assert ds.PixelData == stored[str(ds.SOPInstanceUID)].PixelData
    web = DICOMwebClient(f"{orthanc.url}/dicom-web", headers={"Authorization": _basic()})
    retrieved = web.retrieve_series(study_uid, uid)
    assert {str(ds.SOPInstanceUID) for ds in retrieved} == set(stored)

    assert orthanc.post(f"/enhancement/studies/{study_id}", {"force": True}).status_code == 202
    orthanc.wait(lambda: _computing(orthanc, study_id), LONG_S, "the computing")
    assert orthanc.stop(timeout_s=60) < float(os.environ.get("ENHANCEMENT_STOP_S", "10"))
    assert orthanc.process is not None
    assert orthanc.process.returncode == 0


def _computing(orthanc: Orthanc, study_id: str) -> bool:
    status = orthanc.get(f"/enhancement/studies/{study_id}")
    assert status["state"] not in ("REJECTED", "FAILED"), status
    return status["state"] == "RUNNING" and float(status["fraction"]) > 0.03


def _basic() -> str:
    import base64

    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
