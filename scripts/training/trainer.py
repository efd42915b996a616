"""One network's training: draw, predict, compare, step; write a checkpoint now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from enhancement.network.architectures.residual_unet import ResidualUNet, initialise
from enhancement.network.engines.torch import choose_device, has_bfloat16
from training import checkpoints
from training.checkpoints import Checkpoint
from training.losses import compute_loss
from training.patients import Patient
from training.recipe import Recipe
from training.sampling import Sample, draw
from training.sources import Source, split

#: Called after each step with the step, the loss and whether a validation was run.
Report = Callable[[int, float, dict[str, float] | None], None]
#: What a resumed run may change without being another run.
_MAY_CHANGE = {"steps", "precision", "bound", "anatomies"}


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; nothing here changes its numbers."""

    folder: Path
    device: str = "auto"
    threads: int = 0
    save_every: int = 200
    validate_every: int = 500
    validation_samples: int = 8
    stop_after: int | None = None


class Trainer:
    """Trains one fold.

    Parameters
    ----------
    recipe : Recipe
    source : Source
        Where patients come from.
    settings : RunSettings
    resume : bool
        Go on from the folder's checkpoint, if there is one.
    start : Path, optional
        Fold folder of another run, or model folder, whose weights a fresh run starts from.

    Raises
    ------
    ValueError
        If the checkpoint belongs to another recipe or to other patients.
    """

    def __init__(
        self, recipe: Recipe, source: Source, settings: RunSettings, *, resume: bool = False, start: Path | None = None
    ) -> None:
        self.recipe, self.source, self.settings = recipe, source, settings
        self.device = choose_device(settings.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.network = make_network(recipe).to(self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        self.average: dict[str, Tensor] | None = None
        self.step, self.seconds, self.history = 0, 0.0, list[dict[str, float]]()
        self.limits: dict[str, tuple[float, float]] = {}
        checkpoint = checkpoints.load(settings.folder) if resume else None
        if checkpoint is not None:
            self._restore(checkpoint)
        else:
            self._begin(start)

    def _begin(self, start: Path | None) -> None:
        patients = self.source.patients(0)
        check_volumes(self.recipe, patients)
        # Of all patients: a model has one set of limits for all its folds. The held-out ones share only these averages.
        self.limits = find_limits(self.recipe, patients)
        if start is not None:
            weights, self.limits = checkpoints.weights_to_start_from(start, self.recipe.fold)
            self.network.load_state_dict(weights)
        if self.recipe.average:
            self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def _restore(self, found: Checkpoint) -> None:
        ours, theirs = self.recipe.model_dump(exclude=_MAY_CHANGE), found.recipe.model_dump(exclude=_MAY_CHANGE)
        if ours != theirs:
            names = ", ".join(sorted(name for name in ours if ours[name] != theirs[name]))
            raise ValueError(f"the checkpoint in {self.settings.folder} was made with another recipe: {names}")
        if found.source is not None and found.source != self.source.who():
            raise ValueError(
                f"the checkpoint in {self.settings.folder} was made with other patients: "
                f"{differing(found.source, self.source.who())}; put the data back as they were, or train anew in "
                "another run folder, with --start for these weights"
            )
        self.network.load_state_dict(found.network)
        self.optimiser.load_state_dict(found.optimiser)
        if found.average is not None:
            self.average = {name: value.to(self.device) for name, value in found.average.items()}
        self.step, self.seconds, self.history = found.step, found.seconds, found.history
        self.limits = found.limits

    def run(self, report: Report | None = None) -> Checkpoint:
        """Train up to the recipe's last step and return the final state."""
        last = self.recipe.steps if self.settings.stop_after is None else self.settings.stop_after
        writer = SummaryWriter(str(self.settings.folder / "logs"), purge_step=self.step)
        started, before = time.monotonic(), self.seconds
        with ThreadPoolExecutor(1) as pool:  # the next sample is made while the network works on this one
            coming = pool.submit(self._draw, self.step)
            while self.step < last:
                sample = coming.result()
                coming = pool.submit(self._draw, min(self.step + 1, last - 1))
                loss, terms = self._train_on(sample)
                self.step += 1
                self.seconds = before + time.monotonic() - started
                validation = self._log(writer, loss, terms)
                if self.step % self.settings.save_every == 0 or self.step == last:
                    checkpoints.save(self.settings.folder, self.state())
                if report is not None:
                    report(self.step, loss, validation)
        writer.close()
        return self.state()

    def _draw(self, step: int) -> Sample:
        training, _ = split(self.source.patients(step), self.recipe)
        return draw(self.recipe, self.limits, training, step)

    def _train_on(self, sample: Sample) -> tuple[float, dict[str, float]]:
        sample = Sample(*(volume.to(self.device) for volume in vars(sample).values()))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        loss, terms = compute_loss(self.recipe.loss, self._predict(sample), sample)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        self.optimiser.step()
        self._update_average()
        return float(loss.detach()), terms

    def _predict(self, sample: Sample) -> Tensor:
        use = self.recipe.precision == "bfloat16" and has_bfloat16(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=use):
            prediction: Tensor = self.network(sample.inputs)
        return prediction

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None:
            return
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        state = self.network.state_dict()
        torch._foreach_lerp_([self.average[name] for name in state], list(state.values()), 1 - keep)

    def _log(self, writer: SummaryWriter, loss: float, terms: dict[str, float]) -> dict[str, float] | None:
        if self.step % 10 == 0:
            writer.add_scalar("loss/total", loss, self.step)
            for name, value in terms.items():
                writer.add_scalar(f"loss/{name}", value, self.step)
        if self.step % self.settings.validate_every:
            return None
        measured = self.validate()
        for name, value in measured.items():
            writer.add_scalar(f"validation/{name}", value, self.step)
        if measured:
            self.history.append({"step": self.step, **measured})
        return measured

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean of the loss terms over fixed samples of patients that this fold does not train on."""
        _, held_out = split(self.source.patients(self.step), self.recipe)
        if not held_out:
            return {}
        current = {name: value.clone() for name, value in self.network.state_dict().items()}
        if self.average is not None:
            self.network.load_state_dict(self.average)
        recipe = self.recipe.model_copy(update={"seed": 977_201 + self.recipe.seed})
        rows = []
        for index in range(self.settings.validation_samples):
            sample = draw(recipe, self.limits, held_out, index, augmented=False)
            sample = Sample(*(volume.to(self.device) for volume in vars(sample).values()))
            loss, terms = compute_loss(recipe.loss, self._predict(sample), sample)
            rows.append({"total": float(loss), **terms})
        self.network.load_state_dict(current)
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    def state(self) -> Checkpoint:
        """The whole state at this step."""
        return Checkpoint(
            recipe=self.recipe,
            step=self.step,
            network=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
            average=self.average,
            limits=dict(self.limits),
            seconds=self.seconds,
            patients=len(self.source.patients(self.step)),
            history=self.history,
            source=self.source.who(),
        )


def differing(before: Sequence[str], now: Sequence[str]) -> str:
    """What changed, with the first few names.

    Examples
    --------
    >>> differing(("a", "b"), ("b", "c"))
    '1 gone (a), 1 new (c)'
    """
    parts = []
    for word, names in (("gone", [n for n in before if n not in now]), ("new", [n for n in now if n not in before])):
        if names:
            parts.append(f"{len(names)} {word} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})")
    return ", ".join(parts) or "in another order"


def make_network(recipe: Recipe) -> ResidualUNet:
    """The recipe's network, initialised from its seed and fold."""
    torch.manual_seed(recipe.seed * 31 + recipe.fold)
    network = ResidualUNet(
        len(recipe.inputs), recipe.channels, levels=recipe.levels, convolutions=recipe.convolutions, head=recipe.head
    )
    initialise(network, mean_target=0.15)
    return network


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then constant or half a cosine down to a hundredth."""
    rate = recipe.learning_rate * min(1.0, (step + 1) / max(recipe.warm_up, 1))
    if recipe.decay == "cosine":
        rate *= 0.505 + 0.495 * math.cos(math.pi * min(step / recipe.steps, 1.0))
    return rate


def check_volumes(recipe: Recipe, patients: Sequence[Patient]) -> None:
    """Refuse patients without the volumes that the recipe learns from.

    Raises
    ------
    ValueError
        Naming what is missing; an optional input may be missing, the input dose and the target may not.
    """
    for patient in patients:
        lacking = sorted(needed_volumes(recipe).difference(patient.names))
        if lacking:
            raise ValueError(
                f"patient {patient.identity} lacks {', '.join(lacking)}; --set doses.input_volume and "
                f"doses.target_volume name what there is ({', '.join(patient.names)})"
            )


def needed_volumes(recipe: Recipe) -> set[str]:
    """What every patient must have: input dose and target, and each other input that may not be missing."""
    inputs = {channel.role.lower() for channel in recipe.inputs[:-1] if channel.required}
    return inputs | {recipe.doses.input_volume, recipe.doses.target_volume}


def find_limits(recipe: Recipe, patients: Sequence[Patient]) -> dict[str, tuple[float, float]]:
    """Limits of each input and of the target; percentiles 1 and 99 over the patients where the recipe has none."""
    limits = {"target": recipe.output_limits, "T1C": recipe.output_limits}
    for channel in recipe.inputs:
        if channel.limits is not None:
            limits[channel.role] = channel.limits
            continue
        known = [p.statistics["brain"][channel.role.lower()] for p in patients if channel.role.lower() in p.names]
        if not known:
            raise ValueError(f"no patient has a volume for {channel.role}, and the recipe gives it no limits")
        low = sum((s.low - s.mean) / s.sd for s in known) / len(known)
        high = sum((s.high - s.mean) / s.sd for s in known) / len(known)
        limits[channel.role] = (round(low, 4), round(high, 4))
    return limits
