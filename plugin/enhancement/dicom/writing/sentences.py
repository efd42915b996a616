"""What an enhanced series says of itself in plain sentences: Derivation Description and Image Comments."""

from __future__ import annotations

from collections.abc import Mapping

from enhancement.dicom.writing.provenance import Provenance, SourceSeries
from enhancement.dicom.writing.references import flatten
from enhancement.dicom.writing.source_header import value
from enhancement.dicom.writing.words import Words


def derivation(
    source: SourceSeries,
    other_sources: Mapping[str, SourceSeries],
    provenance: Provenance,
    words: Words,
    scale: float,
) -> str:
    """How the series was made, on which scale it is stored, and from which series.

    Parameters
    ----------
    scale : float
        Stored value per unit of the reference series.
    """
    series: dict[str, SourceSeries] = {provenance.reference: source, **other_sources}
    inputs = ", ".join(f"{role} {uid}" for role, item in series.items() for uid in _series_uids(item))
    values = f"{words.reference} values"
    stored = values if scale == 1 else f"{scale:g} x {values}"
    return (
        f"{words.derivation} ({provenance.recipe}, model {provenance.model_name} {provenance.model_version}); "
        f"not acquired. Stored values: {stored}, negative as 0. Whole series used: {inputs}."
    )


def comments(provenance: Provenance, words: Words, scale: float) -> str:
    """What a reader has to know: what it is, what was missing, every warning, and what it supersedes."""
    parts = [words.comments]
    if provenance.missing_roles:
        parts.append(f"Made without {', '.join(provenance.missing_roles)}.")
    parts += [f"Warning: {warning}" for warning in provenance.warnings]
    if scale != 1:
        parts.append(f"Pixel values are {scale:g} times those of the {words.reference}.")
    if provenance.superseded_series_instance_uid:
        parts.append(f"Supersedes series {provenance.superseded_series_instance_uid}.")
    return " ".join(parts)


def _series_uids(series: SourceSeries) -> list[str]:
    """Series Instance UIDs, in order; b-values can lie in several series."""
    return list(dict.fromkeys(str(value(part.header, "SeriesInstanceUID")) for part in flatten(series.slices)))
