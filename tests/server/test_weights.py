"""The real loader of weights inside Orthanc: what is missing or altered is named, and Orthanc serves on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from server.server import REPOSITORY, Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

PATIENCE_S = 120


def _without_a_fold(model: Path) -> None:
    (model / "fold-0.safetensors").unlink()


def _with_another_byte(model: Path) -> None:
    file = model / "fold-0.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "code", "found"),
    [
        (_without_a_fold, "WEIGHTS_MISSING", "fold-0.safetensors"),
        (_with_another_byte, "WEIGHTS_MISMATCH", "fold-0.safetensors"),
    ],
)
def test_orthanc_serves_on_and_says_what_is_wrong_with_the_weights(
    start_orthanc: Callable[..., Orthanc],
    make_study: Callable[..., PhantomStudy],
    tmp_path: Path,
    damage: Callable[[Path], None],
    code: str,
    found: str,
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(REPOSITORY / "model_weights" / "t1c-pro", weights / "t1c-pro")
    damage(weights / "t1c-pro")
    orthanc = start_orthanc({"ContrastEnhancement.ModelWeights": weights}, light=False)
    orthanc.wait(lambda: orthanc.get("/enhancement/status")["light"] == "red", PATIENCE_S, "a red status")
    problem = next(item for item in orthanc.get("/enhancement/status")["problems"] if item["code"] == code)
    assert found in problem["reason"]
    study = make_study()
    orthanc.send(study.paths)
    study_id = orthanc.study_id(study.study_instance_uid)
    job = orthanc.wait_for_job(study_id, timeout_s=PATIENCE_S)
    assert (job["state"], job["code"]) == ("FAILED", code)
    assert found in job["reason"]
    assert job["reason"] in orthanc.log_text()
    assert orthanc.results(study_id) == []
    assert len(orthanc.studies()) == 1
