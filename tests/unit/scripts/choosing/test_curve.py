"""The learning curve: what is measured, and that prepared cases come back as they were."""

import numpy as np
import pytest

from choosing import curve_store
from choosing.curve import implant_row, measure_all
from choosing.curve_cases import CurveCase, with_implants
from enhancement.imaging.measured_enhancement import Measured
from evaluation.brightening import agent_map, brightening

SHAPE = (48, 48, 48)


def calm_case(lesion_size=6):
    """White matter of level 100 within grey within fluid; a lesion and a vessel, both 80 brighter in the T1c."""
    rng = np.random.default_rng(2)
    distance = np.linalg.norm(np.indices(SHAPE) - 23.5, axis=0)
    brain = distance < 22
    lesion, vessel = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    lesion[14 : 14 + lesion_size, 20:26, 20:26] = True
    vessel[20:34, 33:35, 23:25] = True
    tissue = np.select([distance < 19, distance < 21], [100.0, 70.0], 30.0)
    t1 = (tissue + rng.normal(0, 2, SHAPE)).astype(np.float32)
    t1c = (tissue + 80 * (lesion | vessel) + rng.normal(0, 2, SHAPE)).astype(np.float32)
    zero = np.zeros(SHAPE, np.float32)
    calm = (distance < 18) & ~lesion & ~vessel
    return CurveCase("calm", {"T1": t1, "T1C": t1c}, brain, lesion, Measured(zero, zero, 2.0, 3.0, 100.0), calm, calm)


class TestBrightening:
    """The measures of one image."""

    def test_what_the_agent_did_is_found(self):
        """0.8 of the median in lesion and vessel, nothing elsewhere."""
        case = calm_case()
        d = agent_map(case.volumes["T1"], case.volumes["T1C"], case.brain)
        assert d[case.lesion].mean() == pytest.approx(0.8, abs=0.02)
        assert abs(d[case.roi].mean()) < 0.01

    def test_a_lesion_alone_amplified_leaves_vessels_at_zero(self):
        """Twice what the agent did: A is 2."""
        case = calm_case()
        image = case.volumes["T1C"] + 160 * case.lesion
        found = brightening(case.volumes["T1"], case.volumes["T1C"], image, case.brain, case.lesion)
        assert found.lesion == pytest.approx(2.0, abs=0.05)
        assert (found.vessels, found.pieces, found.millilitres) == (0.0, 0, 0.0)

    def test_a_vessel_amplified_alike_counts_as_one_piece(self):
        """14 x 2 x 2 voxels of a microlitre."""
        case = calm_case()
        image = case.volumes["T1C"] + 160 * (case.lesion | (case.volumes["T1C"] > 150))
        found = brightening(case.volumes["T1"], case.volumes["T1C"], image, case.brain, case.lesion)
        assert found.vessels == pytest.approx(1.0, abs=0.05)
        assert found.pieces == 1
        assert found.millilitres == pytest.approx(0.056)


class TestImplants:
    """Lesions of known place."""

    def test_they_are_in_the_t1c_and_nowhere_near_the_lesion(self):
        """What the case says was added is what was."""
        case = calm_case()
        implanted = with_implants(case, 0)
        assert implanted.implants
        added = implanted.volumes["T1C"] - case.volumes["T1C"]
        for implant in implanted.implants:
            assert added.ravel()[implant.index] == pytest.approx(implant.added, rel=0.05, abs=0.2)

    def test_shares_are_counted_by_size(self):
        """One of two of 3 mm is amplified, the 2 mm one dimmed."""
        row = implant_row([(2.0, 0.5, -0.2), (3.0, 0.2, 0.9), (3.0, 0.2, 0.1)])
        assert row["implants 2"] == 0.0
        assert row["implants 2 dimmed"] == 1.0
        assert row["implants 3"] == 0.5
        assert row["implants all A"] == pytest.approx(0.2667, abs=1e-3)


class TestRow:
    """A row of the table."""

    def test_the_t1c_itself_changes_nothing(self):
        """A 0, noise, level and contrast as they were."""
        row = measure_all([calm_case()], lambda case: case.volumes["T1C"])
        expected = {"A": 0.0, "ml": 0.0, "pieces": 0, "calm": 1.0, "noise": 1.0, "CNR": 1.0, "LBR-1": 1.0}
        assert {name: row[f"real {name}"] for name in expected} == pytest.approx(expected)

    def test_prepared_cases_come_back(self, tmp_path):
        """Within the brain, value by value."""
        case = with_implants(calm_case(), 1)
        curve_store.save([case], tmp_path)
        found = curve_store.load(tmp_path)[0]
        assert np.array_equal(found.volumes["T1C"][case.brain], case.volumes["T1C"][case.brain])
        assert np.array_equal(found.lesion, case.lesion)
        assert found.measured.noise == case.measured.noise
        assert [i.diameter_mm for i in found.implants] == [i.diameter_mm for i in case.implants]
        assert np.array_equal(found.implants[0].index, case.implants[0].index)
