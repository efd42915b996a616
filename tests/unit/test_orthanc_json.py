"""The configuration that ships: every default visible, every door closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import REPOSITORY
from enhancement.settings import SECTION, Settings, parse_settings


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    configuration: dict[str, Any] = json.loads((REPOSITORY / "orthanc.json").read_text(encoding="utf-8"))
    return configuration


def test_our_section_shows_every_default(shipped: dict[str, Any]) -> None:
    assert shipped[SECTION] == Settings().model_dump(mode="json", by_alias=True)


def test_our_section_is_valid(shipped: dict[str, Any]) -> None:
    assert parse_settings(shipped[SECTION]) == Settings()


def test_the_doors_are_closed(shipped: dict[str, Any]) -> None:
    assert shipped["AuthenticationEnabled"] is True
    assert shipped["RegisteredUsers"] == {}
    assert shipped["RemoteAccessAllowed"] is False
    assert shipped["DicomCheckCalledAet"] is True
    assert shipped["ExecuteLuaEnabled"] is False
    assert shipped["RestApiWriteToFileSystemEnabled"] is False


def test_other_servers_certificates_can_be_checked(shipped: dict[str, Any]) -> None:
    """Measured: left out, Orthanc 1.10.1 takes its storage folder for the file, and no HTTPS peer can be reached."""
    assert shipped["HttpsCACertificates"] == "/etc/ssl/certs/ca-certificates.crt"
