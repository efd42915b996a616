"""Who asks, and whether he may: roles, and the refusal of requests that a foreign page could have sent."""

from __future__ import annotations

import base64
import binascii
import json
from enum import StrEnum
from typing import Any

from enhancement.host.messages import Answer, Request, problem
from enhancement.settings import AccessSettings

MAX_BODY_BYTES = 16 * 1024
MAX_BRACKETS = 64
HEADER = "x-contrast-enhancement"


class Right(StrEnum):
    """What a route asks of its caller."""

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
        return problem(
            403,
            "FORBIDDEN",
            f"This user may not {right} here.",
            "An administrator can name the user in ContrastEnhancement.Access.",
        )
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
        return problem(
            403,
            "CROSS_SITE",
            "The request could have come from a page elsewhere.",
            "Send Content-Type: application/json, or the header X-Contrast-Enhancement, from this server's pages.",
        )
    return None


def json_body(request: Request) -> dict[str, Any] | Answer:
    """The body as an object ({} where there is none), or the answer that refuses it."""
    if len(request.body) > MAX_BODY_BYTES:
        return problem(413, "BODY_TOO_LARGE", f"The body has more than {MAX_BODY_BYTES} bytes.")
    if not request.body.strip():
        return {}
    if request.body.count(b"[") + request.body.count(b"{") > MAX_BRACKETS:
        return problem(400, "NOT_FLAT", f"The body has more than {MAX_BRACKETS} brackets; no route takes that.")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return problem(400, "NOT_JSON", "The body is not JSON.", "Send a JSON object.")
    if not isinstance(body, dict):
        return problem(400, "NOT_AN_OBJECT", "The body is JSON, but not an object.", "Send a JSON object.")
    return body
