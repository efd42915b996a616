"""Lesions in detail: rims as gliomas have them, places, faint ones, and mimics that are bright before contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from simulation.anatomy import Anatomy, build_anatomy, draw_anatomy
from simulation.fields import stream
from simulation.frames import SHAPE
from simulation.layers import Label, Layer
from simulation.lesion_shapes import LesionDraw
from simulation.lesions import FAINT_SHARE, build_lesion, draw_concentration, draw_diameter, draw_enhancing, draw_lesion
from simulation.places import SITES, beside, place
from simulation.tissues import tissue

DEEP = (90.0, 70.0, 105.0)  # white matter of the right hemisphere


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return build_anatomy(draw_anatomy(stream(3, "anatomy")))


def _glioma(seed: int, diameter_mm: float = 35.0, rim: float = 0.3) -> LesionDraw:
    draw = draw_lesion(np.random.default_rng(seed), "glioma", DEEP, diameter_mm=diameter_mm)
    return replace(draw, rim=rim, oedema_mm=0.0)


def _dense(layers: list[Layer], *, wanted: Label) -> np.ndarray:
    """Volume fraction of the layers of one label, where later ones cover earlier ones."""
    flat = np.zeros(int(np.prod(SHAPE)), np.float32)
    for layer in layers:
        flat[layer.index] *= 1 - layer.alpha
        if layer.label == wanted:
            flat[layer.index] += layer.alpha
    return flat.reshape(SHAPE)


class TestRim:
    def test_it_is_1_to_4_mm_thick(self, anatomy: Anatomy) -> None:
        """The distance from the enhancing part to its edge, twice the largest, in most of it."""
        thickness = []
        for seed in range(8):
            rim = _dense(build_lesion(_glioma(seed), anatomy, 3.0), wanted=Label.ENHANCING) > 0.4
            thickness.append(2 * np.quantile(ndimage.distance_transform_edt(rim)[rim], 0.9))
        assert 1.5 < np.median(thickness) < 5

    def test_it_surrounds_a_core_without_agent(self, anatomy: Anatomy) -> None:
        """Most of the mass is necrosis, and next to nothing gets into it."""
        layers = build_lesion(_glioma(3), anatomy, 3.0)
        core, rim = (_dense(layers, wanted=label).sum() for label in (Label.NECROSIS, Label.ENHANCING))
        assert core > 0.5 * rim
        (necrosis,) = (layer for layer in layers if layer.label == Label.NECROSIS)
        assert necrosis.concentration_mm.max() <= 0.12 * _glioma(3).concentration_mm + 1e-6

    def test_rims_have_gaps(self, anatomy: Anatomy) -> None:
        """In some the rim covers less than half of the surface; what is left there is tumour without agent."""
        shares = []
        for seed in range(12):
            layers = build_lesion(_glioma(seed), anatomy, 3.0)
            rim, plain = (_dense(layers, wanted=label).sum() for label in (Label.ENHANCING, Label.NON_ENHANCING))
            shares.append(rim / (rim + plain))
        assert min(shares) < 0.6
        assert max(shares) > 0.9

    def test_a_mass_has_the_volume_of_its_diameter(self, anatomy: Anatomy) -> None:
        """Lobes and noise take a third of the ellipsoid away at most."""
        draw = _glioma(5)
        layers = [layer for layer in build_lesion(draw, anatomy, 3.0) if layer.name != "wisps"]
        mass = np.zeros(int(np.prod(SHAPE)), np.float32)
        for layer in layers:
            mass[layer.index] = np.maximum(mass[layer.index], layer.alpha)
        ellipsoid = 4 / 3 * np.pi * np.prod(draw.radii_mm)
        assert 0.5 < mass.sum() / ellipsoid < 1.1

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seed=st.integers(0, 10_000), diameter=st.floats(6, 55), rim=st.sampled_from((0.15, 0.5, 1.0)))
    def test_no_agent_leaves_the_brain(self, anatomy: Anatomy, seed: int, diameter: float, rim: float) -> None:
        """Fractions stay within 0 and 1, agent within the brain, whatever is drawn."""
        for layer in build_lesion(_glioma(seed, diameter, rim), anatomy, 1.5):
            assert layer.alpha.min(initial=0) >= 0
            assert layer.alpha.max(initial=0) <= 1.0001
            assert (layer.concentration_mm >= 0).all()
            assert (anatomy.distance.reshape(-1)[layer.index] < 0.5).all()


class TestPlaces:
    def test_metastases_touch_a_vein(self, anatomy: Anatomy) -> None:
        """The centre lies about one radius from the vessel, in the brain."""
        at = np.ravel_multi_index((80, 90, 100), SHAPE)
        vein = Layer("vein", tissue("blood", 3.0), np.array([at]), np.ones(1, np.float32), np.ones(1, np.float32),
                     Label.VESSEL)  # fmt: skip
        centre = beside(np.random.default_rng(0), anatomy, "vein", 4.0, [vein])
        assert centre is not None
        assert 3.5 <= np.linalg.norm(np.array(centre) - (80, 90, 100)) <= 5.1
        assert beside(np.random.default_rng(0), anatomy, "sinus", 4.0, [vein]) is None

    def test_metastases_touch_the_dura(self, anatomy: Anatomy) -> None:
        """Falx and tentorium included."""
        dura = ndimage.distance_transform_edt(anatomy.dura <= 0.5)
        for seed in range(5):
            centre = beside(np.random.default_rng(seed), anatomy, "dura", 3.0, ())
            assert centre is not None
            assert dura[tuple(np.rint(centre).astype(int))] < 5

    def test_what_is_drawn_does_not_depend_on_the_vessels(self, anatomy: Anatomy) -> None:
        """A study is drawn before its vessels are."""
        index = np.flatnonzero((anatomy.distance < -6) & (anatomy.wm > 0.9))[::500]
        ones = np.ones(len(index), np.float32)
        vessels = [Layer("v", tissue("blood", 3.0), index, ones, ones, Label.VESSEL)]
        drawn = [draw_enhancing(np.random.default_rng(4), anatomy, (("metastasis", 1.0),), n) for n in ((), vessels)]
        without, beside_vessels = ([replace(d, centre=DEEP, site="") for d in lesions] for lesions in drawn)
        assert without == beside_vessels
        assert any(lesion.site == "vein" for lesion in drawn[1])

    def test_two_in_three_keep_to_the_border(self) -> None:
        """The grey-white border is where most lodge."""
        assert sum(weight for _, weight in SITES) < 0.4

    @pytest.mark.parametrize("kind", ["metastasis", "lymphoma", "bloodrim"])
    def test_places_lie_in_the_brain(self, anatomy: Anatomy, kind: str) -> None:
        """No lesion of these is centred on the skull."""
        for seed in range(20):
            z, y, x = np.clip(np.rint(place(np.random.default_rng(seed), anatomy, kind)).astype(int), 0, 159)
            assert anatomy.distance[z, y, x] < 1


class TestDraws:
    def test_one_in_five_is_faint(self) -> None:
        """0.035 to 0.1 mM."""
        rng = np.random.default_rng(0)
        found = np.array([draw_concentration(rng) for _ in range(4000)])
        faint = ((found > 0.035) & (found < 0.1)).mean()
        assert FAINT_SHARE < faint < FAINT_SHARE + 0.15
        assert np.median(found) == pytest.approx(0.17, abs=0.03)

    def test_miliary_ones_are_small_and_many(self, anatomy: Anatomy) -> None:
        """2 to 5 mm, five and more."""
        lesions = draw_enhancing(np.random.default_rng(1), anatomy, (("miliary", 1.0),))
        assert 5 <= len(lesions) <= 30
        assert all(2 <= lesion.diameter_mm <= 5 for lesion in lesions)
        assert 10 <= draw_diameter(np.random.default_rng(0), "lymphoma") <= 45


class TestEven:
    def test_a_lymphoma_is_even(self, anatomy: Anatomy) -> None:
        """Its concentration varies by less than a quarter, and it has no core."""
        draw = draw_lesion(np.random.default_rng(2), "lymphoma", DEEP, diameter_mm=25)
        layers = build_lesion(draw, anatomy, 3.0)
        assert Label.NECROSIS not in {layer.label for layer in layers}
        level = layers[-1].concentration_mm
        assert level.std() / level.mean() < 0.25


class TestMimics:
    def test_a_rim_of_blood_is_bright_before_contrast_alone(self, anatomy: Anatomy) -> None:
        """A whole rim of short T1 that takes up nothing."""
        draw = draw_lesion(np.random.default_rng(2), "bloodrim", DEEP, diameter_mm=24)
        layers = build_lesion(draw, anatomy, 3.0)
        assert not any(layer.concentration_mm.any() for layer in layers)
        blood = next(layer for layer in layers if layer.label == Label.T1_BRIGHT)
        assert blood.tissue.t1_ms < 1000
        assert (blood.alpha > 0.4).sum() > 200


class TestLeptomeninges:
    def test_a_sheet_is_seen(self, anatomy: Anatomy) -> None:
        """Half of them leave 0.1 ml and more of labelled film."""
        found = []
        for seed in range(8):
            rng = np.random.default_rng(seed)
            draw = draw_lesion(rng, "leptomeningeal", place(rng, anatomy, "leptomeningeal"))
            (layer,) = build_lesion(draw, anatomy, 3.0)
            found.append(int((layer.alpha >= 0.4).sum()))
        assert np.median(found) > 100
