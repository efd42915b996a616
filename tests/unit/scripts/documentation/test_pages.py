"""The pages that are written from the code are not older than it, and their examples work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from documentation import pages
from enhancement.settings import parse_settings


@pytest.mark.parametrize("path", pages.pages(), ids=lambda path: path.name)
def test_page_is_current(path: Path) -> None:
    """Where it is not: run scripts/pages.py."""
    assert path.read_text(encoding="utf-8") == pages.pages()[path]


def test_every_setting_and_route_is_explained() -> None:
    """A sentence each, with its full stop."""
    for text in (pages.routes_page(), pages.settings_page()):
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        assert rows
        assert [row for row in rows if not row.rstrip(" |").endswith(".")] == []


def test_examples_of_the_settings_are_valid() -> None:
    """Each block of JSON on the page, as a whole section."""
    text = (pages.DOCS / "settings.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        parse_settings(json.loads(f"{{{block}}}"))
