"""Metrics: the numbers that Orthanc shows at /tools/metrics-prometheus."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping

import psutil

from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import State
from enhancement.service.health import Health, Light

Gauge = Callable[[str, float], None]

_LIGHTS = {Light.GREEN: 0, Light.YELLOW: 1, Light.RED: 2}


class Metrics:
    """Sets Orthanc's gauges from the ledger, and from the stages of the last job."""

    def __init__(self, gauge: Gauge, ledger: Ledger, health: Health) -> None:
        self._gauge = gauge
        self._ledger = ledger
        self._health = health
        self._stages: dict[str, float] = {}
        self._lock = threading.Lock()

    def note_stages(self, seconds: Mapping[str, float]) -> None:
        """The stages of the job just stored."""
        with self._lock:
            self._stages.update(seconds)

    def publish(self) -> None:
        """Set every gauge.

        Raises
        ------
        LedgerError
            If the ledger cannot be read.
        """
        # First, because what follows fails with the ledger, and the light is then what matters.
        self._gauge("enhancement_light", float(_LIGHTS[self._health.light()]))
        counts = self._ledger.records.counts()
        arrivals, incomplete = self._ledger.inbox.counts()
        values = {f"enhancement_jobs_{state.lower()}": float(count) for state, count in counts.by_state.items()}
        values |= {
            "enhancement_queue_length": float(counts.by_state[State.QUEUED]),
            "enhancement_arrivals": float(arrivals),
            "enhancement_studies_incomplete": float(incomplete),
            "enhancement_oldest_queued_seconds": counts.oldest_queued_s,
            "enhancement_oldest_job_seconds": counts.oldest_open_s,
            "enhancement_mean_job_seconds": counts.mean_attempt_s,
        }
        with self._lock:
            values |= {f"enhancement_stage_seconds_{_word(name)}": value for name, value in self._stages.items()}
        values |= _device_memory()
        for name, value in values.items():
            self._gauge(name, value)


def _word(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name.lower())


def _device_memory() -> dict[str, float]:
    """Bytes that this process and the GPUs hold, without bringing torch in."""
    values = {"enhancement_resident_bytes": float(psutil.Process().memory_info().rss)}
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        for index in range(cuda.device_count()):
            free, total = cuda.mem_get_info(index)
            values[f"enhancement_device_{index}_used_bytes"] = float(total - free)
    return values
