"""Orthanc with the plugin as a child process, and what its REST interface says."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
FINAL_STATES = {"STORED", "REJECTED", "FAILED", "CANCELLED", "SUPERSEDED"}


class DemoError(Exception):
    """The demo cannot go on; the message says what was needed and what was found."""


class OrthancServer:
    """`scripts/serve` on its own ports and storage.

    Parameters
    ----------
    storage : Path
        Folder of Orthanc's storage and database, made when missing.
    http_port, dicom_port : int
        Free TCP ports.
    overrides : list of str
        ``KEY=VALUE`` as for `scripts/serve --set`.
    """

    USER = "demo"

    def __init__(self, storage: Path, *, http_port: int, dicom_port: int, overrides: list[str]) -> None:
        self.storage, self.http_port, self.dicom_port = storage, http_port, dicom_port
        self.url = f"http://127.0.0.1:{http_port}"
        self.password = secrets.token_urlsafe(9)
        self._overrides = overrides
        self._http = httpx.Client(base_url=self.url, auth=(self.USER, self.password), timeout=60)
        self.log = storage / "orthanc.log"
        self.peak_rss_bytes = 0

    def __enter__(self) -> OrthancServer:
        self.storage.mkdir(parents=True, exist_ok=True)
        command = [str(REPOSITORY / "scripts" / "serve"), "--storage", str(self.storage)]
        command += ["--http-port", str(self.http_port), "--dicom-port", str(self.dicom_port)]
        for override in self._overrides:
            command += ["--set", override]
        with self.log.open("wb") as log:
            # By the environment, because a command line can be read by every user of the machine.
            login = {"CONTRAST_ENHANCEMENT_USER": self.USER, "CONTRAST_ENHANCEMENT_PASSWORD": self.password}
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | login)
        try:
            self._wait_until_up()
        except DemoError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait_until_up(self, patience_s: float = 180) -> None:
        """Until the plugin has come up too; a study that arrives before that is looked at before it is whole.

        Raises
        ------
        DemoError
            If Orthanc stops or does not answer in time, or if the plugin says that it cannot work.
        """
        deadline = time.monotonic() + patience_s
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise DemoError(f"Orthanc stopped while starting; its log is {self.log}")
            with suppress(httpx.HTTPError):
                status = self.get("/enhancement/status")
            problems = {problem["code"]: problem["reason"] for problem in status.get("problems", [])}
            if status.get("light") == "red":
                raise DemoError(f"the plugin cannot work: {'; '.join(problems.values())}")
            if status and "STARTING" not in problems:
                return
            time.sleep(0.2)
        raise DemoError(f"Orthanc did not answer within {patience_s:.0f} s; its log is {self.log}")

    def get(self, path: str) -> Any:
        """The JSON answer of a GET."""
        return self._http.get(path).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer of a POST of JSON."""
        return self._http.post(path, json=body).raise_for_status().json()

    def file(self, instance_id: str) -> bytes:
        """One stored instance as the DICOM file that it is."""
        return self._http.get(f"/instances/{instance_id}/file").raise_for_status().content

    def find(self, level: str, **query: str) -> list[str]:
        """Orthanc identifiers of the resources that match."""
        answer = self._http.post("/tools/find", json={"Level": level, "Query": query})
        return list(answer.raise_for_status().json())

    def follow_job(self, study_id: str, *, patience_s: float, settle_s: float) -> Iterator[dict[str, Any]]:
        """The study's job whenever it is looked at, until it has ended.

        Where sending was slow, the study may have counted as whole before it was: a refusal is final only when no
        later job has followed it within `settle_s`.
        """
        began = time.monotonic()
        while time.monotonic() < began + patience_s:
            self._note_memory()
            jobs = [job for job in self.get(f"/enhancement/jobs?study={study_id}")["jobs"] if job["current"]]
            if jobs:
                yield jobs[-1]
                refused = jobs[-1]["state"] in FINAL_STATES - {"STORED"}
                if jobs[-1]["state"] == "STORED" or (refused and time.monotonic() > began + settle_s):
                    return
            time.sleep(0.5)
        raise DemoError(f"the job did not end within {patience_s:.0f} s; Orthanc's log is {self.log}")

    def _note_memory(self) -> None:
        # VmHWM is the kernel's own high-water mark: nothing between two looks is missed.
        if self.process.poll() is not None:
            raise DemoError(f"Orthanc stopped by itself; its log is {self.log}")
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.peak_rss_bytes = max(peak_kb * 1024, self.peak_rss_bytes, *(c.memory_info().rss for c in children), 0)
