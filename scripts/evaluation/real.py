"""Real cases: a folder each, through the plugin's whole pipeline, measured on the T1c's own grid.

A case folder holds either volumes named by what they are (t1 or t1n, t1c or t1ce, flair, fla or t2f, adc in
mm2/s, seg; .nii, .nii.gz, .mha or .nrrd, with any prefix and with suffixes such as _bet; `training.volume_names`), or
a DICOM study. Where there is a segmentation, `label` says which of its values is enhancing tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from enhancement.archive.folder import FolderArchive
from enhancement.arrays import Mask, Volume
from enhancement.imaging.atlas import load_atlas, to_image
from enhancement.imaging.brain.extraction import BuiltInExtractor, UnlessBrainExtracted
from enhancement.imaging.preparation import StudyImages
from enhancement.imaging.registration.transforms import compose
from enhancement.imaging.resampling import resample
from enhancement.network.brain_extractor import load_brain_network
from enhancement.network.loading import load_ensemble
from enhancement.pipeline.enhance import Enhancement, enhance
from enhancement.pipeline.networks import Networks
from enhancement.pipeline.read import read_study
from enhancement.recipes.amplification import T1C_PRO
from enhancement.settings import Settings
from evaluation.cases import Case
from evaluation.enhancing import Enhanced
from evaluation.normal_prior import load_prior
from evaluation.pairing import Lesion
from evaluation.reader import Detection, enhancement_map, sphere_response
from evaluation.regions import Spacing, dilate, enhancing, find_regions
from evaluation.surroundings import Place
from training.volume_names import find_volumes

#: The label of enhancing tumour: 3 since BraTS 2023, 4 before.
ENHANCING_LABEL = 3


@dataclass(frozen=True)
class RealCase:
    """Images of a case as they are, and the segmentation where there is one."""

    name: str
    images: StudyImages
    segmentation: sitk.Image | None


def read_case(folder: Path, *, segmentation: Path | None = None) -> RealCase:
    """Read a case folder.

    Raises
    ------
    InputError
        If neither T1 and T1c volumes nor a usable DICOM study are found.
    """
    files = find_volumes(folder)
    if segmentation is not None:
        files["seg"] = segmentation
    if "t1" not in files or "t1c" not in files:
        images = read_study(FolderArchive(folder), "", T1C_PRO, Settings()).images
        return RealCase(folder.name, images, sitk.ReadImage(str(files["seg"])) if "seg" in files else None)
    read = {role: sitk.ReadImage(str(path), sitk.sitkFloat32) for role, path in files.items() if role != "seg"}
    images = {role.upper(): read[role] for role in ("t1", "t1c", "flair", "adc") if role in read}
    return RealCase(folder.name, images, sitk.ReadImage(str(files["seg"])) if "seg" in files else None)


class Pipeline:
    """The plugin's pipeline with a model folder.

    Parameters
    ----------
    folder, brain_folder : Path
        Model folders of the network and of the built-in brain extractor.
    folds, mirrorings : int
    """

    def __init__(self, folder: Path, brain_folder: Path, *, folds: int = 5, mirrorings: int = 8) -> None:
        self.networks = Networks(
            load_ensemble(folder, folds=folds, mirrorings=mirrorings),
            UnlessBrainExtracted(BuiltInExtractor(load_brain_network(brain_folder))),
        )

    @property
    def dose_factor(self) -> float:
        return self.networks.ensemble.model.manifest.output.dose_factor

    def __call__(self, real: RealCase) -> Enhancement:
        """Enhance a case as the plugin would."""
        return enhance(real.images, T1C_PRO, self.networks, Settings())


def as_case(real: RealCase, enhancement: Enhancement, *, label: int = ENHANCING_LABEL) -> tuple[Case, Enhanced]:
    """Bring everything to the T1c's grid, where a reader looks at it.

    Parameters
    ----------
    real : RealCase
    enhancement : Enhancement
        What the pipeline made of it.
    label : int
        Value of enhancing tumour in the segmentation; every other value above 0 is abnormal.
    """
    grid = real.images["T1C"]
    prepared = enhancement.prepared
    to_network = prepared.to_series["T1C"].GetInverse()
    volumes: dict[str, Volume] = {}
    for role, image in real.images.items():
        if role == "T1C":
            volumes[role] = _array(image)
        elif role in prepared.to_series:
            way = compose(to_network, prepared.to_series[role])
            volumes[role] = _array(resample(image, grid, way, "linear"))
    brain = np.asarray(sitk.GetArrayFromImage(enhancement.brain) > 0)
    spacing: Spacing = tuple(reversed(grid.GetSpacing()))
    lesion, abnormal = outlined(real, grid, label)
    white = _array(resample(load_atlas().wm, grid, to_network, "linear")) > 0.75
    regions = find_regions(
        volumes["T1"], volumes["T1C"], brain, lesion=lesion & brain, abnormal=abnormal, white_prior=white,
        spacing_zyx_mm=spacing,
    )  # fmt: skip
    case = Case(
        name=real.name,
        volumes=volumes,
        brain=brain,
        regions=regions,
        spacing_zyx_mm=spacing,
        lesions=tuple(components(lesion & brain, spacing)),
        enhancing=enhancing(volumes["T1"], volumes["T1C"], brain, spacing) | lesion,
        place=_place(grid, prepared.to_series["T1C"]),
        facts={
            "segmented": real.segmentation is not None,
            "missing": list(enhancement.missing_roles),
            "stage_seconds": enhancement.stage_seconds,
            "warnings": list(enhancement.warnings),
        },
    )
    made = Enhanced(_array(enhancement.image), _array(enhancement.spread), enhancement.predictions)
    return case, made


def components(lesion: Mask, spacing_zyx_mm: Spacing, *, smallest: int = 5) -> list[Lesion]:
    """Connected enhancing lesions: middle of the bounding box, the long and the middle extent.

    The middle of the box, not the centre of mass: that of a partial rim lies outside the lesion as a reader draws it.
    """
    labels, _ = ndimage.label(lesion, np.ones((3, 3, 3)))
    found = []
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        if (labels[box] == index).sum() < smallest:
            continue
        extent = sorted((part.stop - part.start) * step for part, step in zip(box, spacing_zyx_mm, strict=True))
        z, y, x = ((part.start + part.stop - 1) / 2 * step for part, step in zip(box, spacing_zyx_mm, strict=True))
        found.append(Lesion((z, y, x), extent[2], extent[1]))
    return found


def new_blobs(case: Case, image: Volume, marks: Sequence[Detection]) -> list[dict[str, Any]]:
    """Of the reader's marks those where the T1c itself does not enhance, outside the segmentation.

    A vessel that the reader sees only in T1c-pro is an enhancing structure; a mark is new where the T1c's own
    response at that place and size is below three robust standard deviations of the response in calm tissue.
    """
    excess, _ = enhancement_map(case.t1c, case.t1, case.brain, case.spacing_zyx_mm)
    near_lesion = dilate(case.regions.lesion, 5.0, case.spacing_zyx_mm)
    found = []
    responses: dict[float, tuple[Volume, float]] = {}
    for mark in marks:
        voxel = tuple(round(c / step) for c, step in zip(mark.centre_mm, case.spacing_zyx_mm, strict=True))
        if near_lesion[voxel]:
            continue
        if mark.diameter_mm not in responses:
            response = sphere_response(excess, mark.diameter_mm, case.spacing_zyx_mm)
            calm = response[case.regions.tissue]
            responses[mark.diameter_mm] = response, 1.4826 * float(np.median(np.abs(calm - np.median(calm))))
        response, noise = responses[mark.diameter_mm]
        window = tuple(slice(max(v - 1, 0), v + 2) for v in voxel)
        seen = float(response[window].max()) / max(noise, 1e-9)
        if seen < 3:
            found.append({"centre_mm": list(mark.centre_mm), "diameter_mm": mark.diameter_mm,
                          "score": mark.score, "t1c_response_sd": seen})  # fmt: skip
    return found


def outlined(real: RealCase, grid: sitk.Image, label: int) -> tuple[Mask, Mask]:
    """Enhancing tumour (z, y, x), and all that is abnormal, of a case's segmentation on the T1c's grid."""
    if real.segmentation is None:
        nothing = np.zeros(tuple(reversed(grid.GetSize())), dtype=bool)
        return nothing, nothing.copy()
    segmentation = real.segmentation
    if segmentation.GetSize() == grid.GetSize() and np.allclose(
        segmentation.GetDirection(), grid.GetDirection(), atol=1e-2
    ):
        array = sitk.GetArrayFromImage(segmentation)  # headers of segmentations are often a shade off
    else:
        array = sitk.GetArrayFromImage(resample(segmentation, grid, None, "nearest"))
    values = np.rint(array)
    return values == label, values > 0


def without_segmentation(case: Case) -> Case:
    """The same case as if nobody had outlined anything."""
    empty = np.zeros_like(case.brain)
    return replace(case, lesions=(), regions=replace(case.regions, lesion=empty))


def _place(grid: sitk.Image, to_t1c: sitk.Transform) -> Place:
    """What is known of anatomy on the T1c's grid, by the way from the atlas to the T1c."""
    to_network = to_t1c.GetInverse()
    swap = sitk.AffineTransform(3)
    swap.Scale((-1.0, 1.0, 1.0))
    way = compose(to_network, swap, to_t1c)

    def mirror(volume: Volume) -> Volume:
        return _array(resample(to_image(volume, grid), grid, way, "linear"))

    normal, pitfalls = (_array(resample(to_image(part), grid, to_network, "linear")) for part in load_prior())
    return Place(normal, mirror, pitfalls)


def _array(image: sitk.Image) -> Volume:
    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)
