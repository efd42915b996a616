"""Deterministic identifiers: the same inputs, model and settings always name the same objects.

A UID is `2.25.` and the decimal value of a version 8 UUID (RFC 9562; PS3.5 B.2) made from a SHA-256. A resend, a
restart or a double click therefore writes objects that the archive already has, instead of a second result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

UUID_ROOT = "2.25."


def canonical_digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of a JSON value written in one way only (sorted keys, ASCII, no spaces)."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def digest_uid(*parts: Any) -> str:
    """A UID that is a pure function of `parts`.

    Returns
    -------
    str
        At most 44 characters, valid by PS3.5 9.1.

    Examples
    --------
    >>> digest_uid("a", 1) == digest_uid("a", 1), digest_uid("a", 1) == digest_uid("a", "1")
    (True, False)
    """
    number = int(canonical_digest(list(parts))[:32], 16)
    number = number & ~(0xF << 76) | (8 << 76)  # version 8: a name-based UUID by a hash of our choice
    number = number & ~(0b11 << 62) | (0b10 << 62)  # the variant of RFC 9562
    return UUID_ROOT + str(number)


@dataclass(frozen=True)
class ResultIdentity:
    """What makes one derived series the same as, or another than, an earlier one.

    Parameters
    ----------
    study_instance_uid : str
    fingerprint : str
        SHA-256 over the study, the sorted source SOP Instance UIDs, the model digest, recipe and settings.
    """

    study_instance_uid: str
    fingerprint: str

    @classmethod
    def of(
        cls,
        study_instance_uid: str,
        source_sop_instance_uids: Iterable[str],
        *,
        model_digest: str,
        recipe: str,
        settings: Mapping[str, Any],
    ) -> ResultIdentity:
        """Hash everything that the pixels depend on; the order and repetition of the sources do not count."""
        sources = sorted(set(source_sop_instance_uids))
        value = [study_instance_uid, sources, model_digest, recipe, dict(settings)]
        return cls(study_instance_uid, canonical_digest(value))

    @property
    def series_instance_uid(self) -> str:
        return digest_uid("series", self.fingerprint)

    def sop_instance_uid(self, index: int) -> str:
        """UID of the slice at `index` (k of the image)."""
        return digest_uid("instance", self.fingerprint, index)
