"""Show which series of a study plays which role, and why: a dry run of the rules on a folder of DICOM headers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from enhancement.dicom.matching.default_rules import as_settings
from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.reading.files import read_studies
from enhancement.errors import EnhancementError
from enhancement.settings import SECTION, MatchingSettings, parse_settings
from surveying.survey import print_survey, survey


def main(
    folder: Annotated[Path | None, typer.Argument(exists=True, help="DICOM files, searched recursively")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    config: Annotated[Path | None, typer.Option(exists=True, help="orthanc.json with a site's own rules")] = None,
    study: Annotated[str, typer.Option(help="StudyInstanceUID, where the folder holds several")] = "",
    as_survey: Annotated[bool, typer.Option("--table", help="One line a study, and a summary of the reasons")] = False,
    show_rules: Annotated[bool, typer.Option("--rules", help="Print the built-in rules as settings")] = False,
) -> None:
    """Match the series of a study to roles.

    Pixel data are not read. With one study --json prints one object, with several a list of objects that
    also hold `study_instance_uid`. Exit code 1 if no DICOM instance is found.
    """
    if show_rules or folder is None:
        _print_json(as_settings())
        raise typer.Exit(0)
    if as_survey:
        _survey(folder, _settings(config))
        raise typer.Exit(0)
    studies = read_studies(folder)
    if study:
        studies = {uid: found for uid, found in studies.items() if uid == study}
    if not studies:
        Console(stderr=True).print("No DICOM instance found.")
        raise typer.Exit(1)
    settings = _settings(config)
    matches = {uid: match(headers, settings) for uid, headers in studies.items()}
    if not as_json:
        for uid, found in matches.items():
            _print_table(uid, found)
    elif len(matches) == 1:
        _print_json(next(iter(matches.values())).to_json())
    else:
        _print_json([{"study_instance_uid": uid, **found.to_json()} for uid, found in matches.items()])


def _survey(folder: Path, settings: MatchingSettings) -> None:
    lines = survey(folder, settings, Console(stderr=True))
    if not lines:
        Console(stderr=True).print("No DICOM instance found.")
        raise typer.Exit(1)
    print_survey(lines, _console())


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200)


def _settings(config: Path | None) -> MatchingSettings:
    if config is None:
        return MatchingSettings()
    try:
        return parse_settings(json.loads(config.read_text()).get(SECTION, {})).matching
    except (EnhancementError, ValueError) as error:
        Console(stderr=True).print(str(error))
        raise typer.Exit(2) from None


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _print_table(uid: str, found: StudyMatch) -> None:
    table = Table(title=f"{uid}: {found.decision}")
    for column in ("Role", "Series", "b-values", "Frames", "Size", "Spacing (mm)", "Usable", "Reason"):
        table.add_column(column, overflow="fold")
    for report in found.series:
        table.add_row(
            str(report.role or ""),
            report.series_description or report.series_instance_uid,
            " ".join(f"{b:g}" for b in report.b_values),
            str(report.frames),
            " x ".join(map(str, report.size)),
            " x ".join(f"{step:.2f}" for step in report.spacing_mm),
            "yes" if report.usable else "no",
            report.reason,
        )
    _console().print(table)
    _print_pair(found)


def _print_pair(found: StudyMatch) -> None:
    """How sure the pair is, and what would change or settle the decision."""
    console = _console()
    if found.pair is not None:
        unlike = f"; unlike in {', '.join(found.pair.unlike_in)}" if found.pair.unlike_in else ""
        console.print(f"T1 and T1c: {found.pair.certainty}{unlike}")
        for line in found.pair.evidence:
            console.print(f"  known: {line}")
        for line in found.pair.would_change:
            console.print(f"  would change it: {line}")
    for role, hold in found.holds.items():
        console.print(f"{role} is held ({hold.code}): {hold.why}; {hold.settled_by}")


if __name__ == "__main__":
    typer.run(main)
