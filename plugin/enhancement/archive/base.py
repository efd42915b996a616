"""Where studies come from and results go, whatever the archive is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class PublishedSeries:
    """A derived series that the archive now holds whole."""

    series_instance_uid: str
    archive_id: str
    instances: int


class Archive(Protocol):
    """One study in, whole series out.

    Studies are named by the archive's own identifier (an Orthanc ID, a folder), never by patient.
    """

    def headers(self, study_id: str) -> list[Dataset]:
        """Every instance of the study without pixel data (per-frame groups are kept).

        Raises
        ------
        ArchiveError
            If the study is not there or cannot be read.
        """
        ...

    def instances(self, study_id: str, series_instance_uid: str) -> list[Dataset]:
        """The instances of one series, whole, in no particular order."""
        ...

    def publish(self, study_id: str, series: Sequence[Dataset]) -> PublishedSeries:
        """Store one derived series whole or not at all; storing it again changes nothing.

        Raises
        ------
        ArchiveError
            If not every instance could be stored; what was stored has then been removed again.
        """
        ...
