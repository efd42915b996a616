"""What the terminal shows of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from enhancing.work import Done


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A bar that names the stage; the callable is what the pipeline takes."""
    columns = (TextColumn("{task.description:32}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda stage, fraction: bar.update(task, description=stage, completed=fraction)
        bar.update(task, description="done", completed=1.0)


def report(console: Console, done: Done) -> None:
    """Stage times, warnings, and the paths on standard output."""
    table = Table("stage", "s", title=f"{done.predictions} predictions averaged")
    for stage, seconds in done.seconds.items():
        table.add_row(stage, f"{seconds:.1f}")
    table.add_row("all", f"{sum(done.seconds.values()):.1f}")
    console.print(table)
    if done.missing_roles:
        console.print(f"Without {', '.join(done.missing_roles)}: the study has none.")
    for note in done.notes:
        console.print(f"Warning: {note}")
    for path in done.written:
        print(path)


def fail(console: Console, message: str, code: int) -> NoReturn:
    """One line, and the exit code."""
    console.print(message, style="red", highlight=False)
    raise typer.Exit(code)
