"""Access: who asks, whether he may, and whether a page elsewhere could have made the request."""

from __future__ import annotations

import base64
import binascii
import json
from enum import StrEnum
from typing import Any

from enhancement.errors import Problem
from enhancement.host.messages import Answer, Request, problem_answer
from enhancement.settings import AccessSettings

MAX_BODY_BYTES = 16 * 1024
MAX_BRACKETS = 64
HEADER = "x-contrast-enhancement"

_CROSS_SITE = Problem(
    "CROSS_SITE",
    "The request could have come from a page elsewhere.",
    "Send Content-Type: application/json, or the header X-Contrast-Enhancement, from this server's pages.",
)
_NOT_JSON = Problem("NOT_JSON", "The body is not JSON.", "Send a JSON object.")
_NOT_AN_OBJECT = Problem("NOT_AN_OBJECT", "The body is JSON, but not an object.", "Send a JSON object.")
_TOO_LARGE = Problem("BODY_TOO_LARGE", f"The body has more than {MAX_BODY_BYTES} bytes.")
_NOT_FLAT = Problem("NOT_FLAT", f"The body has more than {MAX_BRACKETS} brackets; no route takes that.")


class Right(StrEnum):
    """What a caller needs to be allowed to use a route."""

    READ = "read"
    OPERATE = "operate"
    ADMINISTER = "administer"


def user_of(request: Request, settings: AccessSettings, *, authenticated: bool) -> str:
    """The caller's name, or "" where nobody vouches for one.

    Orthanc has checked the password before it calls us, if its authentication is on; only then is the name in
    the Authorization header to be believed.
    """
    if settings.trusted_user_header:
        return request.headers.get(settings.trusted_user_header.lower(), "")[:128]
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if not authenticated or scheme.lower() != "basic":
        return ""
    try:
        name, separator, _ = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return name[:128] if separator else ""


def refuse(request: Request, right: Right, user: str, settings: AccessSettings) -> Answer | None:
    """The answer to a caller who may not, or None."""
    if right is Right.READ:
        return None
    allowed = settings.operators if right is Right.OPERATE else settings.administrators
    if "*" not in allowed and user not in allowed:
        reason = f"This user may not {right} here."
        advice = "An administrator can name the user in ContrastEnhancement.Access."
        return problem_answer(403, Problem("FORBIDDEN", reason, advice))
    if request.method == "GET":
        return None
    return _refuse_foreign(request)


def _refuse_foreign(request: Request) -> Answer | None:
    """Refuse what a form or a script of another site can make a browser send with the user's password.

    Such a request can have neither this content type nor this header without asking Orthanc first (a CORS
    preflight), which Orthanc does not grant.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    site = request.headers.get("sec-fetch-site", "none")
    if (media_type != "application/json" and HEADER not in request.headers) or site in ("cross-site", "same-site"):
        return problem_answer(403, _CROSS_SITE)
    return None


def json_body(request: Request) -> dict[str, Any] | Answer:
    """The body as an object ({} where there is none), or the answer that refuses it."""
    if len(request.body) > MAX_BODY_BYTES:
        return problem_answer(413, _TOO_LARGE)
    if not request.body.strip():
        return {}
    if request.body.count(b"[") + request.body.count(b"{") > MAX_BRACKETS:
        return problem_answer(400, _NOT_FLAT)
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return problem_answer(400, _NOT_JSON)
    if not isinstance(body, dict):
        return problem_answer(400, _NOT_AN_OBJECT)
    return body
