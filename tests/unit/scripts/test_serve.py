"""scripts/serve: the configuration that Orthanc is given, who may log in, and what is said where it cannot start."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY

KEPT = "first-run-password"


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """In front of PATH: an Orthanc that says what it was given, since serve becomes it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    orthanc = folder / "Orthanc"
    orthanc.write_text('#!/bin/sh\necho "started with $*, $MALLOC_MMAP_THRESHOLD_"\n')
    orthanc.chmod(0o755)
    return folder


class Serve:
    """The command with a storage of its own."""

    def __init__(self, storage: Path, bin_folder: Path) -> None:
        self.storage = storage
        self.script = REPOSITORY / "scripts" / "serve"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAST_ENHANCEMENT")}
        self.environment = inherited | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.script), "--storage", str(self.storage), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment | variables, timeout=60
        )
        assert "Traceback" not in done.stderr
        return done

    def given(self) -> dict[str, Any]:
        """The configuration that Orthanc was started with."""
        found: dict[str, Any] = json.loads((self.storage / "orthanc.run.json").read_text())
        return found


@pytest.fixture
def serve(tmp_path: Path, bin_folder: Path) -> Serve:
    return Serve(tmp_path / "storage", bin_folder)


class TestLogin:
    def test_the_first_run_makes_a_password_and_shows_it_once(self, serve: Serve) -> None:
        """Later ones say where it lies."""
        first, second = serve().stdout, serve().stdout
        told = re.match(
            r"First run: user 'admin', password '([\w-]{20})'\. It is shown only now, and kept in (.*)\.\n", first
        )
        assert told is not None, first
        assert serve.given()["RegisteredUsers"] == {"admin": told[1]}
        assert told[2] == str(serve.storage / KEPT)
        assert second.startswith(f"User 'admin', password of the first run: in {serve.storage / KEPT}.\n")
        assert told[1] not in second

    def test_what_holds_the_password_is_for_its_owner_alone(self, serve: Serve) -> None:
        serve()
        for name in (KEPT, "orthanc.run.json"):
            assert stat.S_IMODE((serve.storage / name).stat().st_mode) == 0o600

    def test_an_empty_file_is_no_password(self, serve: Serve) -> None:
        """A full disk leaves one; whoever gives no password would be let in."""
        serve.storage.mkdir()
        (serve.storage / KEPT).write_text("\n")
        assert serve().stdout.startswith("First run: user 'admin'")
        assert len(serve.given()["RegisteredUsers"]["admin"]) == 20

    def test_user_and_password_from_the_environment(self, serve: Serve) -> None:
        done = serve(CONTRAST_ENHANCEMENT_USER="anna", CONTRAST_ENHANCEMENT_PASSWORD="from a vault")
        assert serve.given()["RegisteredUsers"] == {"anna": "from a vault"}
        assert "from a vault" not in done.stdout + done.stderr
        assert not (serve.storage / KEPT).exists()


class TestConfiguration:
    def test_orthanc_gets_orthanc_json_with_the_changes_asked_for(self, serve: Serve) -> None:
        options = ("--http-port", "18042", "--dicom-port", "14242", "--set", "StableAge=5", "--set", "DicomAet=PACS")
        done = serve(*options, "--set", "ContrastEnhancement.Model.Folds=1", CONTRAST_ENHANCEMENT_PASSWORD="x")
        shipped, given = json.loads((REPOSITORY / "orthanc.json").read_text()), serve.given()
        assert done.stdout == (
            f"Orthanc on http://127.0.0.1:18042/app/explorer.html, DICOM port 14242 (PACS), storage {serve.storage}\n"
            f"started with {serve.storage / 'orthanc.run.json'}, 4294967296\n"
        )
        shipped["ContrastEnhancement"]["Model"]["Folds"] = 1
        changed = {"HttpPort": 18042, "DicomPort": 14242, "StableAge": 5, "DicomAet": "PACS"}
        changed |= {"StorageDirectory": str(serve.storage), "IndexDirectory": str(serve.storage)}
        changed |= {"PythonScript": str(REPOSITORY / "plugin" / "main.py"), "RegisteredUsers": {"admin": "x"}}
        assert given | {"Plugins": shipped["Plugins"]} == shipped | changed
        assert [Path(plugin).name for plugin in given["Plugins"]] == [Path(name).name for name in shipped["Plugins"]]

    @pytest.mark.parametrize(
        ("assignment", "said"),
        [
            ("StableAge", "--set needs KEY=VALUE, found 'StableAge'"),
            ("HttpPort.Low=1", "HttpPort.Low: HttpPort is not a section"),
        ],
    )
    def test_a_wrong_assignment_is_named(self, serve: Serve, assignment: str, said: str) -> None:
        done = serve("--set", assignment)
        assert (done.returncode, done.stderr, done.stdout) == (1, f"scripts/serve: {said}\n", "")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"HttpPort": 8042, // as always\n}', "orthanc.json cannot be read: Expecting property name"),
            ("[1, 2]", "orthanc.json must hold one JSON object"),
        ],
    )
    def test_an_orthanc_json_that_was_edited_wrongly(self, serve: Serve, tmp_path: Path, text: str, said: str) -> None:
        serve.script = Path(shutil.copy(serve.script, _folder(tmp_path / "copy" / "scripts")))
        (tmp_path / "copy" / "orthanc.json").write_text(text)
        done = serve()
        assert done.returncode == 1
        assert done.stderr.startswith(f"scripts/serve: {said}")

    def test_what_orthanc_json_leaves_out_is_as_orthanc_has_it(self, serve: Serve, tmp_path: Path) -> None:
        serve.script = Path(shutil.copy(serve.script, _folder(tmp_path / "copy" / "scripts")))
        (tmp_path / "copy" / "orthanc.json").write_text("{}")
        assert serve().stdout.startswith(
            f"Orthanc on http://127.0.0.1:8042/app/explorer.html, DICOM port 4242 (ORTHANC), storage {serve.storage}\n"
        )


class TestStorage:
    def test_is_made_where_it_is_missing(self, serve: Serve) -> None:
        serve.storage = serve.storage / "of" / "one"
        assert serve(CONTRAST_ENHANCEMENT_PASSWORD="x").returncode == 0
        assert serve.given()["StorageDirectory"] == str(serve.storage)

    def test_a_place_where_nothing_can_be_written_is_named(self, serve: Serve) -> None:
        serve.storage.write_text("a file")
        done = serve()
        assert done.returncode == 1
        assert done.stderr == (f"scripts/serve: --storage {serve.storage}: nothing can be written there: File exists\n")


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
