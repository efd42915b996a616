"""Which way an echo-planar image is distorted: the axis of phase encoding, and its polarity where the scanner writes
it.

Images of opposite polarity are stretched where the others are squeezed, so that their ratio is no ADC. Philips writes
no
polarity; there the name is all there is. Sources: dcm2niix issues 352, 410, 674, 981; MRtrix3 3087.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom.dataset import Dataset

from enhancement.dicom.reading.headers import items, text, walk_groups
from enhancement.dicom.reading.private_tags import PrivateBlocks, vendor_of

_WAY = re.compile(r"(?<![a-z0-9])(ap|pa|lr|rl|hf|fh|si|is|up|down|blip ?up|blip ?down|a p|p a|l r|r l)(?![a-z0-9])")
_REVERSED = re.compile(
    r"(?<![a-z])(?:rev(?:erse[d]?|pol|pe|phase)?|rpe|inv(?:erse[d]?|pe|ert\w*)?|flip(?:ped)?|opp(?:osite)?|neg|topup|pepolar|fmap"
    r"|field ?map|distort\w*|sdc|revb0|blip|pepol\w*)(?![a-z])"
)
_SEPARATORS = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=[a-z])")


def polarity_of(ds: Dataset) -> int | None:
    """1 or -1 where the scanner writes which way it encoded, None elsewhere; comparable within one maker only."""
    private = PrivateBlocks(ds)
    vendor = vendor_of(ds)
    if vendor == "ge":
        order = text(ds, "RectilinearPhaseEncodeReordering").upper() or _nested_text(ds)
        return {"LINEAR": 1, "REVERSE_LINEAR": -1}.get(order)
    if vendor == "uih":
        return _sign(private.numbers(0x0065, "Image Private Header", 0x58))
    if found := private.csa("PhaseEncodingDirectionPositive"):
        return _sign(found)
    for place in _xa_places(ds):
        if (sign := _sign(PrivateBlocks(place).numbers(0x0021, "SIEMENS MR SD", 0x1C))) is not None:
            return sign
    order = text(ds, "RectilinearPhaseEncodeReordering").upper()
    return -1 if order == "REVERSE_LINEAR" else None


def _sign(found: tuple[float, ...]) -> int | None:
    return None if not found else 1 if found[0] == 1 else -1 if found[0] == 0 else None


def _xa_places(ds: Dataset) -> Iterator[Dataset]:
    """Where Siemens XA keeps the polarity: in the object, or one level down in its functional groups."""
    yield ds
    for group in walk_groups(ds, 0):
        yield group
        for tag in tuple(group.keys()):
            if tag.is_private:
                yield from items(group, tag)[:1]


def _nested_text(ds: Dataset) -> str:
    for group in walk_groups(ds, 0):
        for item in items(group, "MRModifierSequence")[:1]:
            if found := text(item, "RectilinearPhaseEncodeReordering"):
                return found.upper()
    return ""


def way_by_name(description: str) -> frozenset[str]:
    """What a description says of the way: AP, PA and the like, and "reversed"."""
    joined = " ".join(part for part in _SEPARATORS.split(description.lower()) if part)
    found = {match.replace(" ", "") for match in _WAY.findall(joined)}
    if _REVERSED.search(joined):
        found.add("reversed")
    return frozenset(found)


def same_way(first: Dataset, second: Dataset) -> bool:
    """Whether two series may be distorted alike: by the scanner's word, and where it is silent by their names."""
    signs = polarity_of(first), polarity_of(second)
    if None not in signs and vendor_of(first) == vendor_of(second):
        return signs[0] == signs[1]
    return way_by_name(text(first, "SeriesDescription")) == way_by_name(text(second, "SeriesDescription"))
