"""scripts/install on Debian's own configuration, copied; the Orthanc that it restarts is a real one."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from server.server import REPOSITORY, free_port

pytestmark = pytest.mark.orthanc

STOCK = Path("/etc/orthanc")
SITE = """
import orthanc
def hello(output, uri, **request):
    output.AnswerBuffer("hello", "text/plain")
orthanc.RegisterRestCallback("/site/hello", hello)
"""


@dataclass
class Site:
    """A copy of /etc/orthanc, and how its Orthanc is restarted."""

    folder: Path
    port: int
    scratch: Path

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [REPOSITORY / "scripts" / "install", "--configuration", self.folder, "--user", "root", *options]
        return subprocess.run(
            [*command, "--restart", str(self.scratch / "restart")],
            capture_output=True,
            text=True,
            input="n\n",
            check=False,
        )

    def texts(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.iterdir()}


@pytest.fixture
def site(tmp_path: Path, orthanc_binary: str) -> Iterator[Site]:
    folder, port = tmp_path / "etc", free_port()
    shutil.copytree(STOCK, folder)
    stock = folder / "orthanc.json"
    text = stock.read_text()
    for found, put in (
        ('"HttpPort" : 8042', f'"HttpPort" : {port}'),
        ('"DicomPort" : 4242', f'"DicomPort" : {free_port()}'),
        ('"/var/lib/orthanc/db-v6"', f'"{tmp_path / "db"}"'),
    ):
        assert found in text
        text = text.replace(found, put)
    stock.write_text(text)
    restart = tmp_path / "restart"
    restart.write_text(
        f"#!/bin/sh\n[ -f {tmp_path}/pid ] && kill $(cat {tmp_path}/pid) && sleep 8\n"
        f"{orthanc_binary} {folder} > {tmp_path}/log 2>&1 & echo $! > {tmp_path}/pid\n"
    )
    restart.chmod(0o755)
    yield Site(folder, port, tmp_path)
    if (tmp_path / "pid").exists():
        subprocess.run(["kill", (tmp_path / "pid").read_text().strip()], check=False)


def test_into_debians_own_configuration_and_out_again(site: Site) -> None:
    before = site.texts()
    done = site.install("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert '-  "PythonScript" : "/etc/orthanc/sample.py",' in done.stdout
    assert "Installed: the light is green" in done.stdout
    assert site.install("--yes").stdout.startswith("scripts/install: nothing to change")
    assert site.install("--yes", "--remove").returncode == 0
    assert site.texts() == before


def test_a_script_of_the_site_is_chained(site: Site) -> None:
    script = site.scratch / "site.py"
    script.write_text(SITE)
    python = site.folder / "python.json"
    python.write_text(python.read_text().replace("/etc/orthanc/sample.py", str(script)))
    done = site.install("--yes")
    assert "Installed: the light is green" in done.stdout, done.stdout + done.stderr
    assert json.loads((site.folder / "enhancement.json").read_text()) == {
        "ContrastEnhancement": {"SiteScript": str(script)}
    }
    assert httpx.get(f"http://127.0.0.1:{site.port}/site/hello").text == "hello"


def test_nothing_is_written_without_consent(site: Site) -> None:
    before = site.texts()
    done = site.install()
    assert "nothing was changed" in done.stderr
    assert site.texts() == before
