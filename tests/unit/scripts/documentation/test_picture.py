"""docs/architecture.md: its picture is that of the code, and every file that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from documentation import picture

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "architecture.md"
PLACES = (ROOT, ROOT / "plugin" / "enhancement")


def test_picture_is_current() -> None:
    """Where it is not: run scripts/picture.py."""
    assert picture.PATH.read_text(encoding="utf-8") == picture.draw(picture.rows())


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w./]+/[\w./]*)`", PAGE.read_text(encoding="utf-8")))))
def test_every_place_on_the_page_exists(name: str) -> None:
    assert any((place / name).exists() for place in PLACES)
