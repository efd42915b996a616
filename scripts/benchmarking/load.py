"""What a benchmark sends and asks: MR slices over several associations, and a small GET now and then."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE

ROWS = COLUMNS = 256


def make_series(instances: int, seed: int) -> list[Dataset]:
    """One series of noise, 132 KB an instance; of a patient and study of its own, and of no brain MRI."""
    generator = np.random.default_rng(seed)
    study, series = generate_uid(), generate_uid()
    made = []
    for number in range(1, instances + 1):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid()
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber = study, series, number
        ds.PatientID, ds.PatientName, ds.Modality = f"LOAD{seed}", "Load", "MR"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        ds.SeriesDescription = "LOCALIZER"
        ds.Rows, ds.Columns, ds.SamplesPerPixel = ROWS, COLUMNS, 1
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation, ds.PhotometricInterpretation = 15, 0, "MONOCHROME2"
        ds.PixelData = generator.integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16).tobytes()
        made.append(ds)
    return made


def store(port: int, series: list[list[Dataset]]) -> float:
    """Send every series over an association of its own, all at once; instances a second."""

    def send(instances: list[Dataset]) -> None:
        entity = AE(ae_title="LOAD")
        entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", port, ae_title="ORTHANC")
        if not association.is_established:
            raise ConnectionError("the association was refused")
        for ds in instances:
            if association.send_c_store(ds).get("Status") != 0:
                raise ConnectionError("an instance was not stored")
        association.release()

    began = time.perf_counter()
    with ThreadPoolExecutor(len(series)) as pool:
        list(pool.map(send, series))
    return sum(map(len, series)) / (time.perf_counter() - began)


@dataclass
class Latency:
    """Asks for /system ten times a second from a thread of its own, until it is told to stop."""

    url: str
    auth: tuple[str, str]
    seconds: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Latency:
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _ask(self) -> None:
        with httpx.Client(base_url=self.url, auth=self.auth, timeout=30) as client:
            while not self._stop.wait(0.1):
                began = time.perf_counter()
                client.get("/system").raise_for_status()
                self.seconds.append(time.perf_counter() - began)

    def milliseconds(self) -> dict[str, float]:
        """Median, 95th percentile and worst."""
        ordered = sorted(1000 * value for value in self.seconds) or [float("nan")]
        return {
            "median": round(statistics.median(ordered), 1),
            "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
            "worst": round(ordered[-1], 1),
            "count": len(self.seconds),
        }
