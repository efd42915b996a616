"""What every test shares: strict DICOM validation, free ports, and the real scans where they are at hand."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pydicom.config
import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parents[1]

pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the real scans (`tumours/`, `vendors/`), or a skip that says so.

    ENHANCEMENT_TEST_DATA names the unpacked folder; else the archives that may lie beside the checkout
    are unpacked once per test run, for all of its workers.
    """
    named = os.environ.get("ENHANCEMENT_TEST_DATA")
    if named:
        return Path(named)
    unpack = REPOSITORY.parent / "shared" / "data" / "unpack"
    if not unpack.is_file():
        pytest.skip("the real scans are not on this machine (set ENHANCEMENT_TEST_DATA)")
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):  # a worker's own folder lies within that of the run
        shared = shared.parent
    folder = shared / "real-scans"
    with FileLock(shared / "real-scans.lock"):
        if not folder.exists():
            _unpack(unpack, folder)
    return folder


def _unpack(unpack: Path, folder: Path) -> None:
    """All of the archives, or none of them and a failure that says what the command said."""
    partial = folder.with_name("real-scans.partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run([str(unpack), str(partial)], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        free_mib = shutil.disk_usage(partial.parent).free / 2**20
        shutil.rmtree(partial, ignore_errors=True)
        pytest.fail(f"{unpack} ended with {done.returncode} ({free_mib:.0f} MiB are free): {done.stderr.strip()}")
    partial.rename(folder)


@pytest.fixture
def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
