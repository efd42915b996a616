"""The pipeline from volumes to a volume, with a network that adds nothing: what goes in must come out."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from enhancement.errors import Cancelled, GateRefused
from enhancement.imaging.brain.extraction import BrainExtractedInput, FoundBrain
from enhancement.imaging.gate.checks import anatomy
from enhancement.imaging.intensity import brain_statistics, from_unit
from enhancement.imaging.preparation import NetworkInput, StudyImages, prepare
from enhancement.imaging.registration.register import resample
from enhancement.network.architectures.residual_unet import ResidualUNet
from enhancement.network.ensemble import Ensemble
from enhancement.network.loading import load_ensemble
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.network.weights import write_model
from enhancement.pipeline.enhance import Enhancement, enhance
from enhancement.pipeline.networks import Networks
from enhancement.recipes.amplification import T1C_PRO
from enhancement.recipes.base import Finished, OwnSettings, Predicted
from enhancement.settings import Role, Settings, parse_settings
from unit.template_study import template_images


def _twice(predicted: Predicted, _own: OwnSettings) -> Finished:
    seen = from_unit(predicted.mean_zyx, -3, 12, predicted.statistics["T1"])
    return np.where(predicted.inside, 2 * seen, seen), seen


TINY = replace(
    T1C_PRO,
    name="tiny",
    needed=(Role.T1,),
    wanted=(),
    reference=Role.T1,
    covering=(Role.T1,),
    checks=(anatomy,),
    finish=_twice,
)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    """One network whose last layer is zero: the residual head gives its T1c back."""
    network = ResidualUNet(4, 1, levels=1, convolutions=1, head="residual")
    torch.nn.init.zeros_(network.last.weight)
    torch.nn.init.zeros_(network.last.bias)
    manifest = Manifest(
        name="nothing",
        version="0",
        recipe="t1c-pro",
        network=NetworkShape(in_channels=4, channels=1, levels=1, convolutions=1, head="residual"),
        inputs=(
            InputChannel(role="T1", z_min=-3, z_max=12),
            InputChannel(role="FLAIR", z_min=-3, z_max=6, required=False),
            InputChannel(role="ADC", z_min=-3, z_max=6, required=False),
            InputChannel(role="T1C", z_min=-3, z_max=12),
        ),
        output=OutputScale(z_min=-3, z_max=12),
        folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
    )
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, manifest, [network.state_dict()])
    return load_ensemble(folder, device="cpu", mirrorings=1)


@pytest.fixture(scope="module")
def images() -> StudyImages:
    """See `template_study`."""
    return template_images()


@pytest.fixture(scope="module")
def result(images: StudyImages, ensemble: Ensemble) -> tuple[Enhancement, list[tuple[str, float]]]:
    """One run, and what it told of its progress."""
    said: list[tuple[str, float]] = []
    settings = parse_settings({"Output": {"NativeMethod": "residual"}})
    networks = Networks(ensemble, BrainExtractedInput())
    return enhance(images, T1C_PRO, networks, settings, lambda s, f: said.append((s, f))), said


class _Tight(BrainExtractedInput):
    """One voxel (2.5 mm) short of the edge, as an extractor that says so."""

    def extract(self, head: sitk.Image) -> FoundBrain:
        tight = sitk.BinaryErode(super().extract(head).mask, [1, 1, 1])
        return FoundBrain(tight, possible=tight)


@pytest.fixture(scope="module")
def prepared(images: StudyImages, ensemble: Ensemble) -> NetworkInput:
    """From a tight mask."""
    return prepare(images, ensemble.model.manifest.inputs, _Tight(), reference="T1C", bias_field=False)


class TestTightMask:
    def test_is_widened_to_the_edge(self, images: StudyImages, prepared: NetworkInput) -> None:
        """More than half of what it was short of, and none of the zeros outside."""
        whole = sitk.GetArrayFromImage(BrainExtractedInput().extract(images["T1C"]).mask) > 0
        tight = sitk.GetArrayFromImage(_Tight().extract(images["T1C"]).mask) > 0
        found = sitk.GetArrayFromImage(prepared.brain) > 0
        assert found[tight].all()
        assert (found & whole).sum() > tight.sum() + 0.5 * (whole & ~tight).sum()
        assert sitk.GetArrayFromImage(images["T1C"])[found & ~tight].min() > 0

    def test_everything_else_uses_the_widened_one(self, prepared: NetworkInput) -> None:
        """The network's mask is the native one carried over, and mean and deviation are measured inside it."""
        grid = prepared.volumes["T1C"]
        carried = sitk.GetArrayFromImage(resample(prepared.brain, grid, prepared.to_series["T1C"], "linear")) > 0.5
        np.testing.assert_array_equal(prepared.brain_zyx, carried)
        inside = prepared.brain_zyx & prepared.covered["T1C"]
        assert prepared.statistics["T1C"] == brain_statistics(sitk.GetArrayFromImage(grid), inside)
        assert not prepared.inputs_czyx[:, ~prepared.brain_zyx].any()

    def test_a_stripped_series_keeps_its_own(
        self, images: StudyImages, result: tuple[Enhancement, list[tuple[str, float]]]
    ) -> None:
        """What is not zero is brain, whatever the template says."""
        own = sitk.GetArrayFromImage(BrainExtractedInput().extract(images["T1C"]).mask)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(result[0].brain), own)


class TestEnhance:
    def test_a_network_that_adds_nothing_changes_nothing(
        self, images: StudyImages, result: tuple[Enhancement, list[tuple[str, float]]]
    ) -> None:
        """The residual is zero: the T1c comes back within float32, bias field and all."""
        found = sitk.GetArrayFromImage(result[0].image)
        np.testing.assert_allclose(found, sitk.GetArrayFromImage(images["T1C"]), atol=0.5)

    def test_lies_on_the_t1cs_grid(
        self, images: StudyImages, result: tuple[Enhancement, list[tuple[str, float]]]
    ) -> None:
        """Size, origin, spacing and direction."""
        made, t1c = result[0].image, images["T1C"]
        assert made.GetSize() == t1c.GetSize()
        assert made.GetOrigin() == t1c.GetOrigin()
        assert made.GetDirection() == t1c.GetDirection()

    def test_says_what_was_missing(self, result: tuple[Enhancement, list[tuple[str, float]]]) -> None:
        """FLAIR and ADC were not there; their inputs are zero."""
        assert result[0].missing_roles == ("FLAIR", "ADC")
        assert not result[0].prepared.inputs_czyx[1:3].any()

    def test_t1_lies_on_t1c(self, result: tuple[Enhancement, list[tuple[str, float]]]) -> None:
        """After registration the T1 and T1c inputs agree voxel by voxel."""
        prepared = result[0].prepared
        t1, t1c = prepared.inputs_czyx[0][prepared.brain_zyx], prepared.inputs_czyx[3][prepared.brain_zyx]
        assert np.corrcoef(t1, np.minimum(t1c, t1.max()))[0, 1] > 0.85

    def test_progress_rises_to_one(self, result: tuple[Enhancement, list[tuple[str, float]]]) -> None:
        """Every stage is named, and the fraction never falls."""
        fractions = [fraction for _, fraction in result[1]]
        assert fractions == sorted(fractions)
        assert fractions[-1] > 0.9
        assert {"finding the brain", "registering T1", "registering to the atlas"} <= {stage for stage, _ in result[1]}
        assert sum(result[0].stage_seconds.values()) > 0

    def test_cancelled_at_a_stage(self, images: StudyImages, ensemble: Ensemble) -> None:
        """What the progress callback raises stops the work."""

        def cancel(stage: str, fraction: float) -> None:
            raise Cancelled("asked for")

        with pytest.raises(Cancelled):
            enhance(images, T1C_PRO, Networks(ensemble, BrainExtractedInput()), Settings(), cancel)

    def test_swapped_series_are_refused(self, images: StudyImages, ensemble: Ensemble) -> None:
        """T1c in the T1's place: nothing brightens, and nothing is made."""
        swapped = {"T1": images["T1C"], "T1C": sitk.Cast(images["T1"], sitk.sitkFloat32)}
        with pytest.raises(GateRefused) as error:
            enhance(swapped, T1C_PRO, Networks(ensemble, BrainExtractedInput()), Settings())
        assert "NO_CONTRAST" in error.value.code or "brighter" in error.value.reason


@pytest.fixture(scope="module")
def made(images: StudyImages, tmp_path_factory: pytest.TempPathFactory) -> Enhancement:
    """The T1 twice as bright above 1, by a recipe of a few lines."""
    network = ResidualUNet(1, 1, levels=1, convolutions=1, head="residual")
    torch.nn.init.zeros_(network.last.weight)
    torch.nn.init.zeros_(network.last.bias)
    manifest = Manifest(
        name="tiny",
        version="0",
        recipe="tiny",
        network=NetworkShape(in_channels=1, channels=1, levels=1, convolutions=1, head="residual"),
        inputs=(InputChannel(role="T1", z_min=-3, z_max=12),),
        output=OutputScale(z_min=-3, z_max=12, reference="T1"),
        folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
    )
    folder = tmp_path_factory.mktemp("tiny")
    write_model(folder, manifest, [network.state_dict()])
    networks = Networks(load_ensemble(folder, device="cpu", mirrorings=1), BrainExtractedInput())
    settings = parse_settings({"Preprocessing": {"BiasField": False}, "Output": {"NativeMethod": "resampled"}})
    return enhance(images, TINY, networks, settings)


class TestAnotherRecipe:
    """One input, another reference, a finish and a check of its own: the method is the same."""

    def test_lies_on_its_own_reference(self, images: StudyImages, made: Enhancement) -> None:
        """The T1's grid, which is another one than the T1c's."""
        assert made.image.GetOrigin() == images["T1"].GetOrigin() != images["T1C"].GetOrigin()
        assert made.prepared.reference == "T1"
        assert set(made.prepared.registrations) == {"ATLAS"}

    def test_is_finished_by_the_recipe(self, images: StudyImages, made: Enhancement) -> None:
        """Twice as bright deep inside."""
        inner = sitk.GetArrayFromImage(sitk.BinaryErode(made.brain, [3, 3, 3])) > 0
        before, after = (sitk.GetArrayFromImage(image)[inner] for image in (images["T1"], made.image))
        assert np.median(after / before) == pytest.approx(2.0, abs=0.05)

    def test_is_held_against_its_own_checks_alone(self, made: Enhancement) -> None:
        """The brain's, and the spread that every ensemble has."""
        assert {check.code for check in made.checks} == {
            "BRAIN_SMALL", "BRAIN_LARGE", "ATLAS", "OVERHANG", "SPREAD",
        }  # fmt: skip
