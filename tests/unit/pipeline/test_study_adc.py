"""Diffusion series and the scanner's map of one study, from DICOM instances to the map that is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from enhancement.dicom.reading.adc_map import read_adc
from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.errors import RegistrationFailed
from enhancement.pipeline.study_adc import StudyAdc, study_adc
from unit.series_builder import classic

X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
DWI, MAP = "1.2.3.10", "1.2.3.11"


def block(value: float) -> np.ndarray[Any, Any]:
    """Tissue in air."""
    array = np.zeros((10, 24, 24), np.uint16)
    array[:, 6:18, 6:18] = value
    return array


def weighted(value: float, b: float, direction: list[float] | None = None, uid: str = DWI) -> list[Dataset]:
    attributes: dict[str, Any] = {"DiffusionBValue": b, "ScanningSequence": ["EP", "SE"], "AcquisitionTime": "101500"}
    if direction is not None:
        attributes["DiffusionGradientOrientation"] = direction
    return classic("DWI", volume=block(value), series_uid=uid, **attributes)


def scanners(value: float = 800, **attributes: Any) -> list[Dataset]:
    attributes = {"AcquisitionTime": "101600", "ImageType": ["DERIVED", "PRIMARY", "ADC"], **attributes}
    return classic("ADC", volume=block(value), series_uid=MAP, **attributes)


def taken(images: list[Dataset], maps: list[Dataset] | None) -> StudyAdc:
    return study_adc(read_diffusion(images) if images else None, read_adc(maps) if maps else None)


def level(found: StudyAdc) -> float:
    assert found.adc is not None
    array = sitk.GetArrayFromImage(found.adc)
    return float(np.median(array[array > 0]))


TRACE = weighted(1000, 0) + weighted(449, 1000)  # 0.80e-3 mm^2/s


class TestWhatIsTaken:
    def test_diffusion_alone(self) -> None:
        """No choice, nothing to tell."""
        found = taken(TRACE, None)
        assert found.computed
        assert list(found.sources) == ["DWI"]
        assert found.notes == ()
        assert level(found) == pytest.approx(0.8e-3, rel=0.01)

    def test_a_map_alone(self) -> None:
        """Its own place is all there is."""
        found = taken([], scanners())
        assert not found.computed
        assert list(found.sources) == ["ADC"]
        assert found.b0 is None
        assert level(found) == pytest.approx(0.8e-3, rel=0.01)

    def test_both_and_clean(self) -> None:
        """The computed one, and the note says how the scanner's compares."""
        found = taken(TRACE, scanners(810))
        assert found.computed
        assert "the computed ADC map is taken" in found.notes[0]

    def test_three_orthogonal_directions_are_the_trace(self) -> None:
        """Their geometric mean is exact."""
        images = weighted(1000, 0) + [ds for way in (X, Y, Z) for ds in weighted(449, 1000, way)]
        assert taken(images, scanners()).computed

    def test_directions_on_one_side(self) -> None:
        """The scanner knew all of them."""
        ways = (X, [0.95, 0.31, 0.0], [0.95, 0.0, 0.31])
        images = weighted(1000, 0) + [ds for way in ways for ds in weighted(400, 1000, way)]
        found = taken(images, scanners())
        assert not found.computed
        assert set(found.sources) == {"DWI", "ADC"}
        assert found.b0 is not None
        assert "the scanner's ADC map is taken: only directions" in found.notes[0]

    def test_b_values_in_two_series_scaled_apart(self) -> None:
        """The scanner's map shows that the ratio is none."""
        images = weighted(1500, 0) + weighted(449, 1000, uid="1.2.3.12")
        found = taken(images, scanners())
        assert not found.computed
        assert level(found) == pytest.approx(0.8e-3, rel=0.01)

    @pytest.mark.parametrize("change", [{"AcquisitionTime": "120000"}, {"FrameOfReferenceUID": "1.2.9"}])
    def test_a_map_of_another_acquisition(self, change: dict[str, Any]) -> None:
        """An hour later, or after the patient was moved."""
        found = taken(TRACE, scanners(1200, **change))
        assert found.computed
        assert "another acquisition" in found.notes[0]

    def test_its_references_say_what_it_was_made_from(self) -> None:
        """Whatever the clock says."""
        source = Dataset()
        source.ReferencedSOPInstanceUID = TRACE[0].SOPInstanceUID
        found = taken(TRACE, scanners(AcquisitionTime="120000", SourceImageSequence=Sequence([source])))
        assert "another acquisition" not in found.notes[0]

    def test_images_that_cannot_be_aligned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Diffusion is optional: the scanner's map, or none, and the note says why."""

        def fails(images: object) -> None:
            raise RegistrationFailed("two volumes of a head were to overlap, found none")

        monkeypatch.setattr("enhancement.pipeline.study_adc.align_diffusion", fails)
        found = taken(TRACE, scanners())
        assert list(found.sources) == ["ADC"]
        assert "no ADC was computed: two volumes" in found.notes[0]
        assert taken(TRACE, None).adc is None


class TestPlausibility:
    """A map that cannot be a brain's is dropped, and never ends the study."""

    @pytest.mark.parametrize("signal", [230, 750])
    def test_alone(self, signal: float) -> None:
        """A b-value that is not the one in the header: 1.5 or 0.3e-3 mm^2/s."""
        found = taken(weighted(1000, 0) + weighted(signal, 1000), None)
        assert found.adc is None
        assert found.sources == {}
        assert "ADC_IMPLAUSIBLE" in found.notes[0]

    def test_with_a_map_of_the_scanner(self) -> None:
        """It is taken instead."""
        found = taken(weighted(1000, 0) + weighted(230, 1000), scanners())
        assert not found.computed
        assert level(found) == pytest.approx(0.8e-3, rel=0.01)

    def test_signal_that_does_not_fall(self) -> None:
        """In a tenth of the brain the weighted image is brighter: two images of different distortion."""
        images = weighted(1000, 0) + weighted(449, 1000)
        for ds in images[10:]:
            plane = ds.pixel_array.copy()
            plane[11:13, 6:18] = 1200
            ds.PixelData = plane.tobytes()
        found = taken(images, None)
        assert found.adc is None
        assert "does not fall with b" in found.notes[0]


class TestUnit:
    def test_mapping_starts_from_stored_values(self) -> None:
        """Rescaled by 2 already: the mapping's 1e-6 is per stored value."""
        unit = Dataset()
        unit.CodeValue = "mm2/s"
        mapping = Dataset()
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 1e-6, 0.0
        mapping.MeasurementUnitsCodeSequence = Sequence([unit])
        found = read_adc(
            scanners(800, RescaleSlope="2", RescaleIntercept="0", RealWorldValueMappingSequence=Sequence([mapping]))
        )
        array = sitk.GetArrayFromImage(found.image)
        assert float(np.median(array[array > 0])) == pytest.approx(0.8e-3, rel=1e-3)
