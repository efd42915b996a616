"""The automatic reader on synthetic spheres and tubes, and the paper's pairing and counts."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from evaluation.detection import compare, detectability, froc
from evaluation.pairing import Lesion, Reading, read_case
from evaluation.reader import Detection, ReaderSettings, read_lesions

SHAPE = (72, 80, 72)
BRAIN = np.linalg.norm((np.indices(SHAPE) - 36.0) / np.array([34, 38, 34])[:, None, None, None], axis=0) < 1


def _ball(centre: tuple[float, float, float], diameter: float) -> np.ndarray:
    distance = np.linalg.norm(np.indices(SHAPE) - np.array(centre)[:, None, None, None], axis=0)
    return np.clip(diameter / 2 - distance + 0.5, 0, 1)


def _images(add: np.ndarray, *, noise: float = 0.02, before: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    tissue = np.where(ndimage.gaussian_filter(generator.standard_normal(SHAPE), 3) > 0, 1.1, 0.9)
    t1 = tissue if before is None else tissue + before
    pre = t1 + noise * generator.standard_normal(SHAPE)
    post = 4 * (t1 + add + noise * generator.standard_normal(SHAPE))
    return np.where(BRAIN, pre, 0).astype(np.float32), np.where(BRAIN, post, 0).astype(np.float32)


def _read(image: np.ndarray, t1: np.ndarray, brain: np.ndarray, **how: Any) -> list[Detection]:
    """The reader with a low threshold, so that faint spheres tell what it does."""
    return read_lesions(image, t1, brain, settings=ReaderSettings(threshold=0.12), **how)


class TestReader:
    @pytest.mark.parametrize("diameter", [4.0, 8.0, 16.0])
    def test_a_sphere_is_found_where_it_is(self, diameter: float) -> None:
        """One mark, within a voxel, with about the diameter and the contrast."""
        t1, image = _images(0.6 * _ball((36, 30, 40), diameter))
        (mark,) = _read(image, t1, BRAIN)
        assert mark.centre_mm == pytest.approx((36, 30, 40), abs=1)
        assert mark.diameter_mm == pytest.approx(diameter, rel=0.35)
        assert mark.score == pytest.approx(0.6, rel=0.3)

    def test_a_rim_is_one_lesion(self) -> None:
        """A necrotic centre does not make it many."""
        rim = _ball((36, 36, 36), 22) - _ball((36, 36, 36), 16)
        t1, image = _images(0.8 * rim)
        marks = _read(image, t1, BRAIN)
        outcome = read_case(marks, [Lesion((36, 36, 36), 22, 22)]).at(0.12)
        assert outcome.found.tolist() == [True]
        assert len(outcome.false_sizes_mm) == 0

    def test_a_vessel_is_not_a_lesion(self) -> None:
        """A bright tube across the brain is rejected by shape."""
        tube = np.hypot(np.indices(SHAPE)[1] - 40, np.indices(SHAPE)[2] - 36) < 1.5
        t1, image = _images(0.8 * tube)
        assert not [mark for mark in _read(image, t1, BRAIN) if 12 < mark.centre_mm[0] < 60]

    def test_what_was_bright_before_is_not_enhancing(self) -> None:
        """T1-bright blood is bright in both images."""
        t1, image = _images(np.zeros(SHAPE), before=1.0 * _ball((36, 30, 40), 8))
        assert _read(image, t1, BRAIN) == []

    def test_a_normal_brain_has_no_marks(self) -> None:
        """Tissue contrast and noise alone."""
        t1, image = _images(np.zeros(SHAPE), noise=0.03)
        assert _read(image, t1, BRAIN) == []

    def test_the_receiver_gain_does_not_matter(self) -> None:
        """The image is read on its own brain's scale."""
        t1, image = _images(0.6 * _ball((36, 30, 40), 8))
        assert _read(image * 7, t1 * 0.2, BRAIN)[0].score == pytest.approx(_read(image, t1, BRAIN)[0].score)

    def test_noise_decides_as_well_as_contrast(self) -> None:
        """A small faint lesion is seen in the quiet image only."""
        small = 0.35 * _ball((36, 30, 40), 4)
        quiet, loud = _images(small, noise=0.02), _images(small, noise=0.25)
        assert len(_read(quiet[1], quiet[0], BRAIN)) == 1
        assert not [m for m in _read(loud[1], loud[0], BRAIN) if abs(m.centre_mm[0] - 36) < 2 and m.score < 0.35]

    def test_thick_slices(self) -> None:
        """Distances are mm: 3 mm slices, the same place."""
        t1, image = _images(0.6 * _ball((36, 30, 40), 10))
        marks = read_lesions(image[::3], t1[::3], BRAIN[::3], spacing_zyx_mm=(3, 1, 1))
        assert marks[0].centre_mm == pytest.approx((36, 30, 40), abs=1.5)

    def test_known_anatomy_is_not_marked(self) -> None:
        """What the caller knows by its place."""
        t1, image = _images(0.6 * _ball((36, 30, 40), 8))
        assert _read(image, t1, BRAIN, known=_ball((36, 30, 40), 8) > 0) == []

    def test_settings_are_fixed_numbers(self) -> None:
        """They were set on the development seeds; whoever changes one raises `cohort.MEASURES_VERSION`."""
        assert asdict(ReaderSettings()) == {
            "threshold": 0.35,
            "noise_factor": 5.0,
            "blobness": 0.30,
            "elongation": 2.0,
            "csf_shell": 0.5,
            "small_mm": 12.0,
            "diameters_mm": (2.5, 3.7, 5.4, 8.0, 12.0, 18.0, 27.0),
        }
        with pytest.raises(FrozenInstanceError):
            ReaderSettings().threshold = 0.3  # type: ignore[misc]


class TestPairing:
    def test_closer_than_half_the_mean_of_the_axes(self) -> None:
        """Axes 10 and 6: closer than 4 mm pairs, 4 mm does not."""
        lesion = Lesion((0, 0, 0), 10, 6)
        assert read_case([Detection((0, 0, 3.99), 2, 1)], [lesion]).at(0).found.tolist() == [True]
        assert read_case([Detection((0, 0, 4.0), 2, 1)], [lesion]).at(0).found.tolist() == [False]

    def test_a_mark_is_used_once(self) -> None:
        """One mark between two lesions finds one of them, the closer."""
        lesions = [Lesion((0, 0, 0), 10, 10), Lesion((0, 0, 6), 10, 10)]
        assert read_case([Detection((0, 0, 2), 5, 1)], lesions).at(0).found.tolist() == [True, False]

    def test_second_mark_in_a_lesion_is_not_false(self) -> None:
        """A nodule on the rim of a lesion that was found."""
        marks = [Detection((0, 0, 0), 9, 1), Detection((0, 0, 7), 4, 0.5)]
        reading = read_case(marks, [Lesion((0, 0, 0), 20, 18)])
        assert reading.kept(0.4) == [0, 1]
        assert len(reading.at(0.4).false_sizes_mm) == 0

    def test_of_touching_marks_one_is_left(self) -> None:
        """Contrast times the root of the diameter ranks: 0.5 of 16 mm is before 0.9 of 4 mm."""
        marks = [Detection((0, 0, 7), 4, 0.9), Detection((0, 0, 0), 16, 0.5), Detection((0, 0, 40), 4, 0.4)]
        assert read_case(marks, []).kept(0.4) == [1, 2]

    def test_a_mark_that_the_reader_would_not_make_takes_nothing(self) -> None:
        """A large faint mark would join a bright small one, and a faint closer one its lesion, were they marks."""
        lesion = Lesion((0, 0, 0), 10, 10)
        joined = read_case([Detection((0, 0, 4), 4, 0.4), Detection((0, 0, 9), 27, 0.2)], [lesion])
        assert joined.at(0.35).found.tolist() == [True]
        assert joined.kept(0.2) == [1]
        closer = read_case([Detection((0, 0, 4), 4, 0.4), Detection((0, 0, -2.5), 4, 0.2)], [lesion])
        assert closer.at(0.35).found.tolist() == closer.at(0.2).found.tolist() == [True]

    def test_a_mark_on_a_lesions_tissue_is_not_false_however_far_its_centre(self) -> None:
        """A sheet 60 mm long, in voxels of 1 x 1 x 2 mm: on it and 1 mm beside it; 3 mm beside it is elsewhere."""
        sheet = np.zeros((12, 12, 40), dtype=bool)
        sheet[5, 6, 5:35] = True
        lesions = [Lesion((5, 6, 40), 20, 10)]
        marks = [Detection((5, y, 12), 4, 0.5) for y in (6, 7, 9)]
        reading = read_case(marks, lesions, tissue=sheet, spacing_zyx_mm=(1.0, 1.0, 2.0))
        assert reading.within == (True, True, False)
        assert read_case(marks, lesions).within == (False, False, False)

    def test_elsewhere_is_false(self) -> None:
        """A mark without lesion counts, with its size."""
        reading = read_case([Detection((0, 0, 30), 4.4, 0.5)], [Lesion((0, 0, 0), 20, 18)])
        assert reading.at(0.5).false_sizes_mm.tolist() == [4.4]
        assert reading.at(0.51).false_sizes_mm.tolist() == []


def _reading(lesions: list[tuple[float, float | None]], false: list[tuple[float, float]] | None = None) -> Reading:
    """Lesions (size, score of their mark or None) and false marks (size, score), all far from one another."""
    placed = [Lesion((0, 0, 100.0 * n), size, size) for n, (size, _) in enumerate(lesions)]
    marks = [
        Detection(lesion.centre_mm, lesion.long_mm, score)
        for lesion, (_, score) in zip(placed, lesions, strict=True)
        if score is not None
    ]
    marks += [Detection((0, 100.0 * (n + 1), 0), size, score) for n, (size, score) in enumerate(false or [])]
    return read_case(marks, placed)


class TestCounts:
    @pytest.fixture
    def readings(self) -> list[Reading]:
        """Two cases: 3 of 4 lesions found at 0.2, one false mark."""
        return [_reading([(3, 0.3), (12, 0.9)], false=[(4, 0.25)]), _reading([(6, 0.5), (2, None)])]

    def test_table_5(self, readings: list[Reading]) -> None:
        """Sensitivity 3/4, 0.5 false per case, PPV 3/4, F1 3/4."""
        found = detectability(readings, threshold=0.2)
        assert (found.lesions, found.found, found.false) == (4, 3, 1)
        assert (found.sensitivity, found.false_per_case, found.ppv, found.f1) == pytest.approx((0.75, 0.5, 0.75, 0.75))

    def test_sizes_are_nested_or_bins(self, readings: list[Reading]) -> None:
        """>= 5 mm has two lesions and no false mark of that size; < 3 mm has one, missed."""
        large = detectability(readings, threshold=0.2, from_mm=5)
        small = detectability(readings, threshold=0.2, below_mm=3)
        assert (large.lesions, large.found, large.false) == (2, 2, 0)
        assert (small.lesions, small.found) == (1, 0)

    def test_threshold_counts(self, readings: list[Reading]) -> None:
        """At 0.6 only the strong one is left, and nothing false."""
        found = detectability(readings, threshold=0.6)
        assert (found.found, found.false) == (1, 0)

    def test_froc_rises(self, readings: list[Reading]) -> None:
        """Every score is a point, after that of a reader who marks nothing."""
        curve = froc(readings)
        assert curve.thresholds == [np.inf, 0.9, 0.5, 0.3, 0.25]
        assert curve.sensitivity == [0, 0.25, 0.5, 0.75, 0.75]
        assert curve.false_per_case == [0, 0, 0, 0, 0.5]
        assert curve.sensitivity_at(0) == 0.75

    def test_froc_of_one_false_mark_starts_at_nothing(self) -> None:
        """Without false marks nothing is found: 0, not a number that is missing."""
        curve = froc([_reading([(3, None)], false=[(4, 0.5)])])
        assert curve.sensitivity_at(0) == 0

    def test_froc_is_the_table_at_every_threshold(self) -> None:
        """300 marks, many of which touch, of 20 lesions in three cases."""
        random = np.random.default_rng(2)

        def case() -> Reading:
            lesions = [Lesion(tuple(random.uniform(0, 60, 3)), d, d) for d in random.uniform(2, 15, 7)]
            marks = [Detection(tuple(random.uniform(0, 60, 3)), 5.4, s) for s in random.uniform(0.1, 1, 100).round(2)]
            return read_case(marks, lesions)

        cases = [case() for _ in range(3)]
        curve = froc(cases)
        assert len(curve.thresholds) > 60
        for threshold, false, sensitivity in zip(
            curve.thresholds, curve.false_per_case, curve.sensitivity, strict=True
        ):
            row = detectability(cases, threshold=threshold)
            assert (row.false_per_case, row.sensitivity) == pytest.approx((false, sensitivity))

    def test_compare_counts_discordant_lesions(self, readings: list[Reading]) -> None:
        """One lesion gained, none lost: mid-p 0.5; false marks equal: P 1."""
        better = [readings[0], _reading([(6, 0.5), (2, 0.4)])]
        found = compare(readings, better, threshold=0.2)
        assert (found.gained, found.lost) == (1, 0)
        assert found.sensitivity_p == pytest.approx(0.5)
        assert found.false_p == 1
