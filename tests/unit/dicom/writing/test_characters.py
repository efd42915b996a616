"""Names in any script come through as they were."""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from enhancement.dicom.reading.series import read_series
from enhancement.dicom.writing.derived import encode, enhanced_series
from unit import phantom
from unit.derived_support import WORDS, provenance, unexpected_findings, write_files

NAMES = {
    "German": ("ISO_IR 100", "Müller^Jörg"),
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "half-width Japanese": (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "Chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "Unicode": ("ISO_IR 192", "Wang^XiaoDong=王^小东=Ünïcødé"),
    "Cyrillic": ("ISO_IR 144", "Люкceмбypг^Aнна"),
}


@pytest.fixture(scope="module")
def t1c(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantom.write_study(tmp_path_factory.mktemp("t1c"), roles=("T1C",), spacing_mm=(8.0, 8.0, 20.0)).paths


def _source(paths: list[Path], character_set: str | list[str], name: str, *, declared: str = "") -> list[Dataset]:
    """The T1c as another machine wrote it: encoded, and read back."""
    instances = []
    for path in paths:
        ds = dcmread(path)
        ds.SpecificCharacterSet, ds.PatientName = character_set, name
        buffer = BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)
        data = buffer.getvalue()
        if declared:
            data = data.replace(b"CS\x0a\x00ISO_IR 100", b"CS\x0a\x00" + declared.ljust(10).encode())
        instances.append(dcmread(BytesIO(data)))
    return instances


@pytest.mark.parametrize("script", NAMES)
def test_a_name_is_not_mangled(t1c: list[Path], tmp_path: Path, script: str) -> None:
    character_set, name = NAMES[script]
    source = read_series(_source(t1c, character_set, name))
    datasets = enhanced_series(source.image, source, {}, provenance(), WORDS)
    again = dcmread(BytesIO(encode(datasets[0])))
    assert str(again.PatientName) == name
    assert again.SpecificCharacterSet == source.slices[0].header.SpecificCharacterSet
    if shutil.which("dciodvfy"):
        errors = [line for line in unexpected_findings(write_files(datasets[:1], tmp_path)) if "Error" in line]
        assert errors == []


def test_bytes_beyond_the_declared_set_are_kept(t1c: list[Path]) -> None:
    """Old archives hold Latin letters under a header that promises ASCII; whoever could read them still can."""
    source = read_series(_source(t1c, "ISO_IR 100", "Müller^Jörg", declared="ISO_IR 6"))
    encoded = encode(enhanced_series(source.image, source, {}, provenance(), WORDS)[0])
    assert "Müller^Jörg".encode("latin-1") in encoded
