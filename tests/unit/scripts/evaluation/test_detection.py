"""The automatic reader on synthetic spheres and tubes, and the paper's pairing and counts."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from enhancement.errors import ModelError
from evaluation.detection import afroc, by_kind, compare, detectability, froc, sensitivity_interval
from evaluation.expert import candidate_lesions, mirrored, read_lesions
from evaluation.judge import SIGNS, fit_judge, load_judge, with_bias
from evaluation.normal_prior import load_prior
from evaluation.pairing import Lesion, Reading, read_case
from evaluation.reader import Detection, ReaderSettings, find_candidates, suppress, survey
from evaluation.regions import Spacing
from evaluation.surroundings import FEATURES, Place, describe
from simulation.frames import SHAPE as ATLAS_SHAPE
from simulation.frames import mni_to_voxel

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


def _marks(image: np.ndarray, t1: np.ndarray, brain: np.ndarray, spacing: Spacing = (1.0, 1.0, 1.0)) -> list[Detection]:
    """Candidates down to a contrast of 0.12, of touching ones the highest-ranking."""
    settings = ReaderSettings(contrast=0.12, noise_factor=5.0, blobness=0.3)
    marks = [candidate.mark for candidate in find_candidates(survey(image, t1, brain, spacing), settings)]
    return [marks[i] for i in suppress(marks)]


class TestCandidates:
    @pytest.mark.parametrize("diameter", [4.0, 8.0, 16.0])
    def test_a_sphere_is_found_where_it_is(self, diameter: float) -> None:
        """One mark, within a voxel, with about the diameter and the contrast."""
        t1, image = _images(0.6 * _ball((36, 30, 40), diameter))
        mark = _marks(image, t1, BRAIN)[0]
        assert mark.centre_mm == pytest.approx((36, 30, 40), abs=1)
        assert mark.diameter_mm == pytest.approx(diameter, rel=0.35)
        assert mark.score == pytest.approx(0.6, rel=0.3)

    def test_a_rim_is_one_lesion(self) -> None:
        """A necrotic centre does not make it many."""
        rim = _ball((36, 36, 36), 22) - _ball((36, 36, 36), 16)
        t1, image = _images(0.8 * rim)
        outcome = read_case(_marks(image, t1, BRAIN), [Lesion((36, 36, 36), 22, 22)]).at(0.12)
        assert outcome.found.tolist() == [True]
        assert len(outcome.false_sizes_mm) == 0

    def test_what_was_bright_before_is_not_enhancing(self) -> None:
        """T1-bright blood is bright in both images."""
        t1, image = _images(np.zeros(SHAPE), before=1.0 * _ball((36, 30, 40), 8))
        assert _marks(image, t1, BRAIN) == []

    def test_a_normal_brain_has_no_marks(self) -> None:
        """Tissue contrast and noise alone."""
        t1, image = _images(np.zeros(SHAPE), noise=0.03)
        assert _marks(image, t1, BRAIN) == []

    def test_the_receiver_gain_does_not_matter(self) -> None:
        """The image is read on its own brain's scale."""
        t1, image = _images(0.6 * _ball((36, 30, 40), 8))
        assert _marks(image * 7, t1 * 0.2, BRAIN)[0].score == pytest.approx(_marks(image, t1, BRAIN)[0].score)

    def test_noise_decides_as_well_as_contrast(self) -> None:
        """A small faint lesion is seen in the quiet image only."""
        small = 0.35 * _ball((36, 30, 40), 4)
        quiet, loud = _images(small, noise=0.02), _images(small, noise=0.25)
        assert len(_marks(quiet[1], quiet[0], BRAIN)) == 1
        assert not [m for m in _marks(loud[1], loud[0], BRAIN) if abs(m.centre_mm[0] - 36) < 2 and m.score < 0.35]

    def test_thick_slices(self) -> None:
        """Distances are mm: 3 mm slices, the same place."""
        t1, image = _images(0.6 * _ball((36, 30, 40), 10))
        marks = _marks(image[::3], t1[::3], BRAIN[::3], (3, 1, 1))
        assert marks[0].centre_mm == pytest.approx((36, 30, 40), abs=1.5)

    def test_settings_are_fixed_numbers(self) -> None:
        """They were set on the development seeds; whoever changes one raises `cohort.MEASURES_VERSION`."""
        assert asdict(ReaderSettings()) == {
            "threshold": 0.5,
            "contrast": 0.15,
            "noise_factor": 3.5,
            "blobness": 0.20,
            "diameters_mm": (2.5, 3.7, 5.4, 8.0, 12.0, 18.0, 27.0),
        }
        with pytest.raises(FrozenInstanceError):
            ReaderSettings().threshold = 0.3  # type: ignore[misc]


class TestSurroundings:
    def _told(self, add: np.ndarray, place: Place | None = None) -> dict[str, float]:
        """Features of the candidate nearest to the middle."""
        t1, image = _images(add)
        ground = survey(image, t1, BRAIN)
        found = find_candidates(ground, ReaderSettings(contrast=0.1, blobness=0.0))
        near = min(found, key=lambda c: float(np.linalg.norm(np.subtract(c.mark.centre_mm, (36, 40, 36)))))
        nothing = np.zeros(SHAPE, np.float32)
        row = describe([near], ground, t1, place or Place(nothing, lambda volume: volume[:, :, ::-1], nothing))[0]
        return dict(zip(FEATURES, row.tolist(), strict=True))

    def test_a_ball_has_no_arms(self) -> None:
        """It ends on every side, well within its window."""
        told = self._told(0.8 * _ball((36, 40, 36), 5))
        assert told["arms"] == 0
        assert told["along"] < 0.2
        assert told["long_35"] < 1.2
        assert told["ball"] > 0.5

    def test_a_tube_goes_on(self) -> None:
        """It has two arms, goes on along its axis, and leaves the window. It is thicker in the middle, as a bend is."""
        y, x = np.indices(SHAPE)[1] - 40, np.indices(SHAPE)[2] - 36
        told = self._told(0.8 * np.maximum(np.hypot(y, x) < 1.5, _ball((36, 40, 36), 5)))
        assert told["arms"] == 2
        assert told["along"] > 0.4
        assert told["leaves"] > 0.9

    def test_a_twin_is_seen(self) -> None:
        """Left and right, on a grid whose middle is its midline."""
        pair = _ball((36, 40, 36 - 14), 5) + _ball((36, 40, 35 + 14), 5)
        assert self._told(0.8 * pair)["twin"] > 0.8
        assert self._told(0.8 * _ball((36, 40, 36 - 14), 5))["twin"] < 0.3

    def test_the_place_is_looked_up(self) -> None:
        """A quarter of people have something there that enhances."""
        often, seldom = (np.full(SHAPE, value, np.float32) for value in (0.25, 0.001))
        told = self._told(0.8 * _ball((36, 40, 36), 5), Place(often, lambda volume: volume, seldom))
        assert told["place"] == pytest.approx(0.25)
        assert told["pitfall"] == pytest.approx(np.log(0.001), abs=0.01)


def _synthetic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of 200 candidates of which a tenth are lesions: brighter, rounder, without arms."""
    generator = np.random.default_rng(seed)
    lesion = np.where(np.arange(200) < 20, np.arange(200) // 2, -1)
    rows = generator.normal(0, 1, (200, len(FEATURES)))
    for name, shift in (("contrast", -1.0), ("ball", 2.0), ("arms", -2.0), ("twin", -1.0)):
        rows[lesion >= 0, FEATURES.index(name)] += shift
    return rows, lesion.astype(np.intp)


class TestJudge:
    def test_lesions_are_told_from_vessels(self) -> None:
        """On patients that it was not fitted on."""
        fitted = fit_judge(*zip(*[(*_synthetic(s), np.zeros(200, bool)) for s in range(4)], strict=True))
        rows, lesion = _synthetic(9)
        likely = fitted.probability(rows)
        assert likely[lesion >= 0].mean() > 0.6
        assert likely[lesion < 0].mean() < 0.1

    def test_more_contrast_never_lowers_it(self) -> None:
        """Though these lesions are fainter than vessels: else an amplified lesion would be read as one."""
        fitted = fit_judge(*zip(*[(*_synthetic(s), np.zeros(200, bool)) for s in range(4)], strict=True))
        rows, _ = _synthetic(9)
        brighter = rows.copy()
        brighter[:, FEATURES.index("contrast")] += 1
        assert (fitted.logit(brighter) >= fitted.logit(rows)).all()
        for name, sign in SIGNS.items():
            assert sign * fitted.weights[FEATURES.index(name)] >= 0

    def test_written_and_read(self, tmp_path: Path) -> None:
        """The same judge; one of other features is refused."""
        fitted = fit_judge([_synthetic(0)[0]], [_synthetic(0)[1]], [np.zeros(200, bool)], fitted_on="two patients")
        fitted.save(tmp_path / "judge.json")
        assert load_judge(tmp_path / "judge.json") == fitted
        other = (tmp_path / "judge.json").read_text().replace('"pitfall"', '"luck"')
        (tmp_path / "other.json").write_text(other)
        with pytest.raises(ModelError, match="fit it anew"):
            load_judge(tmp_path / "other.json")

    def test_the_bias_sets_the_even_odds(self) -> None:
        """What had a logit of 1.5 has even odds afterwards."""
        fitted = fit_judge([_synthetic(0)[0]], [_synthetic(0)[1]], [np.zeros(200, bool)])
        rows, _ = _synthetic(3)
        assert with_bias(fitted, 1.5).logit(rows) == pytest.approx(fitted.logit(rows) - 1.5)


class TestExpert:
    def test_a_ball_is_marked_and_a_tube_is_not(self) -> None:
        """By shape alone, where nobody knows the place."""
        tube = np.hypot(np.indices(SHAPE)[1] - 52, np.indices(SHAPE)[2] - 36) < 1.5
        t1, image = _images(0.8 * tube + 0.8 * _ball((36, 28, 30), 8))
        marks = read_lesions(image, t1, BRAIN, place=None, settings=ReaderSettings(threshold=0.02))
        best = max(marks, key=lambda mark: mark.score)
        assert best.centre_mm == pytest.approx((36, 28, 30), abs=1.5)
        inner = [m.score for m in marks if 14 < m.centre_mm[0] < 58 and abs(m.centre_mm[1] - 52) < 3]
        assert max(inner, default=0.0) < 0.5 * best.score

    def test_scores_are_probabilities(self) -> None:
        """From the threshold on, likeliest first."""
        t1, image = _images(0.8 * _ball((36, 28, 30), 8))
        scores = [m.score for m in candidate_lesions(image, t1, BRAIN, place=None, settings=ReaderSettings(0.01))]
        assert scores == sorted(scores, reverse=True)
        assert all(0.01 <= score <= 1 for score in scores)

    def test_the_atlas_has_its_sinuses_in_place(self) -> None:
        """Normal structures enhance at the torcula, hardly ever in the white matter of the centrum semiovale."""
        prior, pitfalls = load_prior()
        assert prior.shape == pitfalls.shape == ATLAS_SHAPE
        (torcula,), (white,) = (
            np.rint(mni_to_voxel(np.array([p]))).astype(int) for p in ((0, -98, -10), (28, -20, 36))
        )
        near = tuple(slice(i - 6, i + 7) for i in torcula)
        assert prior[near].max() > 0.3
        assert prior[tuple(white)] < 0.1

    def test_mirroring_twice_is_none(self) -> None:
        """The midline stays where it is."""
        volume = np.random.default_rng(0).random(ATLAS_SHAPE, dtype=np.float32)
        np.testing.assert_array_equal(mirrored(mirrored(volume)), volume)
        np.testing.assert_array_equal(mirrored(volume)[:, :, 80], volume[:, :, 80])


class TestAfroc:
    def _reading(self, scores: list[float], wrong: list[float]) -> Reading:
        lesions = [Lesion((0, 0, 40.0 * n), 8, 8) for n in range(len(scores))]
        marks = [Detection((0, 0, 40.0 * n), 8, s) for n, s in enumerate(scores)]
        marks += [Detection((0, 500, 40.0 * n), 8, s) for n, s in enumerate(wrong)]
        return read_case(marks, lesions)

    def test_the_area_counts_pairs(self) -> None:
        """Two lesions against the highest false mark of three patients: 4.5 of 6."""
        readings = [self._reading([0.9, 0.4], [0.3]), self._reading([], [0.6, 0.2]), self._reading([], [0.4])]
        found = afroc(readings)
        assert found.area == pytest.approx(4.5 / 6)
        assert found.interval[0] <= found.area <= found.interval[1]

    def test_a_reader_without_marks_ties(self) -> None:
        """Nothing found, nothing false."""
        assert afroc([read_case([], [Lesion((0, 0, 0), 5, 5)]), read_case([], [])]).area == 0.5
        assert np.isnan(afroc([read_case([], [])]).area)

    def test_kinds_are_counted_apart(self) -> None:
        """Found and all."""
        lesions = [Lesion((0, 0, 0), 8, 8, "glioma"), Lesion((0, 0, 40), 8, 8, "metastasis")]
        reading = read_case([Detection((0, 0, 0), 8, 0.9)], lesions)
        assert by_kind([reading, reading], threshold=0.5) == {"glioma": (2, 2), "metastasis": (0, 2)}

    def test_the_interval_holds_the_sensitivity(self) -> None:
        """Half of the patients have a lesion that is found."""
        readings = [self._reading([0.9], []) if n % 2 else self._reading([0.1], [0.5]) for n in range(20)]
        low, high = sensitivity_interval(readings, 0.0)
        assert 0.2 < low < 0.5 < high < 0.8


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
