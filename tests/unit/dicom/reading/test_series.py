"""Instances into volumes: right, or refused with a code that says what is wrong."""

from __future__ import annotations

import io
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from enhancement.dicom.reading.frames import frames_of
from enhancement.dicom.reading.geometry import stack_frames
from enhancement.dicom.reading.pixels import codestream_size
from enhancement.dicom.reading.series import read_series
from enhancement.errors import InputError
from unit.series_builder import base, classic, enhanced, put_pixels, ramp

OBLIQUE = tuple(float(v) for v in np.round(sitk.VersorTransform((0.2, 0.3, 0.1), 0.7).GetMatrix(), 6))
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "reversed": (-1, 0, 0, 0, 1, 0),
    "oblique": (OBLIQUE[0], OBLIQUE[3], OBLIQUE[6], OBLIQUE[1], OBLIQUE[4], OBLIQUE[7]),
}


def array(series: list[Dataset]) -> np.ndarray[Any, Any]:
    return sitk.GetArrayFromImage(read_series(series).image)


def refused(series: list[Dataset]) -> str:
    with pytest.raises(InputError) as caught:
        read_series(series)
    assert str(series[0].SeriesInstanceUID) in caught.value.reason
    return caught.value.code


class TestBlank:
    def test_what_is_written_to_the_array_is_in_the_image(self) -> None:
        """One memory for both."""
        image, voxels = stack_frames(frames_of(classic())).blank()
        voxels[2, 1, 0] = 7.0
        assert image[0, 1, 2] == 7.0

    def test_the_array_keeps_the_image(self) -> None:
        """Else it would be read and written after its memory was given back."""
        image, voxels = stack_frames(frames_of(classic())).blank()
        kept = weakref.ref(image)
        del image
        assert kept() is not None
        del voxels
        assert kept() is None


class TestGeometry:
    @pytest.mark.parametrize("name", ORIENTATIONS)
    def test_every_voxel_lies_where_its_header_says(self, name: str) -> None:
        """Position of voxel (i, j, k) by the image equals that by DICOM (PS3.3 C.7.6.2.1.1)."""
        orientation = tuple(map(float, ORIENTATIONS[name]))
        series = classic(orientation=orientation, spacing_mm=(1.5, 0.9, 2.5), origin=(-50.0, 20.0, 7.0))
        random.Random(1).shuffle(series)
        volume = read_series(series)
        sent = {ds.SOPInstanceUID: ds for ds in series}
        for k, source in enumerate(volume.slices):
            ds = sent[source.sop_instance_uid]
            row, column = np.array(orientation[:3]), np.array(orientation[3:])
            expected = np.array(ds.ImagePositionPatient, float) + row * 0.9 * 3 + column * 1.5 * 5
            found = volume.image.TransformIndexToPhysicalPoint((3, 5, k))
            assert np.allclose(found, expected, atol=1e-4)
            assert volume.image[3, 5, k] == np.frombuffer(ds.PixelData, np.uint16).reshape(12, 10)[5, 3]

    @given(st.permutations(range(6)))
    @settings(max_examples=20, deadline=None)
    def test_order_of_arrival_never_matters(self, order: list[int]) -> None:
        """Neither does the instance number."""
        series = classic()
        assert np.array_equal(array([series[k] for k in order]), ramp().astype(np.float32))

    def test_slices_know_where_they_came_from(self) -> None:
        """In k order."""
        series = classic()
        volume = read_series(series[::-1])
        assert [s.sop_instance_uid for s in volume.slices] == [ds.SOPInstanceUID for ds in series]
        assert volume.slices[0].frame_number is None
        assert volume.series_instance_uid == series[0].SeriesInstanceUID

    def test_one_instance_given_twice_counts_once(self) -> None:
        """A resend."""
        series = classic()
        assert np.array_equal(array(series + series[:3]), ramp().astype(np.float32))

    def test_rounded_positions_are_tolerated(self) -> None:
        """Oblique stacks come with positions rounded to a hundredth of a millimetre."""
        series = classic(orientation=tuple(map(float, ORIENTATIONS["oblique"])))
        for ds in series:
            ds.ImagePositionPatient = [round(float(v), 2) for v in ds.ImagePositionPatient]
        assert read_series(series).image.GetSize() == (10, 12, 6)

    def test_a_missing_slice_is_counted(self) -> None:
        """And its place is named."""
        series = classic()
        del series[2]
        assert refused(series) == "MISSING_SLICES"

    def test_every_second_slice_of_a_3d_scan_missing(self) -> None:
        """Even spacing, but thinner than its steps."""
        series = classic(MRAcquisitionType="3D", volume=ramp(10))
        assert refused(series[::2]) == "MISSING_SLICES"

    def test_gaps_of_2d_scans_are_no_missing_slices(self) -> None:
        """Thickness 3, step 5."""
        series = classic(MRAcquisitionType="2D", spacing_mm=(1, 1, 5))
        for ds in series:
            ds.SliceThickness = 3
        assert read_series(series).image.GetSpacing() == (1, 1, 5)

    def test_uneven_slices(self) -> None:
        """Not a multiple of the step."""
        series = classic()
        series[3].ImagePositionPatient = [0, 0, 6.7]
        assert refused(series) == "UNEVEN_SLICES"

    def test_two_slices_at_one_place(self) -> None:
        """With nothing to tell them apart."""
        series = classic()
        series[3].ImagePositionPatient = series[2].ImagePositionPatient
        assert refused(series) in {"DUPLICATE_SLICES"}

    def test_mixed_orientations(self) -> None:
        """As in a localiser, or a scout left in a series."""
        series = classic()
        series[0].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        assert refused(series) == "MIXED_ORIENTATIONS"

    def test_mixed_sizes(self) -> None:
        """One slice of another matrix."""
        series = classic()
        put_pixels(series[0], ramp(1, 8, 8)[0])
        assert refused(series) == "MIXED_SIZES"

    def test_mixed_spacings(self) -> None:
        """One slice of another resolution."""
        series = classic()
        series[0].PixelSpacing = [2, 2]
        assert refused(series) == "MIXED_SPACINGS"

    def test_gantry_shear(self) -> None:
        """Slices shifted against each other: no ITK image can hold it."""
        series = classic()
        for k, ds in enumerate(series):
            ds.ImagePositionPatient = [0, 0.4 * k, 2.0 * k]
        assert refused(series) == "SHEARED_SLICES"

    def test_one_slice_is_no_volume(self) -> None:
        """A volume is needed."""
        assert refused(classic()[:1]) == "ONE_SLICE"

    @pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"])
    def test_absent_geometry_is_named(self, keyword: str) -> None:
        """The attribute is in the message."""
        series = classic()
        delattr(series[4], keyword)
        with pytest.raises(InputError, match=keyword) as caught:
            read_series(series)
        assert caught.value.code == "MISSING_ATTRIBUTE"

    def test_no_perpendicular_axes(self) -> None:
        """Contradictory direction cosines."""
        assert refused(classic(orientation=(1, 0, 0, 0.9, 0.43589, 0))) == "BAD_ORIENTATION"

    def test_two_series_at_once(self) -> None:
        """The caller mixed them up."""
        with pytest.raises(InputError, match="2 series"):
            read_series(classic() + classic())

    def test_nothing(self) -> None:
        """No instance at all."""
        with pytest.raises(InputError, match="No MR image"):
            read_series([])


class TestSeveralVolumes:
    def _two(self, first: dict[str, Any], second: dict[str, Any]) -> list[Dataset]:
        return classic(series_uid="1.2.3.9", **first) + classic(series_uid="1.2.3.9", **second)

    def test_echoes(self) -> None:
        """Two short echo times in one series: the first is the T1-weighted one."""
        series = self._two({"EchoTime": 3.0}, {"EchoTime": 6.0})
        volume = read_series(series)
        assert {part.header.EchoTime for part in volume.slices} == {3.0}
        assert volume.notes == ("6 images of another echo left out",)

    def test_long_echoes(self) -> None:
        """Of density and T2 the last one is T2."""
        volume = read_series(self._two({"EchoTime": 15.0}, {"EchoTime": 90.0}))
        assert {part.header.EchoTime for part in volume.slices} == {90.0}

    def test_repeats(self) -> None:
        """Two time points."""
        series = self._two({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2})
        assert refused(series) == "SEVERAL_REPEATS"

    def test_phase_beside_magnitude_is_left_out(self) -> None:
        """Philips writes both into one series."""
        phase = classic(series_uid="1.2.3.9", volume=ramp() * 0, ImageType=["ORIGINAL", "PRIMARY", "PHASE MAP", "P"])
        magnitude = classic(series_uid="1.2.3.9", ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M"])
        assert np.array_equal(array(phase + magnitude), ramp().astype(np.float32))

    def test_raw_data_beside_images_is_left_out(self) -> None:
        """Philips' raw companion of the same series."""
        raw = base("T1", "1.2.3.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.66")
        assert array([raw, *classic(series_uid="1.2.3.9")]).shape == (6, 12, 10)


class TestEnhanced:
    def test_frame_order_is_not_trusted(self) -> None:
        """Frames are placed by position; each knows its number in the file."""
        volume = ramp()
        order = [3, 0, 5, 1, 4, 2]
        found = read_series([enhanced(volume, order)])
        assert np.array_equal(sitk.GetArrayFromImage(found.image), volume.astype(np.float32))
        assert [s.frame_number for s in found.slices] == [order.index(k) + 1 for k in range(6)]

    def test_every_frame_has_its_own_rescale(self) -> None:
        """Philips and Bruker vary it from frame to frame."""
        volume = ramp()
        slopes = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        found = array([enhanced(volume, list(range(6)), slopes=slopes)])
        assert np.allclose(found, volume * np.array(slopes)[:, None, None] - 1.0)

    def test_more_frames_declared_than_described(self) -> None:
        """Refused before a pixel is decoded."""
        ds = enhanced(ramp(), list(range(6)))
        ds.NumberOfFrames = 90_000
        assert refused([ds]) == "MISSING_ATTRIBUTE"


def _saved(ds: Dataset, **how: Any) -> Dataset:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True, **how)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def _compressed(ds: Dataset, syntax: str) -> Dataset:
    ds.compress(syntax, generate_instance_uid=False)
    return _saved(ds)


def _transcoded(ds: Dataset, syntax: Any) -> Dataset:
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        return _saved(ds, implicit_vr=False, little_endian=False)
    return _saved(ds)


class TestTransferSyntaxes:
    @pytest.mark.parametrize(
        ("name", "encode"),
        [
            ("implicit", lambda ds: _transcoded(ds, ImplicitVRLittleEndian)),
            ("big endian", lambda ds: _transcoded(ds, ExplicitVRBigEndian)),
            ("deflated", lambda ds: _transcoded(ds, DeflatedExplicitVRLittleEndian)),
            ("RLE", lambda ds: _compressed(ds, RLELossless)),
            ("JPEG-LS", lambda ds: _compressed(ds, JPEGLSLossless)),
            ("JPEG 2000", lambda ds: _compressed(ds, JPEG2000Lossless)),
        ],
    )
    def test_pixels_come_out_as_they_went_in(self, name: str, encode: Callable[[Dataset], Dataset]) -> None:
        """To the last bit."""
        volume = ramp(3, 64, 64)
        assert np.array_equal(array([encode(ds) for ds in classic(volume=volume)]), volume.astype(np.float32)), name

    def test_signed_pixels(self) -> None:
        """GE, Canon and Hitachi write them."""
        volume = ramp().astype(np.int16) - 100
        assert np.array_equal(array(classic(volume=volume)), volume.astype(np.float32))

    def test_rescale_of_a_classic_series(self) -> None:
        """Per instance."""
        found = array(classic(RescaleSlope=2.0, RescaleIntercept=-5.0))
        assert np.allclose(found, ramp() * 2.0 - 5.0)


class TestRefusedPixels:
    def test_absent(self) -> None:
        """Headers without pixels."""
        series = classic()
        del series[1].PixelData
        assert refused(series) == "NO_PIXELS"

    def test_truncated(self) -> None:
        """Fewer bytes than Rows x Columns."""
        series = classic()
        series[1].PixelData = series[1].PixelData[:-2]
        assert refused(series) == "TRUNCATED_PIXELS"

    def test_a_size_that_is_a_lie(self) -> None:
        """60000 x 60000 of a few bytes is refused before anything is allocated."""
        series = classic()
        for ds in series:
            ds.Rows = ds.Columns = 60_000
        assert refused(series) == "TOO_LARGE"

    def test_a_codestream_that_is_larger_than_its_header(self) -> None:
        """A decompression bomb: the codestream declares what the decoder would allocate."""
        series = [_compressed(ds, JPEG2000Lossless) for ds in classic(volume=ramp(3, 64, 64))]
        for ds in series:
            ds.Rows = ds.Columns = 32
        assert refused(series) == "SIZE_MISMATCH"

    def test_a_truncated_codestream(self) -> None:
        """Decoders fill what is missing with nothing; the end marker tells."""
        series = [_compressed(ds, JPEG2000Lossless) for ds in classic(volume=ramp(3, 64, 64))]
        frame = next(pydicom.encaps.generate_frames(series[0].PixelData, number_of_frames=1))
        series[0].PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
        assert refused(series) in {"TRUNCATED_PIXELS", "UNREADABLE_PIXELS"}

    def test_colour(self) -> None:
        """A colour FA map."""
        series = classic(SamplesPerPixel=3)
        for ds in series:
            ds.SamplesPerPixel = 3
        assert refused(series) == "COLOUR"

    def test_mislabelled_transfer_syntax(self) -> None:
        """Native bytes that call themselves JPEG 2000."""
        series = classic()
        for ds in series:
            ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
        assert refused(series) in {"UNREADABLE_PIXELS", "TRUNCATED_PIXELS"}

    def test_inverted_brightness(self) -> None:
        """MONOCHROME1 would turn a T1 upside down."""
        series = classic()
        for ds in series:
            ds.PhotometricInterpretation = "MONOCHROME1"
        assert refused(series) == "PHOTOMETRIC"


class TestCodestreamSize:
    @pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
    def test_reads_what_an_encoder_wrote(self, syntax: str) -> None:
        """Rows and columns."""
        ds = _compressed(classic(volume=ramp(2, 80, 64))[0], syntax)
        assert codestream_size(next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))) == (80, 64)

    def test_is_silent_on_anything_else(self) -> None:
        """RLE has no size of its own."""
        assert codestream_size(b"\x00" * 64) is None


def test_a_stack_compares_its_grid() -> None:
    """Half a voxel further is another grid."""
    one = stack_frames(frames_of(classic()))
    assert one.same_grid(stack_frames(frames_of(classic())))
    assert not one.same_grid(stack_frames(frames_of(classic(origin=(0.5, 0, 0)))))
