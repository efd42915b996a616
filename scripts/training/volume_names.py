"""Which file of a patient's folder is which volume: one naming for training and evaluation."""

from __future__ import annotations

import re
from pathlib import Path

from enhancement.errors import InputError

SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
_NAMES = {
    "t1": ("t1", "t1n", "t1w"),
    "t1c": ("t1c", "t1ce", "t1gd", "t1post"),
    "flair": ("flair", "fla", "t2f"),
    "adc": ("adc",),
    "seg": ("seg", "segmentation", "mask"),
}
_LOW = ("low", "lowdose")


def find_volumes(folder: Path) -> dict[str, Path]:
    """Which file of a folder plays which role, by the words of its name.

    The last word decides that names a role: ``BraTS-GLI-00001-000-t1c.nii.gz`` is the T1c. A T1c with "low" after
    that word is the low-dose one: ``t1c_low.nii.gz``. A mask of the brain is none of a tumour, and is passed over.

    Returns
    -------
    dict of role to Path
        "t1", "t1c", "t1c_low", "flair", "adc" and "seg", those that there are.

    Raises
    ------
    InputError
        If two files name one role, other than a segmentation, of which ``seg_simple`` (a fusion) or the first is taken.
    """
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES)):
        words = re.split(r"[-_.\s]+", path.name.lower())
        role = _role(words)
        if not role:
            continue
        if role in found and role != "seg":
            raise InputError(f"one {role} volume was needed, found {found[role].name} and {path.name}")
        if role not in found or "simple" in words:
            found[role] = path
    return found


def _role(words: list[str]) -> str:
    roles = [(role, place) for place, word in enumerate(words) for role, names in _NAMES.items() if word in names]
    if any(role == "seg" for role, _ in roles):
        return "" if "mask" in words and "brain" in words else "seg"
    role, place = roles[-1] if roles else ("", 0)
    return "t1c_low" if role == "t1c" and any(word in _LOW for word in words[place + 1 :]) else role
