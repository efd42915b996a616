"""HD-BET in this process.

HD-BET's own entry point starts worker processes, which inside Orthanc would start a second Orthanc; here its predictor
is called directly on one array. The checkpoint is a pickle, and unpickling runs code, so the file's SHA-256 is compared
with a pinned one before torch opens it.

Source: Isensee et al. 2019, Hum Brain Mapp 40(17):4952; HD-BET 2.0.1.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from enhancement.arrays import Mask, Volume
from enhancement.errors import WeightsMismatch, WeightsMissing
from enhancement.network.engines.torch import choose_device

CHECKPOINT = Path("fold_all", "checkpoint_final.pth")
FILES = (Path("dataset.json"), Path("plans.json"), CHECKPOINT)
PIN = "SHA256SUMS"  # written by scripts/fetch_hd_bet.py, in the format of sha256sum
_lock = threading.Lock()


def is_installed(folder: Path | None) -> bool:
    """Whether a folder holds HD-BET's weights; says nothing of their content."""
    return folder is not None and all((folder / file).is_file() for file in FILES)


def load_hd_bet(
    folder: Path, *, device: str = "auto", sha256: str | None = None
) -> Callable[[Volume, tuple[float, float, float]], Mask]:
    """Load HD-BET's weights.

    Parameters
    ----------
    folder : Path
        With dataset.json, plans.json and fold_all/checkpoint_final.pth.
    device : str
        As in `Ensemble`.
    sha256 : str, optional
        Of the checkpoint; by default that in the folder's SHA256SUMS.

    Returns
    -------
    callable
        A head (z, y, x), axes in MNI orientation, and its spacing (z, y, x) in mm to a brain mask.

    Raises
    ------
    WeightsMissing
        If a file is not there, or nothing pins the checkpoint.
    WeightsMismatch
        If the checkpoint is not the pinned one, or not nnU-Net's.
    """
    _verify(folder, sha256)
    where = choose_device(device)
    with _lock, _unchanged_process():
        predictor = _predictor(folder, where)
        predictor.allow_tqdm = False  # no progress bar in a server's log

    def segment(head_zyx: Volume, spacing_zyx: tuple[float, float, float]) -> Mask:
        properties = {"spacing": [float(s) for s in spacing_zyx]}
        with _lock, _unchanged_process():
            found = predictor.predict_single_npy_array(
                np.ascontiguousarray(head_zyx, dtype=np.float32)[None], properties, None, None, False
            )
        return np.asarray(found) > 0

    return segment


def _verify(folder: Path, sha256: str | None) -> None:
    for file in FILES:
        if not (folder / file).is_file():
            raise WeightsMissing(
                f"HD-BET's folder lacks {file}",
                code="HD_BET_MISSING",
                advice="Run scripts/fetch_hd_bet.py, or set BrainExtractor to built-in.",
            )
    expected = sha256 or pinned(folder)
    if expected is None:
        raise WeightsMissing(
            f"HD-BET's checkpoint is a pickle and was to be pinned by {PIN} or HdBetSha256, found neither",
            code="HD_BET_NOT_PINNED",
            advice="Run scripts/fetch_hd_bet.py, which pins what it has verified.",
        )
    found = file_sha256(folder / CHECKPOINT)
    if found != expected:
        raise WeightsMismatch(
            f"HD-BET's checkpoint has SHA-256 {found[:12]}..., pinned is {expected[:12]}...", code="HD_BET_MISMATCH"
        )


def pinned(folder: Path) -> str | None:
    """SHA-256 of the checkpoint that the folder's SHA256SUMS names."""
    try:
        lines = (folder / PIN).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        digest, _, name = line.partition("  ")
        if name == CHECKPOINT.as_posix() and len(digest) == 64:
            return digest
    return None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _predictor(folder: Path, device: torch.device) -> Any:
    import HD_BET.paths

    HD_BET.paths.folder_with_parameter_files = str(folder)  # before the next import copies it
    from HD_BET import hd_bet_prediction

    hd_bet_prediction.folder_with_parameter_files = str(folder)  # and where that import has happened already
    try:
        return hd_bet_prediction.get_hdbet_predictor(use_tta=False, device=device, verbose=False)
    except (KeyError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise WeightsMismatch(
            f"HD-BET's folder does not hold an nnU-Net model that this version reads: {type(error).__name__}",
            code="HD_BET_MISMATCH",
        ) from error


@contextmanager
def _unchanged_process() -> Iterator[None]:
    """Give back what HD-BET and nnU-Net change in a process: standard output, and torch's number of threads."""
    output, threads = sys.stdout, torch.get_num_threads()
    try:
        yield
    finally:
        if sys.stdout is not output:
            sys.stdout = output
        torch.set_num_threads(threads)
