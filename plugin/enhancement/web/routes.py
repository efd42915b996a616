"""The REST door: which routes there are, who may use them, and how a fault is answered.

========================================  ======  ===================================================
GET  /enhancement/status                  read    light, reasons, queue, running jobs, model
GET  /enhancement/health                  read    200, or 503 when red: for a load balancer
GET  /enhancement/jobs                    read    ?study=, ?state=, ?limit=; oldest first
GET  /enhancement/jobs/{id}               read    one job with its attempts and audit record
POST /enhancement/jobs/{id}/cancel        operate
POST /enhancement/jobs/{id}/retry         operate
POST /enhancement/jobs/retry              operate {"code": "WEIGHTS_MISSING"}: every job that FAILED with it
GET  /enhancement/incomplete              read    studies that lack series: which, and since when
GET  /enhancement/studies/{id}            read    what the button shows
POST /enhancement/studies/{id}            operate start; {"priority": "manual", "force": false}
POST /enhancement/studies/{id}/cancel     operate
GET  /enhancement/studies/{id}/explain    read    which series plays which role, and why
POST /enhancement/pause, .../resume       administer
GET  /enhancement/settings                administer
GET  /enhancement/results?model=DIGEST    administer
POST /enhancement/results/{id}/withdraw   administer  {"reason": "..."}
POST /enhancement/series/{id}/withdraw    administer  {"model": DIGEST, "reason": "..."}: one without a job
========================================  ======  ===================================================

Every answer is JSON; a fault has `code`, `message` and `advice`, and never a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from enhancement.errors import ArchiveError, EnhancementError, InputError, LedgerError
from enhancement.host.messages import Answer, Request, problem
from enhancement.service.operations import Operations
from enhancement.settings import AccessSettings
from enhancement.web import access
from enhancement.web.access import Right

log = structlog.get_logger("enhancement.routes")

_STUDY = r"(?P<study_id>[0-9a-f]{8}(?:-[0-9a-f]{8}){4})"
_SERIES = _STUDY.replace("study_id", "series_id")
_JOB = r"(?P<job_id>[0-9]{1,18})"

_STATUS_OF_CODE = {
    "NO_SUCH_JOB": 404,
    "NO_SUCH_STUDY": 404,
    "STUDY_GONE": 404,
    "WRONG_STATE": 409,
    "QUEUE_FULL": 429,
    "BUSY": 503,
    "DISABLED": 409,
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(_Body):
    """No parameter."""


class Start(_Body):
    """How to start a study."""

    priority: str = "manual"
    force: bool = False


class RetryAll(_Body):
    """Which dead letters."""

    code: str


class Withdraw(_Body):
    """Why a result is withdrawn."""

    reason: str = ""


class WithdrawSeries(_Body):
    """Why, and of which model it must be."""

    model: str
    reason: str = ""


@dataclass(frozen=True)
class Call:
    """A request that passed the door."""

    user: str
    query: Mapping[str, str]
    parameters: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    right: Right
    handle: Callable[[Operations, Call], Answer]
    body: type[_Body] = Nothing

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(f"/enhancement{self.path}/?")


def _status(service: Operations, _call: Call) -> Answer:
    return Answer(200, service.status())


def _health(service: Operations, _call: Call) -> Answer:
    body = service.health.to_json()
    return Answer(503 if body["state"] == "red" else 200, body)


def _jobs(service: Operations, call: Call) -> Answer:
    return Answer(200, {"jobs": service.jobs(call.query)})


def _job(service: Operations, call: Call) -> Answer:
    return Answer(200, service.job(int(call.parameters["job_id"])))


def _cancel(service: Operations, call: Call) -> Answer:
    return Answer(200, service.cancel(int(call.parameters["job_id"]), call.user))


def _retry(service: Operations, call: Call) -> Answer:
    return Answer(202, service.retry(int(call.parameters["job_id"]), call.user))


def _incomplete(service: Operations, _call: Call) -> Answer:
    return Answer(200, {"studies": service.incomplete()})


def _retry_all(service: Operations, call: Call) -> Answer:
    return Answer(202, service.retry_all(call.body.code, call.user))


def _study(service: Operations, call: Call) -> Answer:
    return Answer(200, service.study(call.parameters["study_id"]))


def _start(service: Operations, call: Call) -> Answer:
    return Answer(
        202, service.start(call.parameters["study_id"], call.body.priority, force=call.body.force, user=call.user)
    )


def _cancel_study(service: Operations, call: Call) -> Answer:
    return Answer(200, service.cancel_study(call.parameters["study_id"], call.user))


def _explain(service: Operations, call: Call) -> Answer:
    return Answer(200, service.explain(call.parameters["study_id"]))


def _pause(service: Operations, call: Call) -> Answer:
    return Answer(200, service.pause(call.user))


def _resume(service: Operations, call: Call) -> Answer:
    return Answer(200, service.resume(call.user))


def _settings(service: Operations, _call: Call) -> Answer:
    return Answer(200, service.settings_json())


def _results(service: Operations, call: Call) -> Answer:
    return Answer(200, service.results(call.query.get("model", "")))


def _withdraw(service: Operations, call: Call) -> Answer:
    return Answer(200, service.withdraw(int(call.parameters["job_id"]), call.body.reason, call.user))


def _withdraw_unlisted(service: Operations, call: Call) -> Answer:
    series_id = call.parameters["series_id"]
    return Answer(200, service.withdraw_unlisted(series_id, call.body.model, call.body.reason, call.user))


ROUTES = (
    Route("GET", "/status", Right.READ, _status),
    Route("GET", "/health", Right.READ, _health),
    Route("GET", "/jobs", Right.READ, _jobs),
    Route("GET", f"/jobs/{_JOB}", Right.READ, _job),
    Route("POST", f"/jobs/{_JOB}/cancel", Right.OPERATE, _cancel),
    Route("POST", f"/jobs/{_JOB}/retry", Right.OPERATE, _retry),
    Route("POST", "/jobs/retry", Right.OPERATE, _retry_all, RetryAll),
    Route("GET", "/incomplete", Right.READ, _incomplete),
    Route("GET", f"/studies/{_STUDY}", Right.READ, _study),
    Route("POST", f"/studies/{_STUDY}", Right.OPERATE, _start, Start),
    Route("POST", f"/studies/{_STUDY}/cancel", Right.OPERATE, _cancel_study),
    Route("GET", f"/studies/{_STUDY}/explain", Right.READ, _explain),
    Route("POST", "/pause", Right.ADMINISTER, _pause),
    Route("POST", "/resume", Right.ADMINISTER, _resume),
    Route("GET", "/settings", Right.ADMINISTER, _settings),
    Route("GET", "/results", Right.ADMINISTER, _results),
    Route("POST", f"/results/{_JOB}/withdraw", Right.ADMINISTER, _withdraw, Withdraw),
    Route("POST", f"/series/{_SERIES}/withdraw", Right.ADMINISTER, _withdraw_unlisted, WithdrawSeries),
)


class Router:
    """Answers every request below /enhancement.

    Parameters
    ----------
    authenticated : bool
        Whether Orthanc checks passwords, so that the user's name is to be believed.
    """

    def __init__(self, service: Operations, settings: AccessSettings, *, authenticated: bool) -> None:
        self._service = service
        self._settings = settings
        self._authenticated = authenticated
        self._routes = [(route, route.pattern) for route in ROUTES]

    def answer(self, request: Request) -> Answer:
        """Whatever is asked, an answer; never an exception."""
        try:
            return self._dispatch(request)
        except EnhancementError as error:
            return problem(_status_of(error), error.code, error.message, error.advice)
        except Exception as error:  # a fault of ours; the caller gets no inner detail
            log.error("request failed", method=request.method, error=type(error).__name__, exc_info=True)
            return problem(503, "INTERNAL", "The request could not be answered.", "See Orthanc's log.")

    def _dispatch(self, request: Request) -> Answer:
        matches = [(route, found) for route, pattern in self._routes if (found := pattern.fullmatch(request.path))]
        if not matches:
            return problem(404, "NO_SUCH_ROUTE", "There is no such route, or the identifier is malformed.")
        for route, found in matches:
            if route.method == request.method:
                return self._call(request, route, found.groupdict())
        allowed = ", ".join(sorted({route.method for route, _ in matches}))
        # Not 405: Orthanc 1.10 gives that status no body, and drops the connection of a plugin that tries.
        return problem(400, "METHOD", f"This route takes {allowed}.", Allow=allowed)

    def _call(self, request: Request, route: Route, parameters: Mapping[str, str]) -> Answer:
        user = access.user_of(request, self._settings, authenticated=self._authenticated)
        refusal = access.refuse(request, route.right, user, self._settings)
        if refusal is not None:
            return refusal
        document = access.json_body(request)
        if isinstance(document, Answer):
            return document
        try:
            body = route.body.model_validate(document)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            return problem(400, "BODY", f"The body is not what this route takes: {faults[:500]}")
        return route.handle(self._service, Call(user, request.query, parameters, body))


def _status_of(error: EnhancementError) -> int:
    if error.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[error.code]
    if isinstance(error, InputError):
        return 400
    if isinstance(error, ArchiveError) and error.status == 404:
        return 404
    if isinstance(error, LedgerError):
        return 503
    return 503
