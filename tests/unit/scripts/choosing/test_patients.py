"""What a simulated patient teaches, and how it is stored."""

import numpy as np
import pytest

from choosing import cache
from choosing.cache import GrowingCache, Population, made_in, make_next
from choosing.store import CODED, DISEASE, decoding, open_stored, remove_stored, store_patient, weights_of
from choosing.truth import enhancement_beyond_calm, find_truth
from simulation.layers import Label
from unit.choosing_support import EDGE, LEVEL, store_tiny, tiny_patient

WHOLE = (slice(0, EDGE),) * 3


class TestTruth:
    """Where disease is and how much the agent added."""

    def test_calm_tissue_has_no_enhancement(self):
        """The 5 % that its blood adds are calm."""
        patient = tiny_patient()
        calm = patient.brain & (patient.labels == 0)
        assert enhancement_beyond_calm(patient)[calm].max() < 1e-3 * LEVEL

    def test_a_lesion_has_what_the_agent_added(self):
        """Half of the tissue's own signal."""
        patient = tiny_patient()
        inside = patient.labels == Label.ENHANCING
        expected = 0.5 * patient.t1_clean[inside]
        assert enhancement_beyond_calm(patient)[inside] == pytest.approx(expected, rel=1e-4)

    def test_vessels_are_no_disease(self):
        """Not even beside a lesion."""
        patient = tiny_patient()
        assert not find_truth(patient).disease[patient.labels == Label.VESSEL].any()

    def test_small_lesions_weigh_more(self):
        """8 voxels weigh 4, the most; 343 voxels (523 / 343) ** (1/3)."""
        truth = find_truth(tiny_patient())
        assert truth.weight[10, 10, 10] == 4.0
        assert truth.weight[18, 18, 17] == pytest.approx(1.151, abs=1e-3)
        assert len(truth.centres) == 2


class TestStore:
    """8 bytes a voxel."""

    def test_intensities_come_back_on_the_mean(self, tmp_path):
        """Each voxel within a step, the mean within a thousandth."""
        patient = tiny_patient()
        stored = store_tiny(tmp_path, 1)[0]
        codes = stored.codes(WHOLE)
        mean = patient.t1c[patient.brain].mean()
        found = decoding("t1c")[codes[CODED.index("t1c")]][patient.brain]
        wanted = patient.t1c[patient.brain] / mean
        assert np.abs(found - wanted).max() < 0.04
        assert found.mean() == pytest.approx(wanted.mean(), rel=1e-3)

    def test_the_noise_free_image_is_kept_to_half_precision(self, tmp_path):
        """In units of the noisy one's brain mean."""
        patient = tiny_patient()
        stored = store_tiny(tmp_path, 1)[0]
        wanted = patient.t1c_k[1.0] / patient.t1c[patient.brain].mean()
        inside = patient.brain
        assert stored.clean(WHOLE)[inside] == pytest.approx(wanted[inside], rel=1e-3)

    def test_marks_hold_disease_and_its_weight(self, tmp_path):
        """To the next of fifteen weights."""
        stored = store_tiny(tmp_path, 1)[0]
        marks = stored.codes(WHOLE)[CODED.index("marks")]
        assert marks[10, 10, 10] & DISEASE
        assert weights_of(marks)[10, 10, 10] == pytest.approx(4.0)
        assert weights_of(marks)[18, 18, 17] == pytest.approx(1.151, rel=0.1)
        assert weights_of(marks)[0, 0, 0] == 0

    def test_a_window_beyond_the_box_is_empty(self, tmp_path):
        """What lies outside the brain was never stored."""
        stored = store_tiny(tmp_path, 1)[0]
        corner = (slice(0, 2), slice(0, 2), slice(0, 2))
        assert not stored.codes(corner).any()
        part = (slice(0, 12), slice(8, 24), slice(20, 32))
        assert np.array_equal(stored.codes(part), stored.codes(WHOLE)[(slice(None), *part)])

    def test_what_is_removed_is_gone(self, tmp_path):
        """All three files."""
        stored = store_tiny(tmp_path, 1)[0]
        remove_stored(stored.path)
        assert list(tmp_path.iterdir()) == []


class TestGrowingCache:
    """Patients come and go while training goes on."""

    def test_newcomers_are_seen_at_the_next_look(self, tmp_path):
        """And not before."""
        store_tiny(tmp_path, 1)
        folder = GrowingCache(tmp_path, every=10)
        assert len(folder.patients(0)) == 1
        store_patient(tiny_patient(9), tmp_path / "0000009.json")
        assert len(folder.patients(5)) == 1
        assert [p.facts["seed"] for p in folder.patients(10)] == [0, 9]

    def test_an_empty_folder_is_refused(self, tmp_path):
        """A network can't learn from nobody."""
        with pytest.raises(FileNotFoundError, match="make some first"):
            GrowingCache(tmp_path)

    def test_a_patient_is_the_same_after_reopening(self, tmp_path):
        """Scales, box and centres."""
        stored = store_tiny(tmp_path, 1)[0]
        assert open_stored(stored.path) == stored


class TestMaking:
    """Several processes may fill one folder."""

    def test_a_claimed_number_is_passed_over(self, tmp_path, monkeypatch):
        """By whoever comes second; a number that was made is never made again."""
        monkeypatch.setattr(cache, "simulate_patient", lambda seed, config: tiny_patient(seed))
        population = Population(tmp_path, limit=10)
        (tmp_path / "0000001.claim").touch()
        made = [make_next(population).stem for _ in range(3)]
        assert made == ["0000000", "0000002", "0000003"]
        assert made_in(tmp_path) == 4

    def test_the_oldest_make_room(self, tmp_path, monkeypatch):
        """When there are more than the limit."""
        monkeypatch.setattr(cache, "simulate_patient", lambda seed, config: tiny_patient(seed))
        population = Population(tmp_path, limit=2)
        for _ in range(4):
            make_next(population)
        assert [path.stem for path in sorted(tmp_path.glob("*.json"))] == ["0000002", "0000003"]
        assert not list(tmp_path.glob("*.claim"))

    def test_other_runs_see_other_patients(self, tmp_path, monkeypatch):
        """By their seed; none is one of a test cohort's."""
        seeds = []
        monkeypatch.setattr(cache, "simulate_patient", lambda seed, config: seeds.append(seed) or tiny_patient(seed))
        for run in (0, 3):
            make_next(Population(tmp_path / str(run), seed=run))
        assert seeds == [1_000_000, 1_300_000]
