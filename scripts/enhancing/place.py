"""Whether the result can be written where it is wanted: found out before minutes of work, not after."""

from __future__ import annotations

import tempfile
from pathlib import Path

import SimpleITK as sitk

from enhancement.errors import InputError


def require_place(output: Path, *, folder: bool) -> None:
    """Make the folder, and for a volume try its format there.

    Parameters
    ----------
    folder : bool
        Whether a folder of DICOM files is to be written, rather than one volume.

    Raises
    ------
    InputError
        OUTPUT, with what is wrong.
    """
    target = output if folder else output.parent
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".enhance-") as scratch:
            if not folder:
                _try_format(Path(scratch), output)
    except OSError as error:
        raise InputError(f"{target} cannot be written to: {error.strerror}", code="OUTPUT") from None
    if not folder and output.is_dir():
        raise InputError(f"{output} is to be a file, and is a folder", code="OUTPUT")


def _try_format(scratch: Path, output: Path) -> None:
    try:
        sitk.WriteImage(sitk.Image(2, 2, 2, sitk.sitkFloat32), str(scratch / output.name))
    except RuntimeError:
        advice = "Give a name that ends in .nii.gz, .nrrd or .mha."
        raise InputError(
            f"ITK writes no volume of real numbers as {output.name!r}", code="OUTPUT", advice=advice
        ) from None
