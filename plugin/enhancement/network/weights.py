"""Model folders: manifest.json and one safetensors file a fold, checked before anything is loaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from enhancement.errors import WeightsMismatch, WeightsMissing
from enhancement.network.architectures import ARCHITECTURES
from enhancement.network.architectures.base import Architecture
from enhancement.network.manifest import MANIFEST, Fold, Manifest


@dataclass(frozen=True)
class Model:
    """A verified model folder: its manifest, and the weights of each fold."""

    manifest: Manifest
    folds: tuple[Mapping[str, Tensor], ...]

    @property
    def digest(self) -> str:
        """Identity of the model, for provenance and for deterministic UIDs."""
        return self.manifest.digest

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the input channels, in the network's order."""
        return tuple(channel.role for channel in self.manifest.inputs)

    @property
    def architecture(self) -> Architecture:
        """The kind of network that the manifest names.

        Raises
        ------
        WeightsMismatch
            If this version knows no such kind.
        """
        kind = self.manifest.network.kind
        if kind not in ARCHITECTURES:
            known = ", ".join(sorted(ARCHITECTURES))
            raise WeightsMismatch(f"{MANIFEST} names a network of kind {kind!r}; known here are {known}")
        return ARCHITECTURES[kind]

    @property
    def multiple(self) -> int:
        """What every axis of the input must be a multiple of."""
        return self.architecture.multiple(self.manifest.network)

    @property
    def mirrored(self) -> frozenset[int]:
        """The axes of (n, c, z, y, x) along which an image may be mirrored."""
        return self.architecture.mirrored(self.manifest.network)

    def build(self, fold: int) -> nn.Module:
        """Make the network of one fold, in float32 and evaluation mode.

        Raises
        ------
        WeightsMismatch
            If the manifest describes no network that there is, or the tensors don't fit it.
        """
        architecture = self.architecture
        try:
            network = architecture.build(self.manifest.network)
        except ValueError as error:
            raise WeightsMismatch(f"{MANIFEST} describes no network: {error}") from None
        try:
            network.load_state_dict({name: tensor.float() for name, tensor in self.folds[fold].items()})
        except RuntimeError:
            file = self.manifest.folds[fold].file
            raise WeightsMismatch(f"{file} does not hold the tensors of the network in {MANIFEST}") from None
        return network.eval()


def load_manifest(folder: Path) -> Manifest:
    """Read and check manifest.json.

    Raises
    ------
    WeightsMissing
        If it is not there.
    WeightsMismatch
        If it is not valid, of another format, or its digest is not that of its content.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsMissing(f"no readable {MANIFEST} in model folder {folder.name!r}: {error}") from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise WeightsMismatch(f"{MANIFEST} of {folder.name!r} is not valid: {where}") from None
    if manifest.digest != manifest.expected_digest():
        raise WeightsMismatch(f"{MANIFEST} of {folder.name!r} was changed: its digest is not that of its content")
    if len(manifest.inputs) != manifest.network.in_channels:
        raise WeightsMismatch(f"{MANIFEST} of {folder.name!r} names {len(manifest.inputs)} inputs for another network")
    return manifest


def load_model(folder: Path) -> Model:
    """Load a model folder; each file's SHA-256 is compared with the manifest's before the file is parsed.

    Raises
    ------
    WeightsMissing
        If the manifest or a fold is not there.
    WeightsMismatch
        If anything is not what the manifest says.
    """
    manifest = load_manifest(folder)
    model = Model(manifest, tuple(_read_fold(folder, fold) for fold in manifest.folds))
    for fold in range(len(model.folds)):
        model.build(fold)
    return model


def _read_fold(folder: Path, fold: Fold) -> Mapping[str, Tensor]:
    # The bytes that were hashed are the bytes that are parsed: no second look at a file that may have changed.
    try:
        content = (folder / fold.file).read_bytes()
    except OSError:
        raise WeightsMissing(f"model folder {folder.name!r} lacks {fold.file}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != fold.sha256:
        raise WeightsMismatch(f"{fold.file} has SHA-256 {found[:12]}..., the manifest names {fold.sha256[:12]}...")
    try:
        return dict(load_safetensors(content))
    except SafetensorError as error:
        raise WeightsMismatch(f"{fold.file} is not a safetensors file: {error}") from None


def write_model(folder: Path, manifest: Manifest, folds: Sequence[Mapping[str, Tensor]], *, card: str = "") -> Manifest:
    """Write a model folder: float16 weights, then the manifest that vouches for them, each file atomically.

    Parameters
    ----------
    folder : Path
        Made if need be. Weight files that the new manifest doesn't name are removed last.
    manifest : Manifest
        Its `folds` and `digest` are replaced by those of the files written.
    folds : sequence of state dicts
        Floating-point tensors, stored in half precision.
    card : str
        MODEL_CARD.md, unless empty.

    Returns
    -------
    Manifest
        As written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Fold] = []
    for index, state in enumerate(folds):
        tensors = {name: tensor.detach().cpu().to(torch.float16).contiguous() for name, tensor in state.items()}
        content = save_safetensors(tensors)
        file = f"fold-{index}.safetensors"
        _write_atomically(folder / file, content)
        written.append(Fold(file=file, sha256=hashlib.sha256(content).hexdigest()))
    manifest = manifest.model_copy(update={"folds": tuple(written), "digest": ""})
    manifest = manifest.model_copy(update={"digest": manifest.expected_digest()})
    if card:
        _write_atomically(folder / "MODEL_CARD.md", card.encode("utf-8"))
    _write_atomically(folder / MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode("utf-8"))
    named = {fold.file for fold in written}
    for path in folder.glob("*.safetensors"):
        if path.name not in named:
            path.unlink()
    return manifest


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
