"""How the steps of a job tell where they are, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Called with the stage and the fraction of the whole that is done; what it raises stops the work there.
Progress = Callable[[str, float], None]
#: Called with a line for whoever watches.
Report = Callable[[str], None]


@dataclass
class Stopwatch:
    """Tells a progress callback where the work is, and adds up the seconds of each stage."""

    progress: Progress | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _since: float = 0.0

    def stage(self, name: str, fraction: float) -> None:
        """Begin a stage; what the callback raises stops the work here."""
        self.stop()
        self._stage, self._since = name, time.perf_counter()
        if self.progress is not None:
            self.progress(name, fraction)

    def stop(self) -> None:
        """End the stage under way."""
        if self._stage:
            spent = time.perf_counter() - self._since
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + spent
        self._stage = ""


def within(progress: Progress | None, start: float, end: float) -> Progress | None:
    """The same callback for a part of the work, whose own fractions run from 0 to 1."""
    if progress is None:
        return None
    return lambda stage, fraction: progress(stage, start + (end - start) * fraction)
