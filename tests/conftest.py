"""What every test shares: strict DICOM validation, free ports, and the real scans where they are at hand."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pydicom.config
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
pydicom.config.settings.writing_validation_mode = pydicom.config.RAISE


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the real scans (`tumours/`, `vendors/`), or a skip that says so.

    ENHANCEMENT_TEST_DATA names the unpacked folder; else the archives that may lie beside the checkout
    are unpacked once per test run.
    """
    named = os.environ.get("ENHANCEMENT_TEST_DATA")
    if named:
        return Path(named)
    unpack = REPOSITORY.parent / "shared" / "data" / "unpack"
    if not unpack.is_file():
        pytest.skip("the real scans are not on this machine (set ENHANCEMENT_TEST_DATA)")
    folder = tmp_path_factory.mktemp("real-scans")
    subprocess.run([str(unpack), str(folder)], check=True)
    return folder


@pytest.fixture
def free_port() -> int:
    """A TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
