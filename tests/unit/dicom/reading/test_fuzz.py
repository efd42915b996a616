"""Headers and files as bad as they come: a volume or a coded refusal every time, never a traceback."""

from __future__ import annotations

import io
import os
import random
import resource
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from enhancement.dicom.matching.match import match
from enhancement.dicom.reading import files
from enhancement.dicom.reading.adc_map import read_adc
from enhancement.dicom.reading.csa import parse_csa
from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.dicom.reading.files import read_header, read_instance
from enhancement.dicom.reading.headers import UNREADABLE
from enhancement.dicom.reading.headers import value as value_of
from enhancement.dicom.reading.series import read_series
from enhancement.errors import InputError
from unit.series_builder import classic, enhanced, ramp

GIBIBYTE_IN_KIB = 1 << 20
# 500 for the record; fewer in every run
CASES = int(os.environ.get("ENHANCEMENT_FUZZ_CASES", "300"))

_TEXTS = st.sampled_from(
    ["", "\\", "\\\\", "NaN", "1e400", "-1", "0", "T1 +C", "DWI\\ADC", "MOSAIC", "VFRAME", "é\x00", "9" * 300]
) | st.text(max_size=20)
_NUMBERS = st.sampled_from([0, -1, 1, 7, 65535, 60000]) | st.integers(0, 65535)
_DECIMALS = st.lists(
    st.sampled_from(["0", "1", "-1", "1e30", "-0.0001", "nan", "inf", "abc", ""])
    | st.floats(-1e6, 1e6).map(lambda v: f"{v:.6g}"),
    max_size=7,
)
# keyword -> VR and what may be written there: each value is put in raw, as a file would bring it
_WHOLE = "Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel"
_DECIMAL = (
    "ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices EchoTime "
    "RepetitionTime RescaleSlope RescaleIntercept"
)
_TEXT = (
    "SeriesDescription ProtocolName ImageType Manufacturer ContrastBolusAgent ScanningSequence SequenceName "
    "AcquisitionTime ImageComments PhotometricInterpretation SOPClassUID SeriesInstanceUID SOPInstanceUID "
    "NumberOfFrames InstanceNumber TemporalPositionIdentifier"
)
_FIELDS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    **dict.fromkeys(_WHOLE.split(), ("US", _NUMBERS)),
    **dict.fromkeys(_DECIMAL.split(), ("DS", _DECIMALS)),
    **dict.fromkeys(_TEXT.split(), ("LO", _TEXTS)),
    "DiffusionBValue": ("FD", st.floats(allow_nan=True, allow_infinity=True)),
}


def _put(ds: Dataset, keyword: str, value: Any) -> None:
    """Write a value past pydicom's checks, with the bytes that a careless writer would leave."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword) or 0)
    vr = dictionary_VR(tag)
    if _FIELDS[keyword][0] == "US":
        raw = int(value).to_bytes(2, "little", signed=value < 0)
    elif _FIELDS[keyword][0] == "FD":
        import struct

        raw = struct.pack("<d", value)
    else:
        text = "\\".join(value) if isinstance(value, list) else value
        raw = text.encode("utf-8", "surrogatepass")
    ds[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[int, str, Any]]:
    """Which attribute of which instance becomes what."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        keyword = draw(st.sampled_from(sorted(_FIELDS)))
        found.append((draw(st.integers(-1, 3)), keyword, draw(_FIELDS[keyword][1])))
    return found


def _attempt(instances: Sequence[Dataset]) -> None:
    """Everything that the plugin does with instances from an archive, within the memory that it may take."""
    pixels = sum(len(raw) for ds in instances if isinstance(raw := value_of(ds, "PixelData"), bytes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    match(instances)
    for read in (read_series, read_diffusion, read_adc):
        try:
            read(instances)
        except InputError as error:
            refusal = error
        else:
            continue
        assert refusal.code.isupper()
        assert refusal.reason
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < GIBIBYTE_IN_KIB + 2 * pixels // 1024


@given(changes=mutations(), kind=st.sampled_from(["classic", "diffusion", "enhanced"]))
@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_headers(changes: list[tuple[int, str, Any]], kind: str) -> None:
    """Any attribute absurd, in one instance or in all (-1)."""
    if kind == "classic":
        instances = classic("T1 MPRAGE", volume=ramp(4, 8, 8))
    elif kind == "diffusion":
        instances = classic("DWI", volume=ramp(4, 8, 8), series_uid="1.2", DiffusionBValue=0.0)
        instances += classic("DWI", volume=ramp(4, 8, 8), series_uid="1.2", DiffusionBValue=1000.0)
    else:
        instances = [enhanced(ramp(4, 8, 8), [0, 1, 2, 3], b_values=[0.0, 0.0, 900.0, 900.0])]
    for which, keyword, value in changes:
        for ds in instances if which < 0 else [instances[which % len(instances)]]:
            _put(ds, keyword, value)
    _attempt(instances)


def _file(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _encoded(syntax: str | None) -> list[bytes]:
    encoded = []
    for ds in classic("T1", volume=ramp(3, 64, 64)):
        if syntax:
            ds.compress(syntax, generate_instance_uid=False)
        encoded.append(_file(ds))
    return encoded


@pytest.fixture(scope="module")
def encodings() -> dict[str, list[bytes]]:
    syntaxes = {"native": None, "j2k": JPEG2000Lossless, "jpegls": JPEGLSLossless, "rle": RLELossless}
    return {name: _encoded(syntax) for name, syntax in syntaxes.items()}


@pytest.mark.parametrize("name", ["native", "j2k", "jpegls", "rle"])
def test_damaged_files(name: str, encodings: dict[str, list[bytes]], tmp_path: Path) -> None:
    """Truncated anywhere, bytes overwritten anywhere: 40 files of each encoding."""
    dice = random.Random(len(name))
    for _ in range(40):
        contents = [bytearray(content) for content in encodings[name]]
        victim = contents[dice.randrange(3)]
        if dice.random() < 0.5:
            del victim[dice.randrange(len(victim)) :]
        else:
            for _ in range(dice.randrange(1, 30)):
                victim[dice.randrange(132, len(victim))] = dice.randrange(256)
        instances = []
        for index, content in enumerate(contents):
            path = tmp_path / f"{index}.dcm"
            path.write_bytes(content)
            header, instance = read_header(path), read_instance(path)
            assert (header is None) or isinstance(header, Dataset)
            if instance is not None:
                instances.append(instance)
        _attempt(instances)


@pytest.mark.parametrize(
    "content", [b"", b"DICM", b"\0" * 132, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 99]
)
def test_files_that_are_none(content: bytes, tmp_path: Path) -> None:
    """Empty, a preamble alone, garbage after it."""
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    assert read_header(path) is None
    assert read_instance(path) is None


def test_a_mislabelled_transfer_syntax(encodings: dict[str, list[bytes]], tmp_path: Path) -> None:
    """Every encoding called every other."""
    for name, contents in encodings.items():
        for other in (JPEG2000Lossless, JPEGLSLossless, RLELossless, UID("1.2.840.10008.1.2"), UID("1.2.3.4")):
            instances = []
            for content in contents:
                path = tmp_path / "x.dcm"
                path.write_bytes(content)
                ds = read_instance(path)
                assert ds is not None, name
                ds.file_meta.TransferSyntaxUID = other
                instances.append(ds)
            _attempt(instances)


def test_lies_about_size_cost_no_memory() -> None:
    """A hundred thousand frames of 8000 x 8000 in a few bytes, classic and enhanced, native and compressed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for syntax in (None, JPEG2000Lossless):
        for make in (lambda: classic("T1", volume=ramp(3, 64, 64)), lambda: [enhanced(ramp(3, 64, 64), [0, 1, 2])]):
            instances = make()
            for ds in instances:
                if syntax:
                    ds.compress(syntax, generate_instance_uid=False)
                ds.Rows = ds.Columns = 8000
                ds.NumberOfFrames = 100_000
            _attempt(instances)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIBIBYTE_IN_KIB


@pytest.mark.parametrize("kind", ["classic", "enhanced", "diffusion", "ADC"])
def test_a_large_volume_is_held_once(kind: str) -> None:
    """48 MB of pixels as float32 are twice that; with some slack for headers, nothing else is held beside them."""
    volume = np.full((96, 512, 512), 800, np.uint16)
    if kind == "enhanced":
        instances = [enhanced(volume, list(range(96)))]
    elif kind == "diffusion":
        instances = classic("DWI", volume=volume[:48], series_uid="1.2", DiffusionBValue=0.0)
        instances += classic("DWI", volume=volume[:48], series_uid="1.2", DiffusionBValue=1000.0)
    else:
        instances = classic(kind, volume=volume)
    read = {"diffusion": read_diffusion, "ADC": read_adc}.get(kind, read_series)
    before = _peak_kib(reset=True)
    found = read(instances)
    assert _peak_kib() - before < (2 * volume.nbytes + (10 << 20)) / 1024
    assert "PixelData" not in (found.slices[0] if kind != "diffusion" else found.slices[0][0]).header


def _peak_kib(*, reset: bool = False) -> int:
    """Largest resident memory of this process since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def test_a_deflate_bomb_is_not_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """128 MiB of zeros in a hundred kilobytes, against a bound that the test lowers to 64 MiB."""
    monkeypatch.setattr(files, "_LONGEST_INFLATED", 1 << 26)
    ds = classic("T1", volume=ramp(2, 8, 8))[0]
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    head = _file(ds)
    meta_end = 132 + 12 + int.from_bytes(head[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join([packer.compress(b"\0" * (1 << 24)) for _ in range(8)] + [packer.flush()])
    path = tmp_path / "bomb.dcm"
    path.write_bytes(head[:meta_end] + bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_header(path) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GIBIBYTE_IN_KIB // 16


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=100, deadline=None)
def test_csa_headers_of_any_bytes(raw: bytes, second: bool) -> None:
    """A private binary table that anybody could have overwritten."""
    parse_csa((b"SV10\x04\x03\x02\x01" if second else b"") + raw)


def test_reading_errors_are_a_closed_list() -> None:
    """Programming errors of ours are not swallowed with those of headers."""
    assert AssertionError not in UNREADABLE
    assert Exception not in UNREADABLE


@pytest.fixture(scope="module")
def real_series(real_data: Path) -> list[Path]:
    """Folders of real scanners' files."""
    folders = {path.parent for path in (real_data / "vendors").rglob("*") if path.is_file()}
    return sorted(folder for folder in folders if any(read_header(path) for path in sorted(folder.iterdir())[:2]))


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", range(max(12, CASES // 5)))
def test_damaged_files_of_real_scanners(case: int, real_series: list[Path], tmp_path: Path) -> None:
    """Bytes changed, cut out, doubled or cut off in half of a dozen files of one series."""
    rng = random.Random(case)
    sources = sorted(path for path in real_series[case % len(real_series)].iterdir() if path.is_file())[:12]
    for index, source in enumerate(sources):
        raw = bytearray(source.read_bytes())
        if index % 2 == case % 2 or len(sources) < 3:
            _damage(raw, rng)
        (tmp_path / f"{index:02d}.dcm").write_bytes(raw)
    instances = [ds for path in sorted(tmp_path.iterdir()) if (ds := read_instance(path)) is not None]
    if instances:
        _attempt(instances)


def _damage(raw: bytearray, rng: random.Random) -> None:
    """Mostly in the header, where it hurts."""
    for _ in range(rng.randint(1, 12)):
        at = rng.randrange(132, min(len(raw), 6000) if rng.random() < 0.8 else len(raw))
        match rng.randrange(4):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 64)]
            case 2:
                raw[at:at] = raw[at : at + rng.randint(1, 64)]
            case 3:
                del raw[max(at, 400) :]
