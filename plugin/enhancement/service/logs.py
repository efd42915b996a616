"""Log lines: each is one JSON object in Orthanc's own log, with the job's number.

What the pipeline says through `logging` comes the same way. Lines hold Orthanc identifiers, UIDs and codes, never a
patient's data. The words of foreign libraries are left out, since they may quote a header.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
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
            _frames_only,
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
    """Sends records of the standard library's `logging` the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        method = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        getattr(log, method, log.info)(record.getMessage(), logger=record.name, exc_info=record.exc_info or None)


def _frames_only(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Where an error came from, without its message: that of a library may quote a header."""
    info = event.pop("exc_info", None)
    if info:
        error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
        if isinstance(error, BaseException):
            event["raised"] = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)
            event["at"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    return event


def _without_patient_data(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in event.items() if key not in _FORBIDDEN}
