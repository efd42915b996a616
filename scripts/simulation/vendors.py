"""How three makers of scanners write their headers: names, sequence terms and where the b-value hides.

The forms follow real series of each maker (GE SIGNA MR29, Siemens syngo E11, Philips R5.3); everything personal is
invented. Only what matching and reading look at is imitated, not every private group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydicom.dataset import Dataset

Vendor = Literal["ge", "siemens", "philips"]


@dataclass(frozen=True)
class Contrast:
    """How one maker writes one kind of series."""

    description: str
    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    scan_options: tuple[str, ...] = ()
    sequence_name: str = ""
    acquisition_type: Literal["2D", "3D"] = "3D"
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "OTHER")


@dataclass(frozen=True)
class Maker:
    """A scanner."""

    manufacturer: str
    model: str
    software: tuple[str, ...]
    contrasts: Mapping[str, Contrast]
    mark_b_value: Callable[[Dataset, float], None]
    rescaled: bool = False


def _ge_b_value(ds: Dataset, b_value: float) -> None:
    """GE leaves the public tag out at b = 0; the private one is always there."""
    if b_value > 0:
        ds.DiffusionBValue = float(b_value)
    block = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "IS", [round(b_value), 8, 0, 0])


def _siemens_b_value(ds: Dataset, b_value: float) -> None:
    """Up to E11 the b-value is in a private group alone."""
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", [round(b_value)])
    block.add_new(0x0D, "CS", "NONE" if b_value == 0 else "ISOTROPIC")
    if "SequenceName" in ds:
        del ds.SequenceName  # the element may be shared with other instances
    ds.SequenceName = f"*ep_b{round(b_value)}" + ("t" if b_value else "")


def _philips_b_value(ds: Dataset, b_value: float) -> None:
    ds.DiffusionBValue = float(b_value)
    block = ds.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x03, "FL", float(b_value))
    block.add_new(0x04, "CS", "I")


_GE = {
    "T1": Contrast("{plane} 3D T1 FSPGR", ("GR",), ("SS", "SP", "SK"), ("FAST_GEMS", "EDR_GEMS"), "EFGRE3D"),
    "T1C": Contrast("{plane} 3D T1 FSPGR +C", ("GR",), ("SS", "SP", "SK"), ("FAST_GEMS", "EDR_GEMS"), "EFGRE3D"),
    "T1 2D": Contrast("{plane} T1 SE", ("SE",), ("NONE",), ("NPW",), "SE", "2D"),
    "T1C 2D": Contrast("{plane} T1 SE +C", ("SE",), ("NONE",), ("NPW",), "SE", "2D"),
    "FLAIR": Contrast("{plane} T2 FLAIR CUBE", ("SE", "IR"), ("SK",), ("FAST_GEMS", "EDR_GEMS", "FS"), "CUBE"),
    "FLAIR 2D": Contrast("{plane} T2 FLAIR", ("SE", "IR"), ("SK",), ("FAST_GEMS", "FC"), "FSE", "2D"),
    "T2": Contrast("{plane} T2 PROPELLER", ("SE",), ("SK",), ("FAST_GEMS",), "PROPELLER", "2D"),
    "DWI": Contrast("{plane} DWI b1000", ("EP", "SE"), ("NONE",), ("SAT_GEMS", "EPI_GEMS", "PFF", "FS"), "EPI2", "2D"),
    "ADC": Contrast(
        "ADC (10^-6 mm2/s)", ("EP", "SE"), ("NONE",), ("EPI_GEMS",), "", "2D", ("DERIVED", "SECONDARY", "ADC")
    ),
}
_SIEMENS_IMAGE = ("ORIGINAL", "PRIMARY", "M", "ND", "NORM")
_SIEMENS = {
    "T1": Contrast("t1_fl3d_{plane}_iso", ("GR",), ("SP", "OSP"), ("PFP",), "*fl3d1", "3D", _SIEMENS_IMAGE),
    "T1C": Contrast("t1_fl3d_{plane}_iso_KM", ("GR",), ("SP", "OSP"), ("PFP",), "*fl3d1", "3D", _SIEMENS_IMAGE),
    "T1 2D": Contrast("t1_se_{plane}", ("SE",), ("SP", "OSP"), (), "*se2d1", "2D", _SIEMENS_IMAGE),
    "T1C 2D": Contrast("t1_se_{plane}_KM", ("SE",), ("SP", "OSP"), (), "*se2d1", "2D", _SIEMENS_IMAGE),
    "FLAIR": Contrast(
        "t2_space_dark-fluid_{plane}_p2",
        ("SE", "IR"),
        ("SK", "SP", "MP"),
        ("PFP", "FS"),
        "*spcir_278ns",
        "3D",
        _SIEMENS_IMAGE,
    ),
    "FLAIR 2D": Contrast(
        "t2_tirm_{plane}_dark-fluid", ("SE", "IR"), ("SK", "SP", "MP"), ("FS",), "*tir2d1_16", "2D", _SIEMENS_IMAGE
    ),
    "T2": Contrast("t2_tse_{plane}", ("SE",), ("SK", "SP"), (), "*tse2d1_16", "2D", _SIEMENS_IMAGE),
    "DWI": Contrast(
        "ep2d_diff_3scan_trace_p2_TRACEW",
        ("EP",),
        ("SK", "SP"),
        ("PFP", "FS"),
        "*ep_b0",
        "2D",
        ("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "ND", "NORM"),
    ),
    "ADC": Contrast(
        "ep2d_diff_3scan_trace_p2_ADC",
        ("EP",),
        ("SK", "SP"),
        ("PFP", "FS"),
        "*ep_b0_1000",
        "2D",
        ("DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND", "NORM"),
    ),
}
_FFE = ("ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE")
_SE = ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE")
_IR = ("ORIGINAL", "PRIMARY", "M_IR", "M", "IR")
_PHILIPS = {
    "T1": Contrast("T1W_3D_FFE {plane}", ("GR",), ("SS", "SP"), (), "", "3D", _FFE),
    "T1C": Contrast("T1W_3D_FFE {plane} GADO", ("GR",), ("SS", "SP"), (), "", "3D", _FFE),
    "T1 2D": Contrast("T1W_SE {plane}", ("SE",), ("NONE",), (), "", "2D", _SE),
    "T1C 2D": Contrast("T1W_SE {plane} GADO", ("SE",), ("NONE",), (), "", "2D", _SE),
    "FLAIR": Contrast("3D_FLAIR_VISTA {plane}", ("IR",), ("SK", "MP"), ("FS",), "", "3D", _IR),
    "FLAIR 2D": Contrast("FLAIR_longTR {plane}", ("IR",), ("SK", "MP"), (), "", "2D", _IR),
    "T2": Contrast("T2W_TSE {plane}", ("SE",), ("SK",), (), "", "2D", _SE),
    "DWI": Contrast("DWI_SSh b1000", ("SE",), ("SK",), ("PFP", "FS"), "", "2D", _SE),
    "ADC": Contrast("dDWI_SSh ADC", ("SE",), ("SK",), ("FS",), "", "2D", ("DERIVED", "PRIMARY", "ADC", "M", "ADC")),
}
_PLANE_WORDS: dict[Vendor, tuple[str, str, str]] = {
    "ge": ("Sag", "Cor", "Ax"),
    "siemens": ("sag", "cor", "tra"),
    "philips": ("SAG", "COR", "AX"),
}

MAKERS: dict[Vendor, Maker] = {
    "ge": Maker("GE MEDICAL SYSTEMS", "SIGNA Premier", ("29", "LX", "MR29.1_EA_2039.g"), _GE, _ge_b_value),
    "siemens": Maker("SIEMENS", "Skyra", ("syngo MR E11",), _SIEMENS, _siemens_b_value),
    "philips": Maker("Philips Medical Systems", "Ingenia", ("5.3.0", "5.3.0.3"), _PHILIPS, _philips_b_value, True),
}

PROTOCOL: dict[str, dict[str, float]] = {
    "T1": {"RepetitionTime": 8.4, "EchoTime": 3.2, "FlipAngle": 13, "EchoTrainLength": 1},
    "T1C": {"RepetitionTime": 8.4, "EchoTime": 3.2, "FlipAngle": 13, "EchoTrainLength": 1},
    "FLAIR": {"RepetitionTime": 7000, "EchoTime": 118, "InversionTime": 2000, "FlipAngle": 90, "EchoTrainLength": 200},
    "T1 2D": {"RepetitionTime": 520, "EchoTime": 12, "FlipAngle": 90, "EchoTrainLength": 1},
    "T1C 2D": {"RepetitionTime": 520, "EchoTime": 12, "FlipAngle": 90, "EchoTrainLength": 1},
    "FLAIR 2D": {
        "RepetitionTime": 9000,
        "EchoTime": 120,
        "InversionTime": 2400,
        "FlipAngle": 150,
        "EchoTrainLength": 16,
    },
    "T2": {"RepetitionTime": 5200, "EchoTime": 95, "FlipAngle": 120, "EchoTrainLength": 16},
    "DWI": {"RepetitionTime": 5500, "EchoTime": 74, "FlipAngle": 90, "EchoTrainLength": 1},
    "ADC": {"RepetitionTime": 5500, "EchoTime": 74, "FlipAngle": 90, "EchoTrainLength": 1},
}
"""In ms and degrees; what a scene's own protocol does not say."""

THICK_SLICES_MM = 2.5
"""Slices wider than this are taken for a 2D acquisition, where nothing else tells."""


def contrast_of(vendor: Vendor, role: str, normal_lps: Sequence[float], *, two_d: bool) -> tuple[str, Contrast]:
    """The maker's series for a role, named after the plane in which it was cut.

    Parameters
    ----------
    two_d : bool
        Prefer a 2D sequence, where the role has both.

    Returns
    -------
    str
        Key of `PROTOCOL`.
    Contrast
        With its description complete.
    """
    contrasts = MAKERS[vendor].contrasts
    key = f"{role} 2D" if two_d and f"{role} 2D" in contrasts else role
    plane = max(range(3), key=lambda axis: abs(normal_lps[axis]))
    contrast = contrasts[key]
    return key, replace(contrast, description=contrast.description.format(plane=_PLANE_WORDS[vendor][plane]))
