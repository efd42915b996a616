"""Each door, the attempt, the answer; and the bodies and paths that nobody should send."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from server.server import PASSWORD, REPOSITORY, USER, Orthanc, free_port, send, storage_folder
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]

ABSENT = "00000000-00000000-00000000-00000000-00000000"
ROUTES = [
    ("GET", "/enhancement/status"),
    ("GET", "/enhancement/health"),
    ("GET", "/enhancement/jobs"),
    ("GET", "/enhancement/jobs/1"),
    ("POST", "/enhancement/jobs/1/cancel"),
    ("POST", "/enhancement/jobs/1/retry"),
    ("POST", "/enhancement/jobs/retry"),
    ("GET", "/enhancement/incomplete"),
    ("GET", f"/enhancement/studies/{ABSENT}"),
    ("POST", f"/enhancement/studies/{ABSENT}"),
    ("POST", f"/enhancement/studies/{ABSENT}/cancel"),
    ("GET", f"/enhancement/studies/{ABSENT}/explain"),
    ("GET", f"/enhancement/studies/{ABSENT}/audit"),
    ("GET", f"/studies/{ABSENT}/attachments/enhancement-audit/data"),
    ("POST", "/enhancement/pause"),
    ("POST", "/enhancement/resume"),
    ("GET", "/enhancement/settings"),
    ("GET", "/enhancement/results"),
    ("POST", "/enhancement/results/1/withdraw"),
    ("POST", f"/enhancement/series/{ABSENT}/withdraw"),
]
CHANGES = [(method, path) for method, path in ROUTES if method == "POST"]


def looks_like_a_fault(text: str) -> bool:
    return "Traceback" in text or ".py" in text or "PythonException" in text


@pytest.fixture(scope="module")
def roles(models: Path) -> Iterator[Orthanc]:
    """An Orthanc with three users: one who may all, one who may start, one who may look."""
    users = {USER: PASSWORD, "operator": "o", "reader": "r"}
    settings = {
        "RegisteredUsers": users,
        "ContrastEnhancement.ModelWeights": models,
        "ContrastEnhancement.Access.Operators": [USER, "operator"],
        "ContrastEnhancement.Access.Administrators": [USER],
    }
    with storage_folder() as storage:
        server = Orthanc(storage, settings)
        try:
            server.start()
            yield server
        finally:
            server.close()


class TestPasswords:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_without_a_password_nothing_answers(self, orthanc: Orthanc, method: str, path: str) -> None:
        assert httpx.request(method, orthanc.url + path, json={}).status_code == 401

    def test_a_wrong_password_is_none(self, orthanc: Orthanc) -> None:
        answer = httpx.get(f"{orthanc.url}/enhancement/status", auth=(USER, "guess"))
        assert answer.status_code == 401

    def test_no_default_password_opens_it(self, orthanc: Orthanc) -> None:
        for user, password in (("orthanc", "orthanc"), ("admin", "admin"), ("admin", ""), ("alice", "alicePassword")):
            assert httpx.get(f"{orthanc.url}/system", auth=(user, password)).status_code == 401

    def test_the_first_run_makes_a_password_and_shows_it_once(self, tmp_path: Path) -> None:
        """Mode 0600 beside the storage; a second run says no more than where it lies."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
        (tmp_path / "Orthanc").write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / "Orthanc").chmod(0o755)
        environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
        command = [sys.executable, str(REPOSITORY / "scripts" / "serve"), "--storage", str(tmp_path / "storage")]
        first, second = (subprocess.check_output(command, env=environment, text=True) for _ in range(2))
        kept = tmp_path / "storage" / "first-run-password"
        password = kept.read_text().strip()
        assert len(password) >= 20
        assert password in first
        assert password not in second
        for path in (kept, tmp_path / "storage" / "orthanc.run.json"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        configuration = json.loads((tmp_path / "storage" / "orthanc.run.json").read_text())
        assert configuration["RegisteredUsers"] == {"admin": password}


class TestRoles:
    @pytest.mark.parametrize(("method", "path"), CHANGES)
    def test_a_reader_changes_nothing(self, roles: Orthanc, method: str, path: str) -> None:
        answer = httpx.request(method, roles.url + path, json={}, auth=("reader", "r"))
        assert answer.status_code == 403
        assert answer.json()["code"] == "FORBIDDEN"

    def test_a_reader_reads(self, roles: Orthanc) -> None:
        assert httpx.get(f"{roles.url}/enhancement/status", auth=("reader", "r")).status_code == 200

    def test_an_operator_starts_but_does_not_administer(self, roles: Orthanc, make_study: MakeStudy) -> None:
        study = make_study()
        roles.send(study.paths)
        study_id = roles.study_id(study.study_instance_uid)
        started = httpx.post(f"{roles.url}/enhancement/studies/{study_id}", json={}, auth=("operator", "o"))
        assert started.status_code == 202
        job = roles.wait_for_job(study_id)
        assert job["requested_by"] == "operator"
        for path in ("/enhancement/pause", "/enhancement/resume", f"/enhancement/results/{job['id']}/withdraw"):
            assert httpx.post(roles.url + path, json={}, auth=("operator", "o")).status_code == 403
        assert httpx.get(f"{roles.url}/enhancement/settings", auth=("operator", "o")).status_code == 403

    def test_the_settings_show_no_secret(self, roles: Orthanc) -> None:
        text = json.dumps(roles.get("/enhancement/settings"))
        assert PASSWORD not in text

    def test_a_header_names_no_user_unless_a_proxy_is_trusted(self, roles: Orthanc) -> None:
        headers = {"X-Forwarded-User": USER, "X-Remote-User": USER}
        answer = httpx.post(f"{roles.url}/enhancement/pause", json={}, headers=headers, auth=("reader", "r"))
        assert answer.status_code == 403

    def test_a_trusted_proxy_names_the_user(self, start_orthanc: Start) -> None:
        """Where the site says that nothing else reaches Orthanc, the header counts and the password's name does not."""
        server = start_orthanc(
            {
                "ContrastEnhancement.Access.TrustedUserHeader": "X-Remote-User",
                "ContrastEnhancement.Access.Administrators": ["chief"],
            }
        )
        for user, status in (("chief", 200), ("nurse", 403), ("", 403)):
            answer = server.http.post("/enhancement/resume", json={}, headers={"X-Remote-User": user})
            assert answer.status_code == status

    def test_the_configuration_as_it_ships_lets_nobody_in(self, tmp_path: Path, orthanc_binary: str) -> None:
        """No user is registered: Orthanc started without scripts/serve answers no password at all."""
        configuration = json.loads((REPOSITORY / "orthanc.json").read_text())
        port = free_port()
        changed = {"HttpPort": port, "DicomPort": free_port(), "Plugins": []}
        changed |= {"StorageDirectory": str(tmp_path / "db"), "IndexDirectory": str(tmp_path / "db")}
        (tmp_path / "orthanc.json").write_text(json.dumps(configuration | changed))
        process = subprocess.Popen([orthanc_binary, str(tmp_path / "orthanc.json")], stderr=subprocess.DEVNULL)
        try:
            for user in ("orthanc", "admin", "", "alice"):
                for password in ("orthanc", "admin", "", "alicePassword"):
                    answer = _when_up(f"http://127.0.0.1:{port}/system", (user, password))
                    assert answer.status_code == 401
        finally:
            process.terminate()
            process.wait(30)


class TestForeignPages:
    """What a page elsewhere can make the browser of a user send, with his password."""

    @pytest.mark.parametrize(("method", "path"), CHANGES)
    @pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
    def test_a_form_is_refused(self, orthanc: Orthanc, method: str, path: str, media_type: str) -> None:
        answer = orthanc.http.request(method, path, content=b'{"force": true}', headers={"Content-Type": media_type})
        assert (answer.status_code, answer.json()["code"]) == (403, "CROSS_SITE")

    def test_a_post_without_a_type_is_refused(self, orthanc: Orthanc) -> None:
        answer = orthanc.http.post("/enhancement/pause")
        assert (answer.status_code, answer.json()["code"]) == (403, "CROSS_SITE")

    def test_json_that_the_browser_calls_cross_site_is_refused(self, orthanc: Orthanc) -> None:
        answer = orthanc.http.post("/enhancement/pause", json={}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403

    def test_our_own_header_will_do(self, orthanc: Orthanc) -> None:
        answer = orthanc.http.post("/enhancement/resume", headers={"X-Contrast-Enhancement": "1"})
        assert answer.status_code == 200

    def test_no_origin_is_allowed_by_cors(self, orthanc: Orthanc) -> None:
        answer = orthanc.http.get("/enhancement/status", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers
        preflight = orthanc.http.options("/enhancement/pause", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in preflight.headers

    def test_answers_cannot_be_sniffed_or_framed(self, orthanc: Orthanc) -> None:
        for path in ("/enhancement/status", "/enhancement/nothing"):
            headers = orthanc.http.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            # Plugin 5.0 adds a text/plain of its own to answers other than 200; the first one counts, and nosniff.
            assert headers["content-type"].startswith("application/json")
            assert "default-src 'none'" in headers["content-security-policy"]


class TestInput:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/enhancement", 404),
            ("GET", "/enhancement/nothing", 404),
            ("GET", "/enhancement/jobs/0x10", 404),
            ("GET", "/enhancement/jobs/-1", 404),
            ("GET", "/enhancement/jobs/999999999999999999", 404),
            ("GET", "/enhancement/jobs?limit=-1", 400),
            ("GET", "/enhancement/jobs?limit=1e9", 400),
            ("GET", "/enhancement/jobs?state=DROP", 400),
            ("GET", "/enhancement/results", 400),
            ("GET", "/enhancement/studies/1.2.840.113619", 404),
            ("GET", f"/enhancement/studies/{ABSENT}", 404),
            ("GET", f"/enhancement/studies/{ABSENT}/explain", 404),
            ("GET", "/enhancement/explorer/explorer.js", 404),
            ("POST", f"/enhancement/studies/{ABSENT}", 404),
            ("POST", "/enhancement/jobs/999/cancel", 404),
            ("POST", "/enhancement/status", 400),
            ("DELETE", "/enhancement/status", 400),
            ("PUT", "/enhancement/pause", 400),
        ],
    )
    def test_a_bad_path_is_answered_by_code_and_advice(
        self, orthanc: Orthanc, method: str, path: str, status: int
    ) -> None:
        answer = orthanc.http.request(method, path, json={} if method in ("POST", "PUT") else None)
        assert answer.status_code == status, answer.text
        assert answer.json()["code"]
        assert not looks_like_a_fault(answer.text)

    def test_no_path_leaves_our_routes(self, orthanc: Orthanc) -> None:
        for path in ("..%2f..%2fetc%2fpasswd", "../../../etc/passwd", "%2e%2e/%2e%2e/orthanc.run.json"):
            answer = orthanc.http.get(f"/enhancement/studies/{path}")
            assert answer.status_code in (400, 404)
            assert "root:" not in answer.text

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{", 400),
            (b"[]", 400),
            (b"null", 400),
            (b'{"force": 1}', 400),
            (b'{"unknown": true}', 400),
            (b'{"priority": "now!"}', 400),
            (b'{"priority": 7}', 400),
            (b"\xff\xfe", 400),
            (b"[" * 16000, 400),
            (b'{"priority": "' + b"x" * 20000 + b'"}', 413),
            (b" " * 5_000_000, 413),
        ],
    )
    def test_a_bad_body_is_refused(self, orthanc: Orthanc, body: bytes, status: int) -> None:
        answer = orthanc.http.post(
            f"/enhancement/studies/{ABSENT}", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status, answer.text
        assert not looks_like_a_fault(answer.text)


class TestDicom:
    def test_another_called_aet_is_refused(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        with pytest.raises(ConnectionError):
            send(make_study().paths[:1], orthanc.dicom_port, called_aet="SOMEONE")

    def test_http_listens_for_this_machine_alone(self, orthanc: Orthanc) -> None:
        """From another address of the same machine Orthanc refuses, whatever the password."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
            except OSError:
                pytest.skip("this machine has no other address")
            address = probe.getsockname()[0]
        if address.startswith("127."):
            pytest.skip("this machine has no other address")
        answer = httpx.get(f"http://{address}:{orthanc.http_port}/system", auth=(USER, PASSWORD))
        assert answer.status_code == 401


def _when_up(url: str, auth: tuple[str, str]) -> httpx.Response:
    for _ in range(600):
        try:
            return httpx.get(url, auth=auth)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("Orthanc did not come up")


def test_a_free_port_is_free_and_given_once() -> None:
    """The tests' own foundation."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
    ports = [free_port() for _ in range(1_000)]  # drawn anew each time, two of these would be the same
    assert len(set(ports)) == len(ports)
