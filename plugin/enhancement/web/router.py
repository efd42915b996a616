"""The router: it answers every request below /enhancement.

Every answer is JSON. A request that is not done is answered by its problem (`code`, `reason`, `advice`), never by a
traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from pydantic import ValidationError

from enhancement.errors import ArchiveError, EnhancementError, InputError, Problem
from enhancement.host.messages import Answer, Request, problem_answer
from enhancement.service.operations import Operations
from enhancement.settings import AccessSettings
from enhancement.web import access
from enhancement.web.routes import PLACEHOLDERS, ROUTES, Route

log = structlog.get_logger("enhancement.routes")

_STATUS_OF_CODE = {
    "NO_SUCH_JOB": 404,
    "NO_SUCH_STUDY": 404,
    "STUDY_GONE": 404,
    "WRONG_STATE": 409,
    "QUEUE_FULL": 429,
    "BUSY": 503,
    "DISABLED": 409,
}
_NO_SUCH_ROUTE = Problem("NO_SUCH_ROUTE", "There is no such route, or the identifier is malformed.")
_FAULT = Problem("INTERNAL", "The request could not be answered.", "See Orthanc's log; report it as a fault.")


class Router:
    """Finds the route of a request, asks whether its user may, and calls the operation.

    Parameters
    ----------
    authenticated : bool
        Whether Orthanc checks passwords, so that the user's name is to be believed.
    """

    def __init__(self, operations: Operations, settings: AccessSettings, *, authenticated: bool) -> None:
        self._operations = operations
        self._settings = settings
        self._authenticated = authenticated
        self._routes = [(route, route.pattern) for route in ROUTES]

    def answer(self, request: Request) -> Answer:
        """Whatever is asked, an answer; never an exception."""
        try:
            return self._dispatch(request)
        except EnhancementError as error:
            return problem_answer(_status_of(error), error.problem)
        except Exception as error:  # a fault of ours; the caller gets no inner detail
            log.error("request failed", method=request.method, error=type(error).__name__, exc_info=True)
            return problem_answer(503, _FAULT)

    def _dispatch(self, request: Request) -> Answer:
        matches = [(route, found) for route, pattern in self._routes if (found := pattern.fullmatch(request.path))]
        if not matches:
            return problem_answer(404, _NO_SUCH_ROUTE)
        for route, found in matches:
            if route.method == request.method:
                return self._call(request, route, found.groupdict())
        allowed = ", ".join(sorted({route.method for route, _ in matches}))
        # Not 405: Orthanc 1.10 gives that status no body, and drops the connection of a plugin that tries.
        return problem_answer(400, Problem("METHOD", f"This route takes {allowed}."), Allow=allowed)

    def _call(self, request: Request, route: Route, placeholders: Mapping[str, str]) -> Answer:
        user = access.user_of(request, self._settings, authenticated=self._authenticated)
        refusal = access.refuse(request, route.right, user, self._settings)
        if refusal is not None:
            return refusal
        document = access.json_body(request)
        if isinstance(document, Answer):
            return document
        arguments: dict[str, Any] = {name: PLACEHOLDERS[name][1](value) for name, value in placeholders.items()}
        try:
            arguments |= dict(route.query.model_validate(dict(request.query)))
        except ValidationError as error:
            return problem_answer(400, Problem("QUERY", f"The query is not what this route takes: {_faults(error)}"))
        try:
            arguments |= dict(route.body.model_validate(document))
        except ValidationError as error:
            return problem_answer(400, Problem("BODY", f"The body is not what this route takes: {_faults(error)}"))
        if route.method == "POST":
            arguments["user"] = user
        found = route.operation(self._operations, **arguments)
        return found if isinstance(found, Answer) else Answer(route.status, found)


def _faults(error: ValidationError) -> str:
    """What is wrong, by field; without the values, which may be anything."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())[:500]


def _status_of(error: EnhancementError) -> int:
    if error.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[error.code]
    if isinstance(error, InputError):
        return 400
    if isinstance(error, ArchiveError) and error.status == 404:
        return 404
    return 503
