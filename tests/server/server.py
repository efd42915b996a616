"""A real Orthanc with the plugin, started by scripts/serve on free ports, and what a test asks of it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage

from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale

REPOSITORY = Path(__file__).resolve().parents[2]
LIGHT = Path(__file__).parent / "light" / "light_main.py"
USER, PASSWORD = "tester", "a password of the tests"
# How long a peer may take to answer: a busy machine is not a broken one.
PATIENCE_S = 120
FINAL = {"STORED", "REJECTED", "FAILED", "CANCELLED", "SUPERSEDED"}
# Orthanc commits its index to disk with every instance; where there is memory to write to, tests do not wait for disks.
MEMORY = Path("/dev/shm")


class NoAnswer(ConnectionError):
    """The association ended without an answer to a C-STORE."""


_given_ports: set[int] = set()


def free_port() -> int:
    """A TCP port that nothing listens on, and that no outgoing connection is given while Orthanc is down.

    The system takes those from 32768 on; measured: an Orthanc that was killed found its port taken by one. No port is
    given twice: until its owner listens it looks free, and an Orthanc was given one port for both HTTP and DICOM.
    """
    while True:
        port = secrets.randbelow(12_000) + 20_000
        if port in _given_ports:
            continue
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            _given_ports.add(port)
            return port


def light_model(
    folder: Path, name: str = "light", *, roles: Sequence[str] = ("T1", "FLAIR", "ADC", "T1C"), reference: str = "T1C"
) -> Manifest:
    """A model folder whose manifest is true to its content, for the light plugin, which never opens the weights."""
    channels = [InputChannel(role=role, z_min=-3, z_max=12) for role in roles]
    manifest = Manifest(
        name=name,
        version="1",
        recipe="t1c-pro",
        network=NetworkShape(in_channels=len(roles), channels=2, levels=2, convolutions=1, head="residual"),
        inputs=tuple(channels),
        output=OutputScale(z_min=-3, z_max=12, reference=reference, dose_factor=4),
        folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
    )
    manifest = manifest.model_copy(update={"digest": manifest.expected_digest()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1))
    return manifest


class Orthanc:
    """One Orthanc process; it can be stopped, killed and started again on the same storage.

    Parameters
    ----------
    settings : mapping
        Keys of orthanc.json, nested with dots, as for ``scripts/serve --set``.
    light : bool
        Whether the method is stood in for (tests/server/light).
    """

    def __init__(
        self,
        storage: Path,
        settings: Mapping[str, Any],
        *,
        light: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.storage = storage
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.settings: dict[str, Any] = {
            "StableAge": 1,
            "SyncStorageArea": False,
            "ContrastEnhancement.Ledger.Synchronous": "NORMAL",
            **({"PythonScript": LIGHT} if light else {}),
            **settings,
        }
        self.variables = dict(variables or {})
        self.http = httpx.Client(base_url=self.url, auth=(USER, PASSWORD), timeout=PATIENCE_S)
        self.log = storage.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it; by default until the plugin has come up too (whatever its light)."""
        command = [str(REPOSITORY / "scripts" / "serve"), "--storage", str(self.storage)]
        command += ["--http-port", str(self.http_port), "--dicom-port", str(self.dicom_port)]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={_text(value)}"]
        environment = os.environ | {"CONTRAST_ENHANCEMENT_USER": USER, "CONTRAST_ENHANCEMENT_PASSWORD": PASSWORD}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment | self.variables
            )
        if wait:
            self.wait(lambda: self.is_up(), 180, "the plugin to come up")

    def stop(self, timeout_s: float = 30) -> float:
        """Ask it to stop; the seconds that took."""
        if self.process is None or self.process.poll() is not None:
            return 0.0
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout_s)
        return time.monotonic() - began

    def kill(self) -> None:
        """The power fails."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)

    def close(self) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
        self.http.close()

    def get(self, path: str, **parameters: str) -> Any:
        """A JSON answer. Without parameters None, not {}: httpx would drop a query that the path carries."""
        return self.http.get(path, params=parameters or None).raise_for_status().json()

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(path, json={} if body is None else body)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def jobs(self, study_id: str = "") -> list[dict[str, Any]]:
        return list(self.get("/enhancement/jobs", study=study_id)["jobs"])

    def send(self, paths: Sequence[Path]) -> None:
        """C-STORE, as a scanner would: what gets no answer is sent again.

        On a machine with thirty programs for two cores, pynetdicom at times sees no answer for good (measured: also
        from a stock Orthanc, and also in two minutes).
        """
        for attempt in range(5):
            try:
                send(paths, self.dicom_port)
            except NoAnswer:
                if attempt == 4:
                    raise
            else:
                return

    def studies(self) -> list[str]:
        return list(self.get("/studies"))

    def study_id(self, study_instance_uid: str) -> str:
        found = self.post("/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study_instance_uid}}).json()
        assert len(found) == 1, found
        return str(found[0])

    def results(self, study_id: str) -> list[dict[str, Any]]:
        """Orthanc's record of every series of ours in the study."""
        series = self.get(f"/studies/{study_id}/series")
        return [item for item in series if item["MainDicomTags"].get("Manufacturer") == "orthanc-contrast-enhancement"]

    def datasets(self, series_id: str) -> list[Dataset]:
        import io

        instances = self.get(f"/series/{series_id}")["Instances"]
        return [dcmread(io.BytesIO(self.http.get(f"/instances/{item}/file").content)) for item in instances]

    def last_change(self) -> int:
        """The sequence number of Orthanc's newest change."""
        return int(self.get("/changes", last="")["Last"])

    def times_stable(self, study_id: str, since: int) -> int:
        """How often the study became stable after the change `since`."""
        found, done = 0, False
        while not done:
            page = self.get("/changes", since=str(since), limit="1000")
            found += sum(item["ChangeType"] == "StableStudy" and item["ID"] == study_id for item in page["Changes"])
            since, done = page["Last"], page["Done"]
        return found

    def wait_for_looks(self, timeout_s: float = 120) -> None:
        """Until every study that was noticed has been looked at."""
        self.wait(lambda: self.get("/enhancement/status")["arrivals"] == 0, timeout_s, "an empty inbox")

    def wait_until_reconciled(self, timeout_s: float = 120) -> None:
        """Until all that has happened so far was looked at, also where a kill took its stable event."""
        last = self.last_change()
        self.wait(
            lambda: (self.get("/enhancement/status")["changes_reconciled"] or 0) >= last,
            timeout_s,
            "the changes to be reconciled",
        )
        self.wait_for_looks(timeout_s)

    def wait_for_job(self, study_id: str, states: set[str] = FINAL, timeout_s: float = 60) -> dict[str, Any]:
        """The study's newest job once it is in one of these states."""

        def found() -> dict[str, Any] | None:
            jobs = [job for job in self.jobs(study_id) if job["current"]]
            return jobs[-1] if jobs and jobs[-1]["state"] in states else None

        return self.wait(found, timeout_s, f"a job in {sorted(states)}")

    def wait(self, condition: Callable[[], Any], timeout_s: float, what: str, *, every_s: float = 0.1) -> Any:
        """What the condition returns once it is true."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"Orthanc ended with {self.process.returncode}:\n{self.log_text()[-3000:]}")
            try:
                found = condition()
            except httpx.TransportError:
                found = None
            if found:
                return found
            time.sleep(every_s)
        raise AssertionError(f"waited {timeout_s:.0f} s for {what}; the log ends:\n{self.log_text()[-3000:]}")

    def is_up(self) -> bool:
        """Whether the plugin has come up, whatever its light."""
        problems = self.get("/enhancement/status").get("problems", [{"code": "STARTING"}])
        return all(problem["code"] != "STARTING" for problem in problems)


def send(paths: Sequence[Path], port: int, *, called_aet: str = "ORTHANC") -> None:
    """Send files over one association.

    Raises
    ------
    ConnectionError
        If the association is refused, or an instance not stored.
    NoAnswer
        If the association is lost.
    """
    entity = AE(ae_title="SCANNER")
    entity.acse_timeout = entity.network_timeout = PATIENCE_S
    entity.add_requested_context(MRImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    association = entity.associate("127.0.0.1", port, ae_title=called_aet)
    if not association.is_established:
        raise ConnectionError("the association was refused")
    try:
        for path in paths:
            began = time.monotonic()
            status = association.send_c_store(dcmread(path)).get("Status")
            if status is None:
                raise NoAnswer(f"{path.name}: no answer after {time.monotonic() - began:.1f} s")
            if status != 0:
                raise ConnectionError(f"{path.name}: status {status!r}")
    finally:
        association.release()


@contextmanager
def storage_folder() -> Iterator[Path]:
    """A folder for one Orthanc's storage, removed in the end."""
    place = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 << 30 else None
    with tempfile.TemporaryDirectory(prefix="enhancement-test-", dir=place) as name:
        yield Path(name) / "storage"


def _text(value: Any) -> str:
    import json

    return str(value) if isinstance(value, str | Path) else json.dumps(value)
