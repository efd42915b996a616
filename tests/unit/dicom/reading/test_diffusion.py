"""Told apart and combined: b = 0, trace, directions; the scanner's ADC and its unit."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from enhancement.dicom.reading.adc_map import adc_factor, read_adc
from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.dicom.reading.private_tags import PrivateBlocks, private_b_value
from enhancement.errors import DiffusionInputError, InputError
from unit.series_builder import classic, enhanced, ramp

UID = "1.2.3.77"
X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def flat(value: float, slices: int = 4) -> np.ndarray[Any, Any]:
    return np.full((slices, 8, 8), value, dtype=np.uint16)


def volume(value: float, b: float | None, direction: list[float] | None = None, **attributes: Any) -> list[Dataset]:
    if b is not None:
        attributes["DiffusionBValue"] = b
    if direction is not None:
        attributes["DiffusionGradientOrientation"] = direction
    return classic("DWI", volume=flat(value), series_uid=UID, ScanningSequence=["EP", "SE"], **attributes)


def level(image: sitk.Image) -> float:
    return float(np.median(sitk.GetArrayFromImage(image)))


class TestShells:
    def test_two_b_values(self) -> None:
        """One image each, ascending."""
        found = read_diffusion(volume(300, 1000) + volume(900, 0))
        assert found.b_values == (0.0, 1000.0)
        assert [level(image) for image in found.images] == [900, 300]

    def test_several_b_values(self) -> None:
        """All of them."""
        found = read_diffusion(volume(900, 0) + volume(500, 500) + volume(300, 1000))
        assert found.b_values == (0.0, 500.0, 1000.0)

    def test_b_values_that_vary_a_little_are_one_shell(self) -> None:
        """Scanners write 995, 1000 and 1005 for three directions."""
        found = read_diffusion(
            volume(900, 0) + volume(300, 995, X) + volume(300, 1000, Y) + volume(300, 1000, Z) + volume(300, 1005, Z)
        )
        assert found.b_values == (0.0, 1000.0)

    @pytest.mark.parametrize("b_zero", [None, 0.0, 0.001, 1.25, 5.0])
    def test_b_zero_is_near_zero(self, b_zero: float | None) -> None:
        """Absent, 0, 0.001, 1.25, 5."""
        assert read_diffusion(volume(900, b_zero) + volume(300, 1000)).b_values == (0.0, 1000.0)

    def test_b_zero_with_a_direction(self) -> None:
        """Some scanners leave the next gradient in the header."""
        assert read_diffusion(volume(900, 0, X) + volume(300, 1000)).kinds == ("b0", "trace")

    def test_repeated_b_zero_is_averaged(self) -> None:
        """Arithmetic mean, and counted."""
        found = read_diffusion(
            volume(800, 0, AcquisitionNumber=1) + volume(1000, 0, AcquisitionNumber=2) + volume(300, 1000)
        )
        assert (level(found.images[0]), found.volumes[0]) == (900, 2)

    def test_two_series(self) -> None:
        """b0 in one series, b1000 in another."""
        other = volume(300, 1000)
        for ds in other:
            ds.SeriesInstanceUID = UID + ".2"
        found = read_diffusion(other + volume(900, 0))
        assert set(found.series_instance_uids) == {UID, UID + ".2"}

    def test_enhanced(self) -> None:
        """Two b-values in one object, frames interleaved."""
        values = ramp(4, 8, 8)
        ds = enhanced(values, [0, 0, 1, 1, 2, 2, 3, 3], b_values=[0.0, 1000.0] * 4, description="DWI")
        found = read_diffusion([ds])
        assert np.array_equal(sitk.GetArrayFromImage(found.images[1]), values.astype(np.float32))
        assert [s.frame_number for s in found.slices[1]] == [2, 4, 6, 8]


class TestTraceAndDirections:
    def test_directions_are_combined_by_their_geometric_mean(self) -> None:
        """ln S is linear in b g'Dg, so its mean over directions is that of the trace."""
        found = read_diffusion(volume(900, 0) + volume(100, 1000, X) + volume(200, 1000, Y) + volume(400, 1000, Z))
        assert found.kinds == ("b0", "directions")
        assert level(found.images[1]) == pytest.approx(200, rel=1e-3)

    @pytest.mark.parametrize("mark", [[0.0, 0.0, 0.0], None])
    def test_the_scanners_trace_is_not_averaged_in(self, mark: list[float] | None) -> None:
        """Under the same b-value, with direction zero (Philips) or none (GE, Canon)."""
        directions = volume(100, 1000, X) + volume(200, 1000, Y) + volume(400, 1000, Z)
        found = read_diffusion(volume(900, 0) + directions + volume(250, 1000, mark))
        assert (found.kinds[1], level(found.images[1])) == ("trace", 250)
        assert any("not mixed in" in note for note in found.notes)

    def test_shells_without_what_the_others_have_are_left_out(self) -> None:
        """Never a trace at one b and directions at another."""
        directions = volume(600, 500, X) + volume(600, 500, Y) + volume(600, 500, Z)
        found = read_diffusion(volume(900, 0) + directions + volume(300, 1000, [0.0, 0.0, 0.0]))
        assert found.b_values == (0.0, 1000.0)
        assert any("b = 500 left out" in note for note in found.notes)

    def test_directions_whose_gradients_were_taken_out(self) -> None:
        """Anonymised: many volumes, nothing to tell them apart but the order of acquisition."""
        weighted = [ds for n in range(4) for ds in volume(200, 1000, AcquisitionNumber=n + 2)]
        found = read_diffusion(volume(900, 0, AcquisitionNumber=1) + weighted)
        assert (found.kinds[1], found.volumes[1]) == ("directions", 4)

    def test_one_direction_is_no_trace(self) -> None:
        """White matter would look restricted."""
        with pytest.raises(DiffusionInputError, match="at least 3 directions"):
            read_diffusion(volume(900, 0) + volume(300, 1000, X))

    def test_an_adc_map_in_the_series_is_left_out(self) -> None:
        """Philips stores it with the source's b-value."""
        kinds = ["ORIGINAL", "PRIMARY", "ADC_UNSPECIFIED", "ADC"]
        found = read_diffusion(volume(900, 0) + volume(300, 1000) + volume(7, 1000, ImageType=kinds))
        assert level(found.images[1]) == 300

    def test_an_incomplete_volume_is_left_out(self) -> None:
        """An acquisition that was stopped."""
        whole = volume(200, 1000, X) + volume(200, 1000, Y) + volume(200, 1000, Z)
        found = read_diffusion(volume(900, 0) + whole + volume(200, 1000, [0.6, 0.8, 0.0])[:2])
        assert found.volumes[1] == 3
        assert any("incomplete" in note for note in found.notes)


class TestRefusals:
    def test_no_b_zero(self) -> None:
        """With what was found."""
        with pytest.raises(DiffusionInputError, match="found only b = 1000") as caught:
            read_diffusion(volume(300, 1000))
        assert caught.value.code == "NO_B_ZERO"

    def test_only_b_zero(self) -> None:
        """A reversed-phase companion."""
        with pytest.raises(DiffusionInputError) as caught:
            read_diffusion(volume(300, 0))
        assert caught.value.code == "NO_B_VALUES"

    def test_a_missing_slice(self) -> None:
        """In every volume of a shell: named as in any series."""
        with pytest.raises(InputError) as caught:
            read_diffusion([ds for ds in volume(900, 0) + volume(300, 1000) if ds.ImagePositionPatient[2] != 2])
        assert caught.value.code == "MISSING_SLICES"

    def test_nothing(self) -> None:
        """No image at all."""
        with pytest.raises(DiffusionInputError):
            read_diffusion([])


class TestPrivateBValues:
    @pytest.mark.parametrize(
        ("manufacturer", "group", "creator", "element", "vr", "zero", "value"),
        [
            ("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", [0, 8, 0, 0], [1_000_001_000, 8, 0, 0]),
            ("SIEMENS", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", 0, 1000),
            ("Philips Medical Systems", 0x2001, "Philips Imaging DD 001", 0x03, "FL", 0.0, 1000.0),
            ("UIH", 0x0065, "Image Private Header", 0x09, "FD", 1.25, 1000.0),
            ("HITACHI", 0x0029, "MMCPrivate", 0x30, "FD", 0.0, 1000.0),
        ],
    )
    def test_every_vendor(
        self, manufacturer: str, group: int, creator: str, element: int, vr: str, zero: object, value: object
    ) -> None:
        """Also where the block is not in its usual place."""
        series = []
        for level_, b in ((900, zero), (300, value)):
            instances = volume(level_, None, Manufacturer=manufacturer)
            for ds in instances:
                ds.private_block(group, "SOMEBODY ELSE", create=True).add_new(0x01, "LO", "x")
                ds.private_block(group, creator, create=True).add_new(element, vr, b)
            series += instances
        assert read_diffusion(series).b_values == (0.0, 1000.0)

    @pytest.mark.parametrize(
        ("manufacturer", "tag", "packed", "b"),
        [
            ("Philips Medical Systems", 0x20011003, "<f", 1000.0),
            ("UIH", 0x00651009, "<d", 500.0),
            ("Hitachi Medical Corporation", 0x00291030, "<d", 1000.0),
            ("Hitachi Medical Corporation", 0x00291030, "", 1000.0),
        ],
    )
    def test_bytes_without_a_creator(self, manufacturer: str, tag: int, packed: str, b: float) -> None:
        """Anonymised: floats whose bytes happen to be ASCII, and text, are both read."""
        series = volume(900, None, Manufacturer=manufacturer)
        for ds in (heavy := volume(300, None, Manufacturer=manufacturer)):
            ds.add_new(tag, "UN", struct.pack(packed, b) if packed else b"1000")
        assert read_diffusion(series + heavy).b_values == (0.0, b)

    def test_group_29_of_another_maker_is_no_b_value(self) -> None:
        """Siemens and others keep other things at (0029,1030)."""
        header = volume(900, None, Manufacturer="")[0]
        header.add_new(0x00291030, "UN", b"1000")
        assert private_b_value(PrivateBlocks(header)) is None

    def test_canon_writes_it_into_a_comment(self) -> None:
        """b=1000(x,y,z)."""
        series = volume(900, None, Manufacturer="TOSHIBA_MEC", ImageComments="b=0")
        for axis in ("1,0,0", "0,1,0", "0,0,1"):
            series += volume(300, None, Manufacturer="TOSHIBA_MEC", ImageComments=f"b=1000({axis})")
        assert read_diffusion(series).volumes == (1, 3)

    def test_siemens_sequence_name(self) -> None:
        """Where private groups were removed."""
        series = volume(900, None, SequenceName="*ep_b0") + volume(300, None, SequenceName="*ep_b1000t")
        assert read_diffusion(series).b_values == (0.0, 1000.0)


class TestAdcMap:
    def _map(self, value: float, **attributes: Any) -> list[Dataset]:
        return classic("ADC", volume=flat(value), ImageType=["DERIVED", "PRIMARY", "ADC"], **attributes)

    @pytest.mark.parametrize(("stored", "slope"), [(800, 1.0), (800, 1e-3), (8000, 1e-4), (800, 1e-6), (80, 1.0)])
    def test_the_unit_is_inferred(self, stored: int, slope: float) -> None:
        """1e-6, 1e-3, 1e-5 mm^2/s and mm^2/s itself come out as 0.8e-3."""
        found = read_adc(self._map(stored, RescaleSlope=f"{slope:g}", RescaleIntercept=0))
        assert level(found.image) == pytest.approx(0.8e-3, rel=1e-4)

    def test_the_header_may_name_the_unit(self) -> None:
        """RealWorldValueMapping with a UCUM code."""
        unit, mapping = Dataset(), Dataset()
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "um2/s", "UCUM", "um2/s"
        mapping.MeasurementUnitsCodeSequence = Sequence([unit])
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 1.0, 0.0
        found = read_adc(self._map(900, RealWorldValueMappingSequence=Sequence([mapping])))
        assert level(found.image) == pytest.approx(0.9e-3)
        assert "RealWorldValueMapping" in found.notes[0]

    def test_what_is_no_adc_is_refused(self) -> None:
        """No power of ten makes it one."""
        with pytest.raises(DiffusionInputError) as caught:
            read_adc(self._map(20))
        assert caught.value.code == "ADC_UNIT"

    def test_air_does_not_count(self) -> None:
        """Most of a map is background."""
        array = np.zeros((8, 32, 32), dtype=np.float32)
        array[2:6, 10:22, 10:22] = 750.0
        assert adc_factor(array) == 1e-6


def test_philips_scale_slopes_make_series_comparable() -> None:
    """Stored values of two series mean the same only after division by slope x private scale slope."""
    series = []
    for value, b, slope, scale, uid in ((900, 0.0, 1.0, 0.5, "1.2.1"), (600, 1000.0, 2.0, 0.5, "1.2.2")):
        instances = volume(value, b, Manufacturer="Philips Medical Systems", RescaleSlope=slope, RescaleIntercept=0)
        for ds in instances:
            ds.SeriesInstanceUID = uid
            ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", scale)
        series += instances
    found = read_diffusion(series)
    assert [level(image) for image in found.images] == [900, 600]
