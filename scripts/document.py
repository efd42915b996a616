"""Writes what the documentation takes from the code: docs/rest.md, docs/settings.md and docs/architecture.svg.

The pages keep their own words around the marked part. A test fails when one of the three is older than the code.
"""

from __future__ import annotations

import typer

from documentation import pages, picture


def main() -> None:
    """Write the tables of routes and settings, and the picture of the layers."""
    for path, text in {**pages.pages(), picture.PATH: picture.draw(picture.rows())}.items():
        path.write_text(text, encoding="utf-8")
        typer.echo(str(path))


if __name__ == "__main__":
    typer.run(main)
