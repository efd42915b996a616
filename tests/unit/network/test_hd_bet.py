"""HD-BET's real code path, with a tiny nnU-Net checkpoint of its format that says: brighter than average is brain."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from enhancement.errors import WeightsMismatch, WeightsMissing
from enhancement.imaging.brain.extraction import NativeExtractor, UnlessBrainExtracted
from enhancement.network.hd_bet import CHECKPOINT, PIN, file_sha256, is_installed, load_hd_bet
from enhancement.pipeline.networks import choose_brain_extractor
from enhancement.settings import parse_settings

_ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [2, 2],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
_RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
_PLANS = {
    "dataset_name": "Dataset001_Tiny",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [4.0, 4.0, 4.0],
    "original_median_shape_after_transp": [32, 32, 32],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "experiment_planner_used": "ExperimentPlanner",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {
        "0": dict.fromkeys(("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std"), 1.0)
    },
    "configurations": {
        "3d_fullres": {
            "data_identifier": "tiny",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 1,
            "patch_size": [16, 16, 16],
            "median_image_size_in_voxels": [32.0, 32.0, 32.0],
            "spacing": [4.0, 4.0, 4.0],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": _RESAMPLING,
            "resampling_fn_seg_kwargs": _RESAMPLING | {"is_seg": True},
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": _RESAMPLING,
            "batch_dice": True,
            "architecture": _ARCHITECTURE,
        }
    },
}


@pytest.fixture(scope="module")
def hd_bet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset.json, plans.json, fold_all/checkpoint_final.pth and the pin."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    folder = tmp_path_factory.mktemp("release_2.0.0")
    network = get_network_from_plans(
        _ARCHITECTURE["network_class_name"],
        _ARCHITECTURE["arch_kwargs"],
        _ARCHITECTURE["_kw_requires_import"],
        1,
        2,
        deep_supervision=False,
    )
    state = network.state_dict()
    for name, weight in state.items():  # weights of one dimension are those of the normalisation
        weight.fill_(1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0)
    # The identity through the full-resolution path; the last layer compares it with a threshold.
    for name, weight in state.items():
        if weight.ndim == 5 and weight.shape[2:] == (3, 3, 3):
            half = weight.shape[1] // 2 if "decoder.stages" in name else 0  # the skip is the second half
            weight[0, half, 1, 1, 1] = 1.0
    for name, weight in state.items():
        if "seg_layers" in name and weight.ndim == 5:
            weight[1, 0] = 1.0
        elif "seg_layers" in name:
            weight[0] = 0.3
    (folder / "fold_all").mkdir()
    torch.save(
        {
            "network_weights": state,
            "trainer_name": "nnUNetTrainer",
            "init_args": {"configuration": "3d_fullres"},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        },
        folder / CHECKPOINT,
    )
    (folder / "plans.json").write_text(json.dumps(_PLANS))
    dataset = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "brain": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    (folder / PIN).write_text(f"{file_sha256(folder / CHECKPOINT)}  {CHECKPOINT.as_posix()}\n")
    return folder


@pytest.fixture(scope="module")
def ball() -> sitk.Image:
    """A bright ball of 90 mm across in an oblique, anisotropic sagittal series."""
    z, y, x = np.mgrid[:44, :60, :40]
    inside = ((z - 20) * 3) ** 2 + ((y - 30) * 2) ** 2 + ((x - 20) * 4) ** 2 < 45**2
    image = sitk.GetImageFromArray(np.where(inside, 800, 20).astype(np.float32))
    image.SetSpacing((4.0, 2.0, 3.0))
    image.SetDirection((0, 0.0998, 0.995, 1, 0, 0, 0, 0.995, -0.0998))
    return image


class TestLoadHdBet:
    def test_masks_on_the_series_own_grid(self, hd_bet_folder: Path, ball: sitk.Image) -> None:
        """Reoriented, resampled by nnU-Net, predicted by patches, and put back: Dice above 0.95."""
        mask = NativeExtractor(load_hd_bet(hd_bet_folder, device="cpu")).extract(ball).mask
        found, truth = sitk.GetArrayFromImage(mask) > 0, sitk.GetArrayFromImage(ball) > 400
        assert mask.GetSize() == ball.GetSize()
        assert mask.GetDirection() == pytest.approx(ball.GetDirection())
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95

    def test_leaves_the_process_as_it_was(self, hd_bet_folder: Path, ball: sitk.Image) -> None:
        """Neither standard output nor torch's threads change, and the folder keeps its files."""
        output, threads = sys.stdout, torch.get_num_threads()
        load_hd_bet(hd_bet_folder, device="cpu")(sitk.GetArrayFromImage(ball), (3.0, 2.0, 4.0))
        assert sys.stdout is output
        assert torch.get_num_threads() == threads
        assert is_installed(hd_bet_folder)

    def test_starts_no_process(self, hd_bet_folder: Path) -> None:
        """Inside Orthanc a spawned worker would be a second Orthanc: with spawning forbidden it still works."""
        code = (
            "import sys, pathlib, numpy, multiprocessing.process as p, subprocess\n"
            "def no(*a, **k): raise SystemExit('spawned')\n"
            "from enhancement.network.hd_bet import load_hd_bet\n"
            "p.BaseProcess.start = no\n"
            f"s = load_hd_bet(pathlib.Path({str(hd_bet_folder)!r}), device='cpu')\n"
            "subprocess.Popen.__init__ = no\n"
            "head = numpy.ones((24, 24, 24), 'float32'); head[8:16, 8:16, 8:16] = 9\n"
            "print('voxels', int(s(head, (4.0, 4.0, 4.0)).sum()))\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3] / "plugin")}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout.split("voxels")[1]) == pytest.approx(512, rel=0.3)

    def test_a_changed_checkpoint_is_not_opened(self, hd_bet_folder: Path, tmp_path: Path) -> None:
        """A pickle that is not the pinned one could run anything."""
        copy = tmp_path / "hd-bet"
        (copy / "fold_all").mkdir(parents=True)
        for file in ("dataset.json", "plans.json", PIN, CHECKPOINT.as_posix()):
            (copy / file).write_bytes((hd_bet_folder / file).read_bytes())
        content = bytearray((copy / CHECKPOINT).read_bytes())
        content[-1] ^= 1
        (copy / CHECKPOINT).write_bytes(content)
        with pytest.raises(WeightsMismatch, match="SHA-256"):
            load_hd_bet(copy)
        with pytest.raises(WeightsMismatch, match="SHA-256"):
            load_hd_bet(hd_bet_folder, sha256="0" * 64)

    def test_an_unpinned_checkpoint_is_not_opened(self, hd_bet_folder: Path, tmp_path: Path) -> None:
        """Nothing vouches for it."""
        (tmp_path / "fold_all").mkdir()
        for file in ("dataset.json", "plans.json", CHECKPOINT.as_posix()):
            (tmp_path / file).write_bytes((hd_bet_folder / file).read_bytes())
        with pytest.raises(WeightsMissing, match="pinned"):
            load_hd_bet(tmp_path)

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        """The message says what to fetch."""
        with pytest.raises(WeightsMissing, match=r"dataset\.json") as error:
            load_hd_bet(tmp_path)
        assert "fetch_hd_bet" in error.value.problem.advice


class TestChoice:
    def test_auto_takes_hd_bet_where_it_is(self, hd_bet_folder: Path, tmp_path: Path) -> None:
        """The folder of the settings decides."""
        settings = parse_settings({"Preprocessing": {"HdBetFolder": str(hd_bet_folder)}})
        chosen = choose_brain_extractor(settings, tmp_path, device="cpu")
        assert isinstance(chosen, UnlessBrainExtracted)
        assert chosen.name == "hd-bet"

    def test_hd_bet_by_name_must_be_there(self, tmp_path: Path) -> None:
        """No silent second choice."""
        settings = parse_settings({"Preprocessing": {"BrainExtractor": "hd-bet"}})
        with pytest.raises(WeightsMissing):
            choose_brain_extractor(settings, tmp_path)

    def test_auto_without_any_weights(self, tmp_path: Path) -> None:
        """The built-in extractor's weights are missing, and that is said."""
        with pytest.raises(WeightsMissing):
            choose_brain_extractor(parse_settings({}), tmp_path)
