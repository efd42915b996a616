"""Structured log lines, with the job's id, into Orthanc's own log.

Everything of ours, and what the pipeline says through `logging`, becomes one JSON line. Lines hold Orthanc
identifiers, UIDs and codes, never a patient's data: messages of foreign libraries are not passed on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

Write = Callable[[str, str], None]

_FORBIDDEN = frozenset({"PatientName", "PatientID", "PatientBirthDate", "patient_name", "patient_id"})


def configure(write: Write) -> None:
    """Send structlog and the ``enhancement`` loggers to `write(level, line)`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _without_patient_data,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_args: _OrthancLogger(write),
        cache_logger_on_first_use=False,
    )
    logger = logging.getLogger("enhancement")
    logger.handlers = [_Handler()]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _OrthancLogger:
    """What structlog writes to."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def __getattr__(self, level: str) -> Callable[[str], None]:
        return lambda line: self._write(level, f"enhancement: {line}")


class _Handler(logging.Handler):
    """The standard library's records, by the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        method = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        getattr(log, method, log.info)(record.getMessage(), logger=record.name, exc_info=record.exc_info or None)


def _without_patient_data(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in event.items() if key not in _FORBIDDEN}
