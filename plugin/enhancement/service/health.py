"""The light of the service: green, yellow or red, and why."""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import Any

from enhancement.errors import Problem


class Light(StrEnum):
    """GREEN: all is well. YELLOW: studies are enhanced, and somebody should look. RED: nothing is enhanced."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


class Health:
    """Keeps what is wrong with each part of the service; safe from any thread."""

    def __init__(self) -> None:
        self._problems: dict[str, tuple[Light, Problem]] = {}
        self._lock = threading.Lock()

    def report(self, part: str, light: Light, problem: Problem) -> bool:
        """Note what is wrong with one part; return whether that is news."""
        with self._lock:
            news = self._problems.get(part) != (light, problem)
            self._problems[part] = (light, problem)
        return news

    def clear(self, part: str) -> None:
        """The part is well."""
        with self._lock:
            self._problems.pop(part, None)

    def light(self) -> Light:
        """The worst of all parts."""
        with self._lock:
            lights = {light for light, _ in self._problems.values()}
        return Light.RED if Light.RED in lights else Light.YELLOW if Light.YELLOW in lights else Light.GREEN

    def to_json(self) -> dict[str, Any]:
        """``{"light": ..., "problems": [{"part", "light", "code", "reason", "advice"}, ...]}``, the worst first."""
        with self._lock:
            parts = sorted(self._problems.items(), key=lambda item: item[1][0] is not Light.RED)
        light = str(self.light())
        problems = [{"part": part, "light": str(own), **problem.to_json()} for part, (own, problem) in parts]
        # Monitors that were set up before the first release read "state" and "reasons".
        return {"light": light, "problems": problems, "state": light, "reasons": problems}
