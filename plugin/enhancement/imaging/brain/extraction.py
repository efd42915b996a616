"""Where the brain is: the part of brain extraction that needs no network.

A network sees the head at 2 mm on the atlas' axes; here its grid is laid, the head is turned when it lies on its side,
and what the network says becomes one mask without holes on the series' own grid. The networks themselves
(`enhancement.network`) come in as plain callables, so that imaging needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Mask, Volume
from enhancement.errors import BrainExtractionFailed
from enhancement.imaging.registration.similarity import head_points
from enhancement.imaging.resampling import antialiased, resample

#: A head in [0, 1], (z, y, x) at 2 mm, to the probability of brain on the same grid.
Segment = Callable[[Volume], Volume]
#: A head (z, y, x) in its own numbers and its spacing (z, y, x) in mm, to a brain mask on the same grid.
SegmentNative = Callable[[Volume, tuple[float, float, float]], Mask]

GRID_SPACING_MM = 2.0
_SIZE = (112, 128, 112)  # x, y, z: the simulated heads of the training, so that air has the same share
_ABOVE_MM = 8.0
_UPPER_QUANTILE = 0.995  # as in training: what is 1 to the network
_JUDGED = 0.3  # probability from which a voxel counts when a position of the head is judged
_PLAUSIBLE_ML = (800.0, 2000.0)
_GOOD = 1.25  # a plausible volume that the network is sure of: no other position needs to be tried
_ATLAS_AXES = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class FoundBrain:
    """What an extractor makes of a head; both images are uint8, 1 inside, on the series' grid.

    Attributes
    ----------
    mask : sitk.Image
        The brain: all that is more likely brain than not.
    possible : sitk.Image or None
        The mask and what else may well be brain at its edge, for `brain_edge.widen`: what is left out there is never
        enhanced. None where the mask is to be taken as it is.
    """

    mask: sitk.Image
    possible: sitk.Image | None = None


class BrainExtractor(Protocol):
    """Finds the brain in a head of any MR contrast."""

    @property
    def name(self) -> str: ...

    def extract(self, head: sitk.Image) -> FoundBrain:
        """Find the brain.

        Parameters
        ----------
        head : sitk.Image, float32
            One series.

        Raises
        ------
        BrainExtractionFailed
            If no brain is found.
        """
        ...


@dataclass(frozen=True)
class BuiltInExtractor:
    """The brain by this project's own network, on a head in any of six positions.

    Parameters
    ----------
    segment : callable
        The network; see `Segment`.
    threshold, possible_threshold : float
        Probabilities from which a voxel is brain, and from which it may well be.
    """

    segment: Segment
    threshold: float = 0.5
    possible_threshold: float = 0.1
    name: str = "built-in"

    def extract(self, head: sitk.Image) -> FoundBrain:
        """Try the head upright; where that gives no plausible brain, on its sides, on its face and tilted."""
        best, best_certainty = None, 0.0
        for turn in _turns():
            probability = self._probability(head, turn)
            mask, certainty = self._clean(probability)
            if mask is not None and certainty > best_certainty:
                best, best_certainty = (probability, mask), certainty
            if best_certainty >= _GOOD:
                break
        if best is None:
            raise BrainExtractionFailed(
                "a brain of some 0.8 to 2.0 litres was needed, found none in any position of the head",
                code="BRAIN_NOT_FOUND",
                advice="Check that the series shows a whole head; install HD-BET where this one fails.",
            )
        probability, piece = best
        mask = _onto(probability, one_piece(sitk.Mask(probability, piece) > self.threshold), head, self.threshold)
        wide = one_piece(probability > self.possible_threshold)
        possible = mask | _onto(probability, wide, head, self.possible_threshold)
        return FoundBrain(mask, None if looks_brain_extracted(head) else possible)

    def _probability(self, head: sitk.Image, turn: NDArray[np.float64]) -> sitk.Image:
        grid = head_grid(head, turn)
        unit = head_unit(sitk.GetArrayFromImage(_resample(head, grid)))
        probability = sitk.GetImageFromArray(np.asarray(self.segment(unit), dtype=np.float32))
        probability.CopyInformation(grid)
        return probability

    def _clean(self, probability: sitk.Image) -> tuple[sitk.Image | None, float]:
        """One solid piece, and how sure the network is of it (0 to 1, plus 0.5 for a plausible volume)."""
        mask = one_piece(probability > _JUDGED)
        array = sitk.GetArrayViewFromImage(mask)
        voxels = int(array.sum())
        p = sitk.GetArrayViewFromImage(probability)
        if not (p[array > 0] > self.threshold).any():
            return None, 0.0
        doubtful = float(np.minimum(p, 1 - p).sum())
        stray = float(((p > _JUDGED) & (array == 0)).sum())
        certainty = max(0.0, 1.0 - (2.0 * doubtful + stray) / voxels)
        millilitres = voxels * GRID_SPACING_MM**3 / 1000.0
        plausible = _PLAUSIBLE_ML[0] <= millilitres <= _PLAUSIBLE_ML[1]
        return mask, certainty + (0.5 if plausible else 0.0)


@dataclass(frozen=True)
class NativeExtractor:
    """The brain by a network that resamples for itself, such as HD-BET; the head is put on the atlas' axes for it."""

    segment: SegmentNative
    name: str = "hd-bet"

    def extract(self, head: sitk.Image) -> FoundBrain:
        """Reorient, segment, reorient back; the mask is taken as it is."""
        upright = sitk.DICOMOrient(sitk.Cast(head, sitk.sitkFloat32), "RAS")
        spacing = upright.GetSpacing()
        found = self.segment(sitk.GetArrayFromImage(upright), (spacing[2], spacing[1], spacing[0]))
        mask = sitk.GetImageFromArray(np.asarray(found, dtype=np.uint8))
        mask.CopyInformation(upright)
        back = sitk.Resample(one_piece(mask > 0), head, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        if not sitk.GetArrayViewFromImage(back).any():
            raise BrainExtractionFailed("a brain was needed, found none", code="BRAIN_NOT_FOUND")
        return FoundBrain(back)


@dataclass(frozen=True)
class BrainExtractedInput:
    """For input that is brain-extracted already: what is not zero is brain."""

    name: str = "none"

    def extract(self, head: sitk.Image) -> FoundBrain:
        """The one large piece of non-zero voxels, without holes; there is nothing outside it."""
        mask = one_piece(head > 0)
        if not sitk.GetArrayViewFromImage(mask).any():
            raise BrainExtractionFailed("a brain-extracted series was needed, found an empty one", code="BRAIN_EMPTY")
        return FoundBrain(mask)


@dataclass(frozen=True)
class UnlessBrainExtracted:
    """Takes a series that is brain-extracted already as it is, and leaves any other to an extractor."""

    extractor: BrainExtractor

    @property
    def name(self) -> str:
        """That of the extractor for heads."""
        return self.extractor.name

    def extract(self, head: sitk.Image) -> FoundBrain:
        """A network trained on heads would eat into a brain without one."""
        return (BrainExtractedInput() if looks_brain_extracted(head) else self.extractor).extract(head)


def looks_brain_extracted(head: sitk.Image) -> bool:
    """Whether a series is brain-extracted: exactly zero in most of its rim and in a third of its volume."""
    array = sitk.GetArrayViewFromImage(head)
    rim = np.concatenate([face.ravel() for axis in range(3) for face in (array.take(0, axis), array.take(-1, axis))])
    return bool(np.mean(rim == 0) > 0.9 and 1 / 3 < np.mean(array == 0) < 0.995 and _one_solid_piece(head))


def _one_solid_piece(head: sitk.Image) -> bool:
    # Copies, not views: a view of an unnamed image outlives its memory.
    mask = sitk.GetArrayFromImage(head > 0)
    solid = sitk.GetArrayFromImage(one_piece(head > 0))
    litres = float(solid.sum()) * float(np.prod(head.GetSpacing())) / 1e6
    return float((mask * solid).sum()) > 0.98 * float(mask.sum()) and 0.5 < litres < 2.2


def head_grid(head: sitk.Image, turn: NDArray[np.float64] | None = None) -> sitk.Image:
    """A 2 mm grid of 224 x 256 x 224 mm around a head, on the atlas' axes or on these turned.

    Parameters
    ----------
    head : sitk.Image
        The series; the grid lies over its field of view, or over its tissue where that is larger.
    turn : (3, 3), optional
        Rotation of the head against the atlas.
    """
    axes = _ATLAS_AXES if turn is None else turn @ _ATLAS_AXES
    size = np.asarray(_SIZE)
    extent = size * GRID_SPACING_MM
    corners = np.array(np.meshgrid(*[[-0.5, n - 0.5] for n in head.GetSize()])).reshape(3, -1).T
    view = np.array([head.TransformContinuousIndexToPhysicalPoint(corner.tolist()) for corner in corners]) @ axes
    tissue = head_points(head) @ axes
    low, high = (np.percentile(tissue, q, axis=0) for q in (1, 99))
    center = (view.min(axis=0) + view.max(axis=0)) / 2
    for axis in range(3):
        if view[:, axis].max() - view[:, axis].min() > extent[axis]:
            center[axis] = (low[axis] + high[axis]) / 2
    if high[2] - low[2] > extent[2] - 2 * _ABOVE_MM:  # a long neck: keep the top, where the brain is
        center[2] = high[2] + _ABOVE_MM - extent[2] / 2
    first = center - (size - 1) / 2 * GRID_SPACING_MM
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing([GRID_SPACING_MM] * 3)
    grid.SetDirection(axes.ravel().tolist())
    grid.SetOrigin((axes @ first).tolist())
    return grid


def head_unit(array_zyx: Volume) -> Volume:
    """A head in [0, 1], as the built-in network was trained: 1 is the 99.5th percentile of all voxels."""
    positive = np.maximum(array_zyx, 0)
    top = max(float(np.quantile(positive.ravel()[::7], _UPPER_QUANTILE)), 1e-6)
    return np.minimum(positive / np.float32(top), np.float32(1.0))


def one_piece(mask: sitk.Image) -> sitk.Image:
    """The largest connected piece, with holes filled; uint8."""
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(mask > 0))
    return sitk.Cast(sitk.BinaryFillhole(labels == 1), sitk.sitkUInt8)


def volume_ml(mask: sitk.Image) -> float:
    """Volume of a mask in millilitres."""
    return float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(mask.GetSpacing()) / 1000.0)


def _turns() -> list[NDArray[np.float64]]:
    z, x = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return [np.eye(3), z, z.T, z @ z, x, x.T]


def _resample(head: sitk.Image, grid: sitk.Image) -> sitk.Image:
    return resample(antialiased(head, GRID_SPACING_MM), grid, interpolation="linear")


def _onto(probability: sitk.Image, mask: sitk.Image, head: sitk.Image, threshold: float) -> sitk.Image:
    """The probability, not the mask, is interpolated: its contour is smooth between the 2 mm voxels."""
    near = sitk.Mask(probability, sitk.BinaryDilate(mask, [1, 1, 1]))
    filled = sitk.Maximum(near, sitk.Cast(sitk.BinaryErode(mask, [1, 1, 1]), sitk.sitkFloat32))
    native = sitk.Resample(filled, head, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return one_piece(native > threshold)
