"""Settings of the quality gate: its limits."""

from __future__ import annotations

from pydantic import Field

from enhancement.settings._stage import Stage


class Limit(Stage):
    """A limit of the gate: beyond `soft` a warning, beyond `hard` a refusal; null switches it off."""

    soft: float | None = None
    hard: float | None = None


class GateSettings(Stage):
    """The limits of the gate, each measured on simulated failures by scripts/gate_study.py.

    Beyond `Soft` the result carries a warning, beyond `Hard` the study is refused; null switches a limit off.
    """

    brain_volume_low_ml: Limit = Field(
        default=Limit(soft=950, hard=800),
        description=(
            "The brain must have at least this volume (ml); a smaller one was cut off, or was not found whole."
        ),
    )
    brain_volume_high_ml: Limit = Field(
        default=Limit(soft=2000, hard=2150),
        description="The brain with its CSF may have at most this volume (ml); a larger one holds what is not brain.",
    )
    coverage: Limit = Field(
        default=Limit(soft=0.97, hard=0.85),
        description="Each series that the recipe needs must cover at least this share of the brain.",
    )
    coverage_optional: Limit = Field(
        default=Limit(soft=0.9, hard=None),
        description="Each series that may be missing must cover at least this share of the brain.",
    )
    atlas_overlap: Limit = Field(
        default=Limit(soft=0.86, hard=0.8),
        description="The brain must overlap with the atlas' brain at least so well (Dice coefficient).",
    )
    overhang: Limit = Field(
        default=Limit(soft=0.16, hard=0.30),
        description="At most this share of the brain may lie outside the atlas' brain, as scalp does.",
    )
    agreement: Limit = Field(
        default=Limit(soft=2.8, hard=2.1),
        description=(
            "A registered series must agree with the reference at least so many times better than in wrong "
            "positions (mutual information)."
        ),
    )
    place: Limit = Field(
        default=Limit(soft=1.0, hard=1.1),
        description=(
            "Moved by 4 mm or 4 degrees, a registered series may agree with the reference at most so many times"
            " as well as in its place (mutual information)."
        ),
    )
    enhancement: Limit = Field(
        default=Limit(soft=0.6, hard=0.2),
        description=(
            "Vessels and dura must brighten at least so much from T1 to T1c (standard deviations of the brain);"
            " with less, no contrast agent was given."
        ),
    )
    white_matter: Limit = Field(
        default=Limit(soft=1.15, hard=1.2),
        description=(
            "White matter may brighten against grey matter at most by this factor from T1 to T1c; with more, "
            "the sequences are unlike."
        ),
    )
    grey_matter: Limit = Field(
        default=Limit(soft=1.35, hard=2.0),
        description=(
            "Grey matter may brighten against white matter at most by this factor from T1 to T1c; with more, "
            "the sequences are unlike."
        ),
    )
    identical: Limit = Field(
        default=Limit(soft=0.999, hard=0.9999),
        description="T1 and T1c may correlate at most so well; with more, they are the same image.",
    )
    noise: Limit = Field(
        default=Limit(soft=0.12, hard=0.25),
        description="A series may have at most this noise, as a share of the brain's mean.",
    )
    ghosting: Limit = Field(
        default=Limit(soft=0.12, hard=0.25),
        description=(
            "A ghost (the head once more, some way off, as after motion) may be at most so strong, as a share "
            "of the image."
        ),
    )
    clipped: Limit = Field(
        default=Limit(soft=0.005, hard=0.05),
        description=(
            "At most this share of the brain may be cut off in its brightness, by the scanner or by the "
            "network's scale."
        ),
    )
    spread: Limit = Field(
        default=Limit(soft=0.25, hard=1.0),
        description=(
            "The networks may disagree at most so much, on average over the brain (standard deviations of the brain)."
        ),
    )
