"""Matching over a folder of many studies: one line a study, and a summary of what was decided and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.reading.files import read_header
from enhancement.dicom.reading.headers import text
from enhancement.settings import MatchingSettings, Role

_ROLES = (Role.T1, Role.T1C, Role.FLAIR, Role.DWI, Role.ADC, Role.T1C_LOW)


@dataclass(frozen=True)
class Line:
    """What a line of the table shows of a study."""

    study_instance_uid: str
    found: StudyMatch

    @property
    def certainty(self) -> str:
        """How sure the pair of T1 and T1c is; empty where there is none."""
        return self.found.pair.certainty if self.found.pair is not None else ""

    @property
    def why(self) -> str:
        """The decision without what would settle it."""
        return self.found.decision.partition(";")[0]


def survey(folder: Path, settings: MatchingSettings, console: Console) -> list[Line]:
    """Match every study under a folder, with a bar on the console; one study is in memory at a time."""
    lines = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "DICOMDIR"]
        studies = _by_study(paths, progress)
        for uid, members in progress.track(sorted(studies.items()), description="matching studies"):
            headers = [ds for path in members if (ds := read_header(path)) is not None]
            lines.append(Line(uid, match(headers, settings)))
    return lines


def _by_study(paths: list[Path], progress: Progress) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in progress.track(paths, description="sorting files"):
        if (ds := read_header(path)) is not None and text(ds, "SeriesInstanceUID"):
            found[text(ds, "StudyInstanceUID")].append(path)
    return found


def print_survey(lines: list[Line], console: Console) -> None:
    """The table, then how many studies were decided how, and because of what."""
    table = Table("Study", "Decision", "Pair", *map(str, _ROLES), title=f"{len(lines)} studies")
    for line in lines:
        table.add_row(line.study_instance_uid, line.why, line.certainty, *_cells(line.found))
    console.print(table)
    summary = Table("Studies", "Reason", title="Summary")
    for reason, count in reasons(lines):
        summary.add_row(str(count), reason)
    console.print(summary)


def _cells(found: StudyMatch) -> Iterator[str]:
    for role in _ROLES:
        uids = found.uids(role)
        yield "held" if role in found.ambiguous else str(len(uids)) if len(uids) > 1 else "yes" if uids else ""


def reasons(lines: list[Line]) -> list[tuple[str, int]]:
    """Decisions with their number, the commonest first; pairs that are weak or unlike are counted too."""
    counts = Counter(line.why for line in lines)
    counts.update(f"hold, code {hold.code}" for line in lines for hold in line.found.holds.values())
    counts.update(f"pair of T1 and T1c is {line.certainty}" for line in lines if line.certainty)
    for line in lines:
        if line.found.pair is not None:
            counts.update(f"T1 and T1c are unlike in {what}" for what in line.found.pair.unlike_in)
    return counts.most_common()
