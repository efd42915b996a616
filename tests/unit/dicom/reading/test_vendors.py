"""Real series of six makers against their ground truth (dcm2niix's .bval and the scanner's own ADC)."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset

from enhancement.dicom.matching.match import match
from enhancement.dicom.reading.adc_map import read_adc
from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.dicom.reading.files import read_header, read_instance
from enhancement.dicom.reading.series import read_series
from enhancement.errors import InputError
from enhancement.imaging.adc.fit import fit_adc
from enhancement.pipeline.study_adc import study_adc

pytestmark = pytest.mark.real_data

# folder below vendors -> role and b-values (of the .bval, an absent tag read as 0; below 50 given as 0)
EXPECTED: dict[str, tuple[str | None, list[float]]] = {
    "canon_v60_classic/9000_DTI_PA-ortho": ("DWI", [0, 1500]),
    "dicom2nifti_encodings/generic_compressed_j2k_001": ("FLAIR", []),
    "dicom2nifti_encodings/generic_compressed_jpeg_001": ("FLAIR", []),
    "dicom2nifti_encodings/generic_compressed_jpegls_001": ("FLAIR", []),
    "dicom2nifti_encodings/generic_compressed_rle_001": ("FLAIR", []),
    "dicom2nifti_encodings/hitachi_anatomical_001": (None, []),  # proton density: TR 4000, TE 12
    "dicom2nifti_encodings/hyperfine_anatomical_001": ("FLAIR", []),
    "dicom2nifti_encodings/philips_enhanced_dti_001": ("DWI", [0, 1300]),
    "dicom2nifti_encodings/philips_enhanced_dti_001_implicit": ("DWI", [0, 1300]),
    "ge_mr29_headers_only/01_Ax_DWI_TENSOR_R2": ("DWI", [0, 1000]),
    "ge_mr29_headers_only/03_Ax_DWI_TENSOR_R1p5": ("DWI", [0, 1000]),
    "philips_r11_enhanced_T1/201_T1W_TSE_enh": ("T1", []),
    "philips_r25_private_only/1201_DT_HIGH_32DIR": ("DWI", [0, 1000]),
    "philips_r53_classic/601_WIP_dti_ax": ("DWI", [0, 2000]),
    "siemens_e11_mosaic_HFS/3_t1_fl2d_sag": ("T1", []),
    "siemens_e11_mosaic_HFS/4_ep2d_diff_mddw_20_p2": ("DWI", [0, 1000]),
    "siemens_xa30_enhanced/6_anat-T1w_acq-tfl": ("T1", []),
    "siemens_xa30_enhanced/10_DWI_dir80_PA": ("DWI", [0, 2500]),
    "siemens_xa30_enhanced/11_DWI_dir80_PA": ("ADC", []),
    "siemens_xa30_enhanced/12_DWI_dir80_PA": ("DWI", [2500]),
    "siemens_xa30_enhanced/13_DWI_dir80_PA": (None, []),
    "siemens_xa30_enhanced/14_DWI_dir80_PA": (None, []),
    "siemens_xa30_enhanced/16_DWI_dir80_PA": ("DWI", [0]),
    "uih_r002_grid/6_dti_tra_dir16_PA": ("DWI", [0, 929.75]),
}
GROUND_TRUTH = {
    "canon_v60_classic/9000_DTI_PA-ortho": "DTI_PA-ortho_9000",
    "ge_mr29_headers_only/01_Ax_DWI_TENSOR_R2": "Ax_DWI_TENSOR_R2_1",
    "ge_mr29_headers_only/03_Ax_DWI_TENSOR_R1p5": "Ax_DWI_TENSOR_R1p5_3",
    "philips_r25_private_only/1201_DT_HIGH_32DIR": "DT_HIGH_32DIR_SENSE_1201",
    "philips_r53_classic/601_WIP_dti_ax": "WIP_dti_ax_601",
    "siemens_e11_mosaic_HFS/4_ep2d_diff_mddw_20_p2": "ep2d_diff_mddw_20_p2_20220407150138",
    "siemens_xa30_enhanced/10_DWI_dir80_PA": "10_DWI_dir80_PA",
    "uih_r002_grid/6_dti_tra_dir16_PA": "dti_tra_dir16_PA_6_134431",
}
# folder -> volumes at b = 0, kind and volumes above, grid: known from the ground truth and the series' own text
DIFFUSION = {
    "canon_v60_classic/9000_DTI_PA-ortho": (1, "directions", 12, (80, 80, 40)),
    "philips_r25_private_only/1201_DT_HIGH_32DIR": (1, "trace", 1, (128, 128, 60)),
    "philips_r53_classic/601_WIP_dti_ax": (1, "trace", 1, (80, 80, 40)),
    "siemens_e11_mosaic_HFS/4_ep2d_diff_mddw_20_p2": (1, "directions", 12, (128, 128, 25)),
    "siemens_xa30_enhanced/10_DWI_dir80_PA": (1, "directions", 20, (72, 72, 39)),
    "uih_r002_grid/6_dti_tra_dir16_PA": (1, "directions", 16, (64, 64, 20)),
    "ge_mr29_headers_only/01_Ax_DWI_TENSOR_R2": (1, "directions", 6, (256, 256, 2)),
}


@cache
def instances(folder: Path) -> list[Dataset]:
    return [ds for path in sorted(folder.iterdir()) if (ds := read_instance(path)) is not None]


@cache
def headers(folder: Path) -> list[Dataset]:
    return [ds for path in sorted(folder.rglob("*")) if path.is_file() and (ds := read_header(path)) is not None]


@pytest.fixture(scope="module")
def vendors(real_data: Path) -> Path:
    return real_data / "vendors"


class TestMatching:
    @pytest.mark.parametrize("folder", EXPECTED)
    def test_a_series_alone(self, vendors: Path, folder: str) -> None:
        """Role and b-values from the series' own headers."""
        found = match(headers(vendors / folder)).to_json()["series"]
        assert {(series["role"], tuple(series["b_values"])) for series in found} == {
            (EXPECTED[folder][0], tuple(EXPECTED[folder][1]))
        }

    @pytest.mark.parametrize("folder", sorted({name.split("/")[0] for name in EXPECTED}))
    def test_the_whole_study(self, vendors: Path, folder: str) -> None:
        """The same among the other series of the study."""
        found = match(headers(vendors / folder)).to_json()["series"]
        by_uid = {series["series_instance_uid"]: series for series in found}
        for name, (role, b_values) in EXPECTED.items():
            if name.startswith(folder + "/"):
                uid = str(headers(vendors / name)[0].SeriesInstanceUID)
                assert (by_uid[uid]["role"], by_uid[uid]["b_values"]) == (role, b_values), name

    @pytest.mark.parametrize("folder", GROUND_TRUTH)
    def test_b_values_equal_the_ground_truth_file(self, vendors: Path, folder: str) -> None:
        """The set in the headers is the set in the .bval."""
        file = vendors / folder.split("/")[0] / "ground_truth" / f"{GROUND_TRUTH[folder]}.bval"
        stored = {float(value) for value in file.read_text().split()}
        expected = sorted({0.0 if b < 50 else round(b, 2) for b in stored})
        assert list(match(headers(vendors / folder)).series[0].b_values) == expected

    def test_the_command_line(self, vendors: Path) -> None:
        """scripts/match.py DIR --json prints one object for one study."""
        script = Path(__file__).resolve().parents[4] / "scripts" / "match.py"
        command = [sys.executable, str(script), str(vendors / "siemens_e11_mosaic_HFS"), "--json"]
        found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        assert found["missing"] == ["T1C", "FLAIR"]
        assert set(found["roles"]) == {"T1", "DWI"}


class TestReading:
    @pytest.mark.parametrize("folder", DIFFUSION)
    def test_volumes_of_each_b_value(self, vendors: Path, folder: str) -> None:
        """b = 0, trace and directions told apart; the weighted image is darker in the head."""
        zeros, kind, weighted, size = DIFFUSION[folder]
        found = read_diffusion(instances(vendors / folder))
        assert found.kinds == ("b0", kind)
        assert found.volumes == (zeros, weighted)
        assert all(image.GetSize() == size for image in found.images)
        if "headers_only" not in folder:
            b0, b = (sitk.GetArrayFromImage(image) for image in found.images)
            head = b0 > np.percentile(b0, 70)
            assert 0 < np.median(b[head]) < np.median(b0[head])

    @pytest.mark.parametrize("folder", [name for name in EXPECTED if EXPECTED[name][0] in ("T1", "FLAIR")])
    def test_anatomical_series(self, vendors: Path, folder: str) -> None:
        """Every encoding decodes into a volume with a slice for every frame."""
        volume = read_series(instances(vendors / folder))
        assert volume.image.GetSize()[2] == len(volume.slices)
        assert sitk.GetArrayFromImage(volume.image).max() > 0

    def test_compressed_copies_agree(self, vendors: Path) -> None:
        """The four lossless encodings of the same series hold the same voxels."""
        names = ("j2k", "jpeg", "jpegls", "rle")
        folders = [vendors / "dicom2nifti_encodings" / f"generic_compressed_{name}_001" for name in names]
        shapes = {read_series(instances(folder)).image.GetSize() for folder in folders}
        assert shapes == {(256, 256, 4)}

    def test_colour_fa_is_refused(self, vendors: Path) -> None:
        """With a code."""
        with pytest.raises(InputError) as caught:
            read_series(instances(vendors / "siemens_xa30_enhanced" / "14_DWI_dir80_PA"))
        assert caught.value.code == "COLOUR"

    def test_mosaic_slices_lie_where_the_protocol_put_them(self, vendors: Path) -> None:
        """Centre of the first and last slice, from the scanner's protocol (sSliceArray.asSlice[k].sPosition)."""
        found = read_diffusion(instances(vendors / "siemens_e11_mosaic_HFS" / "4_ep2d_diff_mddw_20_p2"))
        image = found.images[0]
        for k, (cor, tra) in ((0, (-5.676, -74.671)), (24, (6.935, 49.490))):
            centre = image.TransformContinuousIndexToPhysicalPoint((64.0, 64.0, float(k)))
            assert centre == pytest.approx((0.0, cor, tra), abs=0.01)


class TestAdc:
    def _series(self, vendors: Path, *numbers: int) -> list[Dataset]:
        folder = vendors / "siemens_xa30_enhanced"
        return [ds for number in numbers for ds in instances(folder / f"{number}_DWI_dir80_PA")]

    def test_xa30_from_trace_and_b0_in_two_series(self, vendors: Path) -> None:
        """Against the scanner's own map: median relative difference below 1 %."""
        found = read_diffusion(self._series(vendors, 12, 16))
        assert (found.b_values, found.kinds) == ((0.0, 2500.0), ("b0", "trace"))
        computed = sitk.GetArrayFromImage(fit_adc(found.images, found.b_values))
        scanner = read_adc(self._series(vendors, 11))
        own = sitk.GetArrayFromImage(scanner.image)
        head = (own > 0.2e-3) & (computed > 0)
        assert head.sum() > 30_000
        assert np.median(np.abs(computed[head] - own[head]) / own[head]) < 0.01

    def test_xa30_from_the_directions(self, vendors: Path) -> None:
        """The geometric mean of 20 directions is near the scanner's trace."""
        found = read_diffusion(self._series(vendors, 10))
        computed = sitk.GetArrayFromImage(fit_adc(found.images, found.b_values))
        own = sitk.GetArrayFromImage(read_adc(self._series(vendors, 11)).image)
        head = (own > 0.2e-3) & (computed > 0)
        assert np.median(np.abs(computed[head] - own[head]) / own[head]) < 0.05

    @pytest.mark.parametrize("series", [(12, 16), (10,)])
    def test_xa30_the_computed_map_is_taken(self, vendors: Path, series: tuple[int, ...]) -> None:
        """Trace and b = 0 in two series, or 20 even directions: either way the medians agree, and the note says so."""
        found = study_adc(read_diffusion(self._series(vendors, *series)), read_adc(self._series(vendors, 11)))
        assert found.computed
        assert found.notes == ("the computed ADC map is taken: its median and the scanner's differ by 0%",)

    def test_matching_pairs_trace_and_b0_where_the_raw_series_is_absent(self, vendors: Path) -> None:
        """As when only the derived series were sent."""
        found = match(self._series(vendors, 12, 13, 16))
        chosen = {ds.SeriesInstanceUID for ds in self._series(vendors, 12, 16)}
        assert set(found.uids(found.series[0].role or "DWI")) == chosen  # type: ignore[arg-type]

    def test_isles_unit(self, real_data: Path) -> None:
        """A real map in 1e-3 mm^2/s, as an ADC in another unit than Siemens'."""
        from enhancement.dicom.reading.adc_map import adc_factor

        folder = real_data / "vendors" / "isles22_stroke_dwi_adc_nifti"
        file = next(path for path in folder.rglob("*adc*.nii*"))
        array: Any = sitk.GetArrayFromImage(sitk.ReadImage(str(file))).astype(np.float32)
        assert adc_factor(array) == pytest.approx(1e-3)
