"""The computed ADC map or the scanner's: one criterion at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.imaging.adc.choice import ComputedMap, choose_adc

BRAIN = 0.8e-3


def image(value: float, slices: int = 20) -> sitk.Image:
    """A block of tissue in air, 2 x 2 x 4 mm."""
    array = np.zeros((slices, 24, 24), np.float32)
    array[:, 6:18, 6:18] = value
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((2.0, 2.0, 4.0))
    return made


def computed(level: float = BRAIN, **changes: object) -> ComputedMap:
    """A clean one: b = 0 and the trace image of one series."""
    made = ComputedMap(
        adc=image(level),
        b0=image(1000),
        weighted=image(450),
        unevenness=0.0,
        apart=False,
        moved=False,
        noise_sigma=10.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class TestChoice:
    def test_by_default_the_computed(self) -> None:
        """And it says how well the two agree."""
        choice = choose_adc(computed(), image(BRAIN * 1.02), same_acquisition=True)
        assert not choice.takes_scanners
        assert "2%" in choice.why

    def test_maps_that_differ_are_told(self) -> None:
        """More than 10 %: one of them is wrong, and the scanner knows what it measured."""
        choice = choose_adc(computed(), image(BRAIN * 1.3), same_acquisition=True)
        assert choice.takes_scanners
        assert "one of them is wrong" in choice.why

    def test_a_map_of_the_scanner_that_is_no_brains_says_nothing(self) -> None:
        """Of 1.4e-3 mm^2/s: the computed one stands."""
        assert not choose_adc(computed(), image(1.4e-3), same_acquisition=True).takes_scanners

    def test_motion_that_is_distortion(self) -> None:
        """A partner of the other phase-encoding direction looks like a patient that moved."""
        assert choose_adc(computed(1.0e-3, moved=True), image(BRAIN), same_acquisition=True).takes_scanners

    def test_two_series_scaled_apart(self) -> None:
        """Philips scales every series for itself: the medians show it."""
        choice = choose_adc(computed(1.1e-3, apart=True), image(BRAIN), same_acquisition=True)
        assert choice.takes_scanners
        assert "two series" in choice.why

    def test_two_series_that_agree(self) -> None:
        """Siemens XA stores b = 0 and trace apart, on one scale."""
        assert not choose_adc(computed(apart=True), image(BRAIN * 1.01), same_acquisition=True).takes_scanners

    def test_uneven_directions(self) -> None:
        """Their mean is not the trace."""
        choice = choose_adc(computed(unevenness=0.8), image(BRAIN), same_acquisition=True)
        assert choice.takes_scanners
        assert "directions" in choice.why

    def test_motion_goes_before_directions(self) -> None:
        """A map made without correcting it has a rim of wrong values."""
        choice = choose_adc(computed(moved=True, unevenness=0.8), image(BRAIN), same_acquisition=True)
        assert not choice.takes_scanners
        assert "moved" in choice.why

    def test_noise(self) -> None:
        """Weighted signal of twice the noise."""
        choice = choose_adc(computed(weighted=image(20)), image(BRAIN), same_acquisition=True)
        assert choice.takes_scanners
        assert "noise" in choice.why

    def test_failed_fits(self) -> None:
        """A third of the head without a value."""
        holes = sitk.GetArrayFromImage(image(BRAIN))
        holes[:7] = 0
        adc = sitk.GetImageFromArray(holes)
        adc.CopyInformation(image(BRAIN))
        choice = choose_adc(computed(adc=adc), image(BRAIN), same_acquisition=True)
        assert choice.takes_scanners
        assert "does not fall with b" in choice.why

    @pytest.mark.parametrize(("slices", "scanners"), [(30, True), (12, False), (21, False)])
    def test_coverage(self, slices: int, scanners: bool) -> None:
        """Slices of 4 mm: 40 mm more, 32 mm less, 4 mm more."""
        assert choose_adc(computed(), image(BRAIN, slices), same_acquisition=True).takes_scanners is scanners

    def test_another_acquisition(self) -> None:
        """However uneven the directions are."""
        choice = choose_adc(computed(unevenness=2.0), image(BRAIN), same_acquisition=False)
        assert not choice.takes_scanners

    def test_a_computed_map_that_is_no_brains(self) -> None:
        """Then even that of another acquisition is better."""
        choice = choose_adc(computed(0.1e-3), image(BRAIN), same_acquisition=False)
        assert choice.takes_scanners
        assert "not that of a grown brain" in choice.why
