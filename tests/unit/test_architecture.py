"""docs/architecture.md: its picture is that of the code, and every file that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import architecture_picture

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PLACES = (ROOT, ROOT / "plugin" / "enhancement")


def test_picture_is_current() -> None:
    """Where it is not: run scripts/architecture_picture.py."""
    assert architecture_picture.PICTURE.read_text(encoding="utf-8") == architecture_picture.draw(
        architecture_picture.rows()
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w./]+/[\w./]*)`", PAGE.read_text(encoding="utf-8")))))
def test_every_place_on_the_page_exists(name: str) -> None:
    assert any((place / name).exists() for place in PLACES)
