"""Noise, ghosts and clipping: measured where they were put, and not where they were not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.imaging.atlas import crop_to_network_grid, load_atlas
from enhancement.imaging.gate.artefacts import clipped_share, ghosting, noise_level
from enhancement.imaging.gate.checks import check_input
from enhancement.imaging.preparation import NetworkInput
from enhancement.recipes.amplification import T1C_PRO
from enhancement.settings import GateSettings


@pytest.fixture(scope="module")
def template() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The atlas as an image of 1000 with 3 % noise, and its brain."""
    import SimpleITK as sitk

    atlas = load_atlas()
    array = 1000 * sitk.GetArrayFromImage(crop_to_network_grid(atlas.t1))
    brain = sitk.GetArrayFromImage(crop_to_network_grid(atlas.brain)) > 0
    noise = np.random.default_rng(0).normal(0, 20, array.shape)
    return np.abs(array + noise).astype(np.float32), brain


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_noise_level(share: float) -> None:
    """Within 10 %, whatever the smooth anatomy below it."""
    rng = np.random.default_rng(2)
    z, y, x = np.mgrid[:64, :64, :64]
    brain = (z - 32) ** 2 + (y - 32) ** 2 + (x - 32) ** 2 < 26**2
    anatomy = 100 + 3 * ndimage.gaussian_filter(rng.normal(0, 30, brain.shape), 4)
    noisy = (anatomy + rng.normal(0, 100 * share, brain.shape)).astype(np.float32)
    assert noise_level(noisy, brain) == pytest.approx(share, rel=0.1)


class TestGhosting:
    def test_none(self, template: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
        """The folds of a cortex are not ghosts of each other."""
        assert ghosting(*template) < 0.1

    @pytest.mark.parametrize(("axis", "shift"), [(1, 17), (1, 52), (2, 40), (0, 25)])
    def test_strength(self, template: tuple[NDArray[np.float32], NDArray[np.bool_]], axis: int, shift: int) -> None:
        """A third of the picture again, along any axis."""
        array, brain = template
        assert 0.2 < ghosting(array + np.float32(0.33) * np.roll(array, shift, axis), brain) < 0.4

    def test_an_empty_mask(self, template: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
        """Tells nothing; other checks refuse it."""
        assert ghosting(template[0], np.zeros_like(template[1])) == 0.0


class TestClipping:
    def test_none(self, template: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
        """The largest value is met once."""
        assert clipped_share(*template) < 0.001

    @pytest.mark.parametrize("share", [0.01, 0.03])
    def test_the_brightest(self, template: tuple[NDArray[np.float32], NDArray[np.bool_]], share: float) -> None:
        """What was cut off is what is counted."""
        array, brain = template
        top = np.float32(np.quantile(array[ndimage.binary_dilation(brain, iterations=2)], 1 - share))
        assert clipped_share(np.minimum(array, top), brain) == pytest.approx(share, rel=0.35)

    def test_nothing_bright(self, template: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
        """An empty series is refused elsewhere."""
        assert clipped_share(np.zeros_like(template[0]), template[1]) == 0.0


def test_the_gate_reads_its_settings(template: tuple[NDArray[np.float32], NDArray[np.bool_]]) -> None:
    """Ghosts and clipping have a check for each series, the network's scale one for all."""
    from enhancement.imaging.atlas import to_image

    array, brain = template
    ghost = array + np.float32(0.4) * np.roll(array, 30, 1)
    clipped = np.minimum(array, np.float32(np.quantile(array[brain], 0.9)))
    inputs = np.zeros((1, *brain.shape), np.float32)
    inputs[0][brain & (array > np.quantile(array[brain], 0.98))] = 1.0
    prepared = NetworkInput(
        reference="T1C",
        inputs_czyx=inputs,
        brain_zyx=brain,
        volumes={"FLAIR": to_image(ghost), "T1C": to_image(clipped)},
        fields={},
        covered=dict.fromkeys(("FLAIR", "T1C"), np.ones_like(brain)),
        statistics={},
        to_series={},
        registrations={},
        brain=to_image(brain.astype(np.uint8)),
        missing=(),
    )
    verdicts = {check.code: check.verdict for check in check_input(prepared, GateSettings(), T1C_PRO.checks)}
    assert verdicts["GHOSTS_FLAIR"] == "refused"
    assert verdicts["GHOSTS_T1C"] == "passed"
    assert verdicts["CLIPPED_FLAIR"] == "passed"
    assert verdicts["CLIPPED_T1C"] == "refused"
    assert verdicts["SCALE"] == "warned"
