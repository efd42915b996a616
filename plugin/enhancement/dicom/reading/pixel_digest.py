"""A digest of a series' pixels: what a copy keeps, whatever happened to its header."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from enhancement.dicom.reading.headers import UNREADABLE, text
from enhancement.dicom.reading.pixels import check_instance, transfer_syntax
from enhancement.errors import UnreadablePixels


def pixel_digest(instances: Iterable[Dataset]) -> str:
    """SHA-256 of the stored values of all slices, in no order; the same after any lossless compression.

    Raises
    ------
    UnreadablePixels
        If a slice cannot be decoded.
    """
    slices = sorted(_digest(ds) for ds in instances)
    return hashlib.sha256("\n".join(slices).encode("ascii")).hexdigest()


def _digest(ds: Dataset) -> str:
    check_instance(ds)
    transfer_syntax(ds)  # where the file meta lost it, it is put back
    try:
        values = np.asarray(pixel_array(ds, raw=True))
    except (*UNREADABLE, RuntimeError, MemoryError, OSError) as error:
        uid = text(ds, "SOPInstanceUID")
        words = f"Pixels of instance {uid} cannot be decoded ({type(error).__name__})."
        raise UnreadablePixels(words, code="UNREADABLE_PIXELS") from error
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()
