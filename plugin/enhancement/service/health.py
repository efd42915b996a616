"""Green, yellow or red, and why: what a person or a load balancer wants to know first."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Light(StrEnum):
    """GREEN works, YELLOW works but somebody should look, RED does not enhance anything."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True)
class Reason:
    """Why the light is not green."""

    light: Light
    code: str
    message: str
    advice: str = ""


class Health:
    """Reasons by the part of the service that gave them; safe from any thread."""

    def __init__(self) -> None:
        self._reasons: dict[str, Reason] = {}
        self._lock = threading.Lock()

    def report(self, part: str, light: Light, code: str, message: str, advice: str = "") -> bool:
        """Set the state of one part; whether that is news."""
        reason = Reason(light, code, message, advice)
        with self._lock:
            news = self._reasons.get(part) != reason
            self._reasons[part] = reason
        return news

    def clear(self, part: str) -> None:
        """The part is well."""
        with self._lock:
            self._reasons.pop(part, None)

    def light(self) -> Light:
        """The worst of all parts."""
        with self._lock:
            lights = {reason.light for reason in self._reasons.values()}
        return Light.RED if Light.RED in lights else Light.YELLOW if Light.YELLOW in lights else Light.GREEN

    def to_json(self) -> dict[str, Any]:
        """``{"state": ..., "reasons": [...]}``, the worst first."""
        with self._lock:
            reasons = sorted(self._reasons.items(), key=lambda item: item[1].light is not Light.RED)
        return {
            "state": str(self.light()),
            "reasons": [
                {
                    "part": part,
                    "state": str(reason.light),
                    "code": reason.code,
                    "message": reason.message,
                    "advice": reason.advice,
                }
                for part, reason in reasons
            ],
        }
