"""Fetching HD-BET's weights from a local archive."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "fetch_hd_bet.py"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip with the three files and one that tries to leave the folder."""
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w") as content:
        for name in ("dataset.json", "plans.json", "fold_all/checkpoint_final.pth", "../outside.txt"):
            content.writestr(name, f"content of {name}")
    return path


def _fetch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_installs_and_pins(archive: Path, tmp_path: Path) -> None:
    """The right checksum: three files and SHA256SUMS that names each, and nothing else anywhere."""
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    folder = tmp_path / "weights" / "hd-bet"
    done = _fetch(str(folder), "--url", archive.as_uri(), "--sha256", sha256)
    assert done.returncode == 0, done.stderr
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert len(lines) == 3
    assert not (tmp_path / "outside.txt").exists()
    assert sorted(p.name for p in folder.parent.iterdir()) == ["hd-bet"]


def test_a_wrong_checksum_installs_nothing(archive: Path, tmp_path: Path) -> None:
    """What came is thrown away, and the message has both numbers."""
    folder = tmp_path / "hd-bet"
    done = _fetch(str(folder), "--url", archive.as_uri(), "--sha256", "0" * 64)
    assert done.returncode == 1
    assert "SHA-256" in done.stderr
    assert not folder.exists()


def test_nothing_is_trusted_unasked(archive: Path, tmp_path: Path) -> None:
    """Without a checksum the person must say so; the number is then printed."""
    folder = tmp_path / "hd-bet"
    assert _fetch(str(folder), "--url", archive.as_uri()).returncode == 1
    done = _fetch(str(folder), "--url", archive.as_uri(), "--trust-first")
    assert done.returncode == 0
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in done.stdout
    assert (folder / "SHA256SUMS").exists()


def test_no_network_is_said(tmp_path: Path) -> None:
    """A dead address ends with a sentence, not a traceback."""
    done = _fetch(str(tmp_path / "x"), "--url", "file:///nowhere.zip", "--trust-first")
    assert done.returncode == 1
    assert "cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr
