"""What a person sees while a network trains."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingProgress:
    """A bar with loss and time left on a terminal; a line now and then in a log file.

    Parameters
    ----------
    title : str
    steps : int
        Last step.
    first : int
        Step to begin at, when resumed.
    every_seconds : float
        Interval of the lines, where there is no terminal.
    """

    def __init__(self, title: str, steps: int, *, first: int = 0, every_seconds: float = 60.0) -> None:
        self._console = Console()
        self._title, self._steps, self._first = title, steps, first
        self._every, self._last_line, self._started = every_seconds, 0.0, time.monotonic()
        self._loss: float | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=steps, completed=first, loss="-")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, step: int, loss: float, validation: dict[str, float] | None) -> None:
        self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        self._bar.update(self._task, completed=step, loss=f"{self._loss:.5f}")
        if validation:
            values = ", ".join(f"{name} {value:.5f}" for name, value in validation.items())
            self._console.print(f"{self._title} step {step}: validation {values}", highlight=False, soft_wrap=True)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line > self._every or step == self._steps):
            self._last_line = now
            each = (now - self._started) / max(step - self._first, 1)
            left = each * (self._steps - step) / 60
            self._console.print(
                f"{self._title} step {step}/{self._steps} loss {self._loss:.5f} {each:.2f} s/step, {left:.0f} min left",
                highlight=False,
                soft_wrap=True,
            )
