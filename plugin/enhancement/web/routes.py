"""The routes: each is listed once, bound to the method of `Operations` that answers it.

`docs/rest.md` is written from this list by ``scripts/document.py``. What a route does is the first line of its
method's docstring.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from enhancement.ledger.states import Priority, State
from enhancement.service.operations import MAX_LISTED, Operations
from enhancement.web.access import Right

_ORTHANC_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}"
# What a path may hold: its pattern, and what it is passed as.
PLACEHOLDERS: dict[str, tuple[str, type[str] | type[int]]] = {
    "study_id": (_ORTHANC_ID, str),
    "series_id": (_ORTHANC_ID, str),
    "job_id": (r"[0-9]{1,18}", int),
}


def _priority(value: object) -> Priority:
    names = {priority.name.lower(): priority for priority in Priority}
    if not isinstance(value, str) or value.lower() not in names:
        raise ValueError(f"must be one of {', '.join(names)}")
    return names[value.lower()]


def _states(value: object) -> tuple[State, ...]:
    names = [name.strip().upper() for name in str(value).split(",") if name.strip()]
    if not set(names) <= set(State):
        raise ValueError(f"must be among {', '.join(State)}, separated by commas")
    return tuple(map(State, names))


class Body(BaseModel):
    """The JSON object that a POST carries. A key that is not listed here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """What may follow the question mark. A name that is not listed here is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Start(Body):
    """How to start a study."""

    recipe: str = Field(default="", description="One of those offered; by default every one that is enabled.")
    priority: Annotated[Priority, BeforeValidator(_priority)] = Field(
        default=Priority.MANUAL,
        description="Who goes first: manual, stat, routine or backfill.",
    )
    force: bool = Field(default=False, description="Do it again although the result is stored.")


class RetryAll(Body):
    """Which failed jobs."""

    code: str = Field(description="The code that they failed with, such as WEIGHTS_MISSING.")


class Withdraw(Body):
    """Why a result is deleted."""

    reason: str = Field(default="", description="Written into the audit record.")


class WithdrawSeries(Withdraw):
    """Why a series is deleted, and which model must have made it."""

    model: str = Field(description="The model's digest; a series that another one made is left alone.")


class ListJobs(Query):
    """Which jobs."""

    study: str = Field(default="", description="Only this study's (Orthanc's identifier).")
    state: Annotated[tuple[State, ...], BeforeValidator(_states)] = Field(
        default=(),
        description="Only jobs in this state, or in these, separated by commas.",
    )
    limit: int = Field(default=100, ge=1, le=MAX_LISTED, description="At most so many.")
    offset: int = Field(default=0, ge=0, le=10**9, description="Leave out so many of the newest.")


class OfModel(Query):
    """Which model."""

    model: str = Field(min_length=1, description="The model's digest, from its manifest.json.")
    since: int = Field(default=0, ge=0, le=10**9, description="Go on from here: `next` of the answer before.")
    limit: int = Field(default=0, ge=0, le=10**9, description="Go through so many series of the archive; 0 for all.")


@dataclass(frozen=True)
class Route:
    """One method of one path.

    Parameters
    ----------
    path : str
        Below ``/enhancement``; each ``{placeholder}`` is one of `PLACEHOLDERS`.
    operation : callable
        A method of `Operations`. It takes the path's placeholders, the query and the body by name. That of a POST is
        also told its `user`.
    status : int
        HTTP status of the answer when all went well.
    """

    method: str
    path: str
    right: Right
    operation: Callable[..., Any]
    body: type[Body] = Body
    query: type[Query] = Query
    status: int = 200

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the whole path of a request must match."""
        found = self.path
        for name, (expression, _) in PLACEHOLDERS.items():
            found = found.replace(f"{{{name}}}", f"(?P<{name}>{expression})")
        return re.compile(f"/enhancement{found}/?")

    @property
    def summary(self) -> str:
        """What the route does, in one line."""
        return (inspect.getdoc(self.operation) or "").partition("\n")[0]


ROUTES = (
    Route("GET", "/status", Right.READ, Operations.status),
    Route("GET", "/health", Right.READ, Operations.health),
    Route("GET", "/jobs", Right.READ, Operations.jobs, query=ListJobs),
    Route("GET", "/jobs/{job_id}", Right.READ, Operations.job),
    Route("POST", "/jobs/{job_id}/cancel", Right.OPERATE, Operations.cancel),
    Route("POST", "/jobs/{job_id}/retry", Right.OPERATE, Operations.retry, status=202),
    Route("POST", "/jobs/retry", Right.OPERATE, Operations.retry_all, body=RetryAll, status=202),
    Route("GET", "/incomplete", Right.READ, Operations.incomplete),
    Route("GET", "/studies/{study_id}", Right.READ, Operations.study),
    Route("POST", "/studies/{study_id}", Right.OPERATE, Operations.start, body=Start, status=202),
    Route("POST", "/studies/{study_id}/cancel", Right.OPERATE, Operations.cancel_study),
    Route("GET", "/studies/{study_id}/explain", Right.READ, Operations.explain),
    Route("GET", "/studies/{study_id}/audit", Right.READ, Operations.audit),
    Route("POST", "/pause", Right.ADMINISTER, Operations.pause),
    Route("POST", "/resume", Right.ADMINISTER, Operations.resume),
    Route("GET", "/settings", Right.ADMINISTER, Operations.settings),
    Route("GET", "/results", Right.ADMINISTER, Operations.results, query=OfModel),
    Route("POST", "/results/{job_id}/withdraw", Right.ADMINISTER, Operations.withdraw, body=Withdraw),
    Route("POST", "/series/{series_id}/withdraw", Right.ADMINISTER, Operations.withdraw_unlisted, body=WithdrawSeries),
)
