"""Model folders: what is written is what is read, and nothing else is loaded."""

import hashlib
import json

import pytest
import torch
from pydantic import ValidationError

from enhancement.errors import WeightsMismatch, WeightsMissing
from enhancement.network.architectures.residual_unet import ResidualUNet, initialise
from enhancement.network.manifest import Bound, Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.network.weights import load_model, write_model

SHAPE = NetworkShape(in_channels=2, channels=2, levels=2, head="residual")


def network(seed=0):
    torch.manual_seed(seed)
    made = ResidualUNet(2, 2, levels=2, head="residual")
    initialise(made)
    return made


def manifest(**changes):
    content = {
        "name": "test",
        "version": "1",
        "recipe": "test",
        "network": SHAPE,
        "inputs": tuple(InputChannel(role=role, z_min=-3, z_max=12) for role in ("T1", "T1C")),
        "output": OutputScale(z_min=-3, z_max=12, dose_factor=4),
        "folds": (Fold(file="x.safetensors", sha256="0" * 64),),
    }
    return Manifest(**{**content, **changes})


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path, manifest(), [network(0).state_dict(), network(1).state_dict()], card="# A card\n")
    return tmp_path


def rewrite(folder, change):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


class TestRoundTrip:
    """write_model, then load_model."""

    def test_weights_come_back_in_half_precision(self, folder):
        """The network computes the same within float16's resolution."""
        x = torch.rand(1, 2, 8, 8, 8)
        torch.testing.assert_close(load_model(folder).build(1)(x), network(1)(x), atol=2e-3, rtol=2e-3)

    def test_roles_and_digest_are_told(self, folder):
        """What the pipeline and the provenance need."""
        model = load_model(folder)
        assert model.roles == ("T1", "T1C")
        assert len(model.digest) == 64
        assert len(model.folds) == 2

    def test_digest_does_not_depend_on_metrics(self, folder):
        """A new measurement makes no new model; new weights do."""
        first = load_model(folder).digest
        same = write_model(folder, manifest(metrics={"cnr": 9}), [network(0).state_dict(), network(1).state_dict()])
        other = write_model(folder, manifest(), [network(2).state_dict(), network(1).state_dict()])
        assert same.digest == first
        assert other.digest != first

    def test_a_bound_is_another_model_and_none_is_as_before_there_were_bounds(self):
        """Models that were made before keep their digest."""
        plain = manifest()
        content = plain.model_dump(mode="json", exclude={"digest", "metrics", "provenance"})
        del content["output"]["bound"], content["network"]["options"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        assert plain.expected_digest() == hashlib.sha256(text.encode()).hexdigest()
        bound = Bound(gain=3, noise_sds=2, voxel_noise_sds=1, faint=0.1, plain=0.3, bright=0.7, plain_part=0.6)
        output = plain.output.model_copy(update={"bound": bound})
        assert manifest(output=output).expected_digest() != plain.expected_digest()

    def test_a_bound_needs_a_t1(self):
        """Without one nothing is measured."""
        bound = Bound(gain=3, noise_sds=2, voxel_noise_sds=1, faint=0.1, plain=0.3, bright=0.7, plain_part=0.6)
        inputs = tuple(InputChannel(role=role, z_min=-3, z_max=12) for role in ("FLAIR", "T1C"))
        with pytest.raises(ValidationError, match="the inputs hold no T1"):
            manifest(output=OutputScale(bound=bound), inputs=inputs)

    @pytest.mark.parametrize(("faint", "plain", "bright"), [(0.3, 0.3, 0.7), (0.1, 0.7, 0.7), (0.1, 0.3, 0.2)])
    def test_a_bound_needs_room_between_its_steps(self, faint, plain, bright):
        """Or a step divides by zero."""
        with pytest.raises(ValidationError, match="faint, plain and bright must rise"):
            Bound(gain=3, noise_sds=2, voxel_noise_sds=1, faint=faint, plain=plain, bright=bright, plain_part=0.6)

    def test_files_of_an_older_model_are_removed(self, folder):
        """Fewer folds leave no orphan behind, and no half-written file."""
        write_model(folder, manifest(), [network(0).state_dict()])
        found = sorted(path.name for path in folder.iterdir())
        assert found == ["MODEL_CARD.md", "fold-0.safetensors", "manifest.json"]


class TestRefusals:
    """Weights are input too."""

    def test_missing_folder(self, tmp_path):
        """Nothing there."""
        with pytest.raises(WeightsMissing, match=r"manifest\.json"):
            load_model(tmp_path / "none")

    def test_missing_fold(self, folder):
        """The manifest names a file that is not there."""
        (folder / "fold-1.safetensors").unlink()
        with pytest.raises(WeightsMissing, match="fold-1"):
            load_model(folder)

    def test_one_changed_byte(self, folder):
        """Caught by the hash, before the file is parsed."""
        path = folder / "fold-0.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(WeightsMismatch, match="SHA-256"):
            load_model(folder)

    def test_edited_manifest(self, folder):
        """Limits changed by hand no longer fit the digest."""
        rewrite(folder, lambda content: content["output"].update(z_max=6))
        with pytest.raises(WeightsMismatch, match="digest"):
            load_model(folder)

    def test_other_format(self, folder):
        """A manifest of a later format is not guessed at."""
        rewrite(folder, lambda content: content.update(format=2))
        with pytest.raises(WeightsMismatch, match="format"):
            load_model(folder)

    def test_other_preprocessing(self, folder):
        """Weights are run only on the numbers that they were trained on."""
        rewrite(folder, lambda content: content["preprocessing"].update(version=2))
        with pytest.raises(WeightsMismatch, match=r"preprocessing\.version: Input should be 1"):
            load_model(folder)

    @pytest.mark.parametrize("name", ["../fold-0.safetensors", "/etc/passwd", "fold-0.pt"])
    def test_a_fold_stays_in_its_folder(self, folder, name):
        """No path out of the folder, no pickle."""
        rewrite(folder, lambda content: content["folds"][0].update(file=name))
        with pytest.raises(WeightsMismatch, match="folds"):
            load_model(folder)

    def test_not_json(self, folder):
        """Garbage is refused, not raised as a parser's error."""
        (folder / "manifest.json").write_text("{")
        with pytest.raises(WeightsMismatch):
            load_model(folder)

    def test_weights_of_another_network(self, tmp_path):
        """Right hash, wrong tensors."""
        other = ResidualUNet(2, 4, levels=2, head="residual")
        write_model(tmp_path, manifest(), [other.state_dict()])
        with pytest.raises(WeightsMismatch, match="tensors"):
            load_model(tmp_path)

    def test_inputs_must_fit_the_network(self, tmp_path):
        """Three roles for a network of two inputs."""
        roles = tuple(InputChannel(role=role, z_min=-3, z_max=12) for role in ("T1", "FLAIR", "T1C"))
        write_model(tmp_path, manifest(inputs=roles), [network().state_dict()])
        with pytest.raises(WeightsMismatch, match="3 inputs"):
            load_model(tmp_path)


class TestArchitectures:
    """The manifest names the kind of its network."""

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"kind": "transformer"}, "kind 'transformer'; known here are .*residual-unet"),
            ({"options": {"depth": 3}}, "no options, found depth"),
        ],
    )
    def test_a_network_that_this_version_cannot_build_is_refused(self, tmp_path, change, match):
        """Named, with what there is."""
        write_model(tmp_path, manifest(network=SHAPE.model_copy(update=change)), [network().state_dict()])
        with pytest.raises(WeightsMismatch, match=match):
            load_model(tmp_path)

    def test_the_multiple_is_the_architectures(self, folder):
        """Two levels halve the volume once."""
        assert load_model(folder).multiple == 2
