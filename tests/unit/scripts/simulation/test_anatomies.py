"""Real heads as anatomies: who may use which, what their labels become, and that the average stays what it was."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from enhancement.errors import InputError
from simulation import label_maps
from simulation.anatomy import Anatomy, build_anatomy, draw_anatomy
from simulation.brain_masks import imperfect_mask
from simulation.deformation import Deformation, draw_deformation
from simulation.fields import stream
from simulation.frames import HEAD_ORIGIN_MNI, HEAD_SHAPE, OFFSET, SHAPE, mni_to_voxel, window
from simulation.head import simulate_head
from simulation.head_labels import PARENCHYMA, PLEXUS, VEIN, select, swap_sides
from simulation.head_maps import HeadMaps, derive
from simulation.head_tissues import BLOOD, outer_of_labels
from simulation.label_maps import HeadChoice, draw_head_choice, heads_in, load_head, purpose_of
from simulation.outer_head import Outer, draw_head
from simulation.patient import PatientConfig, anatomy_of

#: Litres of white matter, grey matter and fluid (x 1000) before there were heads.
AVERAGE_OF_SEED_7 = [638.172, 980.936, 333.758]
_ALONG_MNI = np.array([[1.0, 0, 0, 100], [0, 1, 0, 130], [0, 0, 1, 118]])


def _phantom() -> np.ndarray:
    """A head of balls in MNI space: two half brains, ventricles, fluid, a sagittal sinus, bone, soft tissue, skin."""
    z, y, x = np.ogrid[: HEAD_SHAPE[0], : HEAD_SHAPE[1], : HEAD_SHAPE[2]]
    z, y, x = z + HEAD_ORIGIN_MNI[2], y + HEAD_ORIGIN_MNI[1], x + HEAD_ORIGIN_MNI[0]
    radius = np.sqrt(x**2 + (y + 18) ** 2 + (z - 8) ** 2)
    labels = np.zeros(HEAD_SHAPE, np.int16)
    for outer, number in ((86, 511), (82, 507), (76, 515), (70, 24)):
        labels[radius < outer] = number
    side = np.broadcast_to(x < 0, HEAD_SHAPE)
    for outer, (left, right) in ((66, (3, 42)), (62, (2, 41)), (14, (4, 43))):
        labels[(radius < outer) & side] = left
        labels[(radius < outer) & ~side] = right
    labels[(np.abs(x) < 4) & (radius > 64) & (radius < 70) & (z > 30)] = 514
    labels[(np.abs(x) < 1.5) & (radius > 16) & (radius < 66) & (z > 8)] = 24
    return labels


@pytest.fixture(scope="module")
def maps() -> HeadMaps:
    return derive(_phantom(), _ALONG_MNI)


@pytest.fixture(scope="module")
def phantom(maps: HeadMaps) -> Anatomy:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulation.anatomy.load_head", lambda choice: maps)
        return build_anatomy(replace(draw_anatomy(stream(3, "anatomy")), head=HeadChoice(Path("phantom_01.nii.gz"))))


@pytest.fixture(scope="module")
def heads(real_data: Path) -> Path:
    folder = real_data / "heads" / "synthseg_label_maps"
    if not folder.is_dir():
        pytest.skip("the label maps of real heads are not on this machine")
    return folder


@pytest.fixture(scope="module")
def first(heads: Path) -> HeadMaps:
    return load_head(HeadChoice(heads_in(heads)[1]))


def _folder(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


class TestTheSplit:
    """Some heads train, the others test, and one function says which."""

    def test_of_twenty_heads_sixteen_train(self):
        purposes = [purpose_of(number) for number in range(1, 21)]
        assert purposes == ["training"] * 16 + ["test"] * 4

    def test_training_is_refused_a_test_head(self, tmp_path):
        folder = _folder(tmp_path, *(f"training_seg_{n:02d}.nii.gz" for n in range(1, 21)))
        with pytest.raises(InputError, match="head 17 was asked for training; it is kept for test"):
            draw_head_choice(np.random.default_rng(0), folder, "training", 17)

    def test_a_cohort_is_refused_a_training_head(self, tmp_path):
        folder = _folder(tmp_path, "training_seg_16.nii.gz", "training_seg_17.nii.gz")
        with pytest.raises(InputError, match="head 16 was asked for test; it is kept for training"):
            draw_head_choice(np.random.default_rng(0), folder, "test", 16)

    def test_what_is_drawn_keeps_to_the_split(self, tmp_path):
        folder = _folder(tmp_path, *(f"training_seg_{n:02d}.nii.gz" for n in range(1, 21)))
        for purpose, allowed in (("training", set(range(1, 17))), ("test", set(range(17, 21)))):
            rng = np.random.default_rng(1)
            drawn = [draw_head_choice(rng, folder, purpose) for _ in range(200)]
            assert {int(choice.name[-2:]) for choice in drawn} == allowed
            assert {choice.mirrored for choice in drawn} == {True, False}

    def test_a_patient_takes_a_training_head_unless_told_otherwise(self, tmp_path):
        folder = _folder(tmp_path, *(f"training_seg_{n:02d}.nii.gz" for n in range(1, 21)))
        for seed in range(20):
            training = anatomy_of(seed, PatientConfig(anatomies=str(folder))).head
            test = anatomy_of(seed, PatientConfig(anatomies=str(folder), heads="test")).head
            assert int(training.name[-2:]) <= 16 < int(test.name[-2:])

    def test_the_split_does_not_depend_on_what_else_lies_in_the_folder(self, tmp_path):
        assert list(heads_in(_folder(tmp_path, "seg_17.nii.gz", "seg_03.nii.gz", "notes.txt"))) == [3, 17]

    def test_names_without_a_number_count_by_place(self, tmp_path):
        assert [p.name for p in heads_in(_folder(tmp_path, "b.nii", "a.nii.gz")).values()] == ["a.nii.gz", "b.nii"]

    def test_an_empty_folder_is_told(self, tmp_path):
        with pytest.raises(InputError, match=r"label maps .* are needed here, none was found"):
            heads_in(tmp_path)

    def test_only_test_heads_cannot_train(self, tmp_path):
        with pytest.raises(InputError, match="a head for training is needed"):
            draw_head_choice(np.random.default_rng(0), _folder(tmp_path, "seg_17.nii"), "training")

    def test_two_heads_of_one_number_are_told(self, tmp_path):
        with pytest.raises(InputError, match="have to differ"):
            heads_in(_folder(tmp_path, "a_1.nii", "b_1.nii"))


class TestTheAverage:
    """Without a folder nothing changes."""

    def test_no_folder_no_head(self):
        assert anatomy_of(5, PatientConfig()).head is None

    def test_the_average_is_what_it_was_before_there_were_heads(self):
        """Sums of the fractions of seed 7, measured before."""
        anatomy = build_anatomy(anatomy_of(7, PatientConfig()))
        found = [float(getattr(anatomy, name).sum(dtype=np.float64)) / 1e3 for name in ("wm", "gm", "csf")]
        assert found == pytest.approx(AVERAGE_OF_SEED_7, rel=1e-4)
        assert anatomy.labels is None
        assert anatomy.cavity is None


class TestLabels:
    """What labels become."""

    def test_fractions_add_to_one(self, phantom):
        total = phantom.wm + phantom.gm + phantom.csf + phantom.dura + phantom.bone
        assert np.abs(total - 1).max() < 1e-5
        assert min(float(getattr(phantom, name).min()) for name in ("wm", "gm", "csf", "dura", "bone")) >= -1e-6

    def test_tissue_is_where_its_label_is(self, phantom):
        core = select(phantom.labels, (2, 41)) & (phantom.distance < -12)
        assert phantom.wm[core].mean() > 0.95
        assert phantom.csf[select(phantom.labels, (4, 43))].mean() > 0.8
        assert phantom.brain[select(phantom.labels, PARENCHYMA)].mean() > 0.99

    def test_the_edge_of_a_label_is_soft(self, maps):
        """Of the voxels within one of the border of a ball, most are mixtures."""
        border = np.abs(maps.wm - 0.5) < 0.45
        assert 0.5 < border.sum() / (4 * np.pi * 62**2) < 3

    def test_the_falx_lies_in_the_midline(self, maps):
        z, _, x = np.nonzero(maps.septa > 0.5)
        assert len(z) > 500
        assert np.abs(x - 80).max() <= 4

    def test_the_sinus_lies_within_the_dura(self, phantom):
        veins = phantom.labels == VEIN
        assert (phantom.cavity[veins] < 1.5).mean() > 0.97
        assert (phantom.distance[veins] > 0).mean() > 0.3

    def test_mirrored_twice_is_the_same(self, maps):
        again = maps.mirrored().mirrored()
        for name in ("wm", "gm", "distance", "septa", "labels"):
            assert np.array_equal(getattr(again, name), getattr(maps, name)), name

    def test_a_mirrored_head_has_left_on_the_right(self, maps):
        at = [tuple(np.rint(mni_to_voxel(np.array([[x, -18.0, 8.0]]))[0]).astype(int)) for x in (-30.0, 30.0)]
        plain, turned = maps.labels[window()], maps.mirrored().labels[window()]
        assert (plain[at[0]], plain[at[1]]) == (2, 41)
        assert (turned[at[0]], turned[at[1]]) == (2, 41)
        assert maps.mirrored().wm[at[0]] == maps.wm[at[1]]

    @given(st.lists(st.sampled_from([0, 2, 41, 10, 49, 14, 16, 24, 514, 136, 163, 530]), min_size=1, max_size=8))
    def test_swapping_sides_twice_changes_nothing(self, numbers):
        labels = np.array(numbers, np.int16)
        assert swap_sides(swap_sides(labels)).tolist() == numbers

    def test_a_file_of_other_voxels_is_refused(self, tmp_path):
        image = sitk.Image((8, 8, 8), sitk.sitkInt16)
        image.SetSpacing((2, 2, 2))
        sitk.WriteImage(image, str(tmp_path / "a_1.nii.gz"))
        with pytest.raises(InputError, match="voxels of 1 mm are needed"):
            label_maps.read_labels(tmp_path / "a_1.nii.gz")

    def test_other_numbers_are_refused(self, tmp_path):
        image = sitk.Image((8, 8, 8), sitk.sitkInt16) + 1000
        sitk.WriteImage(image, str(tmp_path / "a_1.nii.gz"))
        with pytest.raises(InputError, match="numbers from 0 to 530 are needed"):
            label_maps.read_labels(tmp_path / "a_1.nii.gz")


class TestLabelsInThePatient:
    """The label map follows its brain."""

    def test_the_window_of_the_whole_head_is_the_network_grid(self):
        deformation = Deformation(draw_deformation(stream(2, "deformation"), SHAPE), SHAPE)
        labels = _phantom()
        inner, whole = (deformation.sample_labels(labels, OFFSET, whole=flag) for flag in (False, True))
        assert inner.shape == SHAPE
        assert whole.shape == HEAD_SHAPE
        assert np.array_equal(whole[window()], inner)

    def test_outside_the_head_there_is_air_and_inside_all_that_a_head_has(self, maps):
        cavity = np.full(HEAD_SHAPE, 30, np.float32)
        cavity[window()] = maps.cavity
        draw = replace(draw_head(stream(1, "head")), scalp_mm=6.0, skin_mm=2.0, fat=0.4)
        outer = outer_of_labels(draw, maps.labels, cavity, 1.0, dura_mm=1.0)
        assert (outer[maps.labels == 0][::50] == Outer.AIR).mean() > 0.9
        assert set(np.unique(outer)) == {
            Outer.AIR, Outer.INSIDE, Outer.CSF, Outer.DURA, Outer.BONE, Outer.MUSCLE, Outer.FAT, Outer.SKIN, BLOOD,
        }  # fmt: skip


class TestMasks:
    """Masks as extractors draw them."""

    def test_same_draw_same_mask(self, phantom):
        one, two = (imperfect_mask(stream(4, "mask"), phantom) for _ in range(2))
        assert one.tobytes() == two.tobytes()

    def test_sinuses_are_partly_inside(self, phantom):
        veins = phantom.labels == VEIN
        shares = [imperfect_mask(stream(seed, "mask"), phantom)[veins].mean() for seed in range(8)]
        assert 0.1 < np.mean(shares) < 0.9
        assert np.ptp(shares) > 0.1

    def test_a_mask_is_near_the_truth_and_in_one_piece(self, phantom):
        from scipy import ndimage

        mask = imperfect_mask(stream(4, "mask"), phantom)
        assert 2 * (mask & phantom.brain).sum() / (mask.sum() + phantom.brain.sum()) > 0.9
        assert ndimage.label(mask)[1] == 1


class TestRealHeads:
    """The label maps of real heads, where they are at hand; the first only, as each takes half a minute once."""

    def test_twenty_heads(self, heads):
        assert list(heads_in(heads)) == list(range(1, 21))

    def test_the_head_lies_on_the_template(self, first):
        """Centres of the thalami and of the fourth ventricle, MNI; within 6 mm of the template's."""
        labels = first.labels[window()]
        for numbers, place in (((10,), (-12, -17, 8)), ((49,), (12, -17, 8)), ((15,), (0, -46, -32))):
            centre = np.argwhere(select(labels, numbers)).mean(0)
            assert np.linalg.norm(centre - mni_to_voxel(np.array([place], float))[0]) < 6

    def test_volumes_are_human(self, first):
        assert 1.4e6 < (first.distance < 0).sum() < 2.0e6
        assert 0.4e6 < first.wm.sum() < 0.9e6
        assert 0.5e6 < first.gm.sum() < 1.1e6
        assert first.ventricle[select(first.labels[window()], PLEXUS)].mean() > 0.5

    def test_same_seed_same_bytes(self, heads):
        config = PatientConfig(anatomies=str(heads), head=1)
        one, two = (build_anatomy(anatomy_of(3, config)) for _ in range(2))
        for name in ("wm", "gm", "csf", "dura", "labels"):
            assert getattr(one, name).tobytes() == getattr(two, name).tobytes()

    def test_the_cache_gives_what_was_made(self, heads, first):
        load_head.cache_clear()
        again = load_head(HeadChoice(heads_in(heads)[1]))
        assert hashlib.sha256(again.wm.tobytes()).digest() == hashlib.sha256(first.wm.tobytes()).digest()

    def test_a_whole_head_from_labels(self, heads, first, monkeypatch):
        monkeypatch.setattr(label_maps, "heads_in", lambda folder: {1: heads / "training_seg_01.nii.gz"})
        head = simulate_head(3, "t1", anatomies=heads)
        assert 1.0 < head.brain.sum() * 8e-6 < 2.6
        assert np.isfinite(head.image).all()
        assert simulate_head(3, "t1", anatomies=heads).image.tobytes() == head.image.tobytes()
