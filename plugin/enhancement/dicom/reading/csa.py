"""Siemens' CSA header: a private binary table of name and text values inside one attribute.

Layout after https://nipy.org/nibabel/dicom/siemens_csa.html; CSA1 (before 2005) differs by its start and by
how it counts the length of an item.
"""

from __future__ import annotations

import struct
from functools import lru_cache

_TAG = struct.Struct("<64si4siii")
_ITEM = struct.Struct("<4i")
_MOST_TAGS = 1000
_MOST_ITEMS = 100_000


@lru_cache(maxsize=64)
def parse_csa(raw: bytes) -> dict[str, tuple[str, ...]]:
    """All entries as text; {} where the bytes are not such a table, what was read where they are cut short."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        is_second = raw.startswith(b"SV10")
        at = 8 if is_second else 0
        tag_count = struct.unpack_from("<I", raw, at)[0]
        at += 8
        first_count = -1
        for _ in range(min(tag_count, _MOST_TAGS)):
            name, _vm, _vr, _type, item_count, _check = _TAG.unpack_from(raw, at)
            at += _TAG.size
            first_count = item_count if first_count < 0 else first_count
            values = []
            for _ in range(min(max(item_count, 0), _MOST_ITEMS)):
                lengths = _ITEM.unpack_from(raw, at)
                at += _ITEM.size
                length = lengths[1] if is_second else lengths[0] - first_count
                if length < 0 or at + length > len(raw):
                    return found
                if value := raw[at : at + length].split(b"\0")[0].decode("latin-1").strip():
                    values.append(value)
                at += length + -length % 4
            found[name.split(b"\0")[0].decode("latin-1")] = tuple(values)
    except struct.error:
        pass
    return found
