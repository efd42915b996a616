"""Training of the choosing network: draw, answer, compare, step; for days, and on from where it was stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from choosing import checkpoints
from choosing.checkpoints import Checkpoint, Row
from choosing.drawing import Cubes, Drawer
from choosing.losses import compute_loss
from choosing.recipe import MAY_CHANGE, ChoosingRecipe
from choosing.store import StoredPatient
from enhancement.network.architectures.half_resolution import HalfResolutionNet, initialise
from enhancement.network.engines.torch import has_bfloat16

#: Measures a network for the learning curve.
Measure = Callable[[HalfResolutionNet, int], Row]
#: Told the step and the loss' terms, smoothed.
Report = Callable[[int, dict[str, float]], None]
_CPU = torch.device("cpu")


class Patients(Protocol):
    """Where patients come from."""

    def patients(self, step: int) -> Sequence[StoredPatient]:
        """Everybody who is there at a step."""
        ...

    @property
    def made(self) -> int:
        """How many there were so far."""
        ...


@dataclass(frozen=True)
class RunSettings:
    """How a run is carried out; nothing here changes its numbers.

    Attributes
    ----------
    folder : Path
        Of the checkpoint.
    steps : int
        Last step.
    save_minutes : float
        Between checkpoints.
    measure_every, keep_every : int
        Steps between rows of the learning curve, and between checkpoints that are kept beside the last one.
    """

    folder: Path
    steps: int = 100_000
    save_minutes: float = 10.0
    measure_every: int = 5_000
    keep_every: int = 20_000


class ChoosingTrainer:
    """One run.

    Parameters
    ----------
    recipe : ChoosingRecipe
    source : Patients
    settings : RunSettings
    before : Checkpoint, optional
        To go on from; without optimiser state (half-precision weights) the learning rate warms up anew.

    Raises
    ------
    ValueError
        If the checkpoint belongs to another recipe.
    """

    def __init__(
        self, recipe: ChoosingRecipe, source: Patients, settings: RunSettings, before: Checkpoint | None = None
    ) -> None:
        self.recipe, self.source, self.settings = recipe, source, settings
        self.network = make_network(recipe).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate, fused=True)
        self.step, self.seconds, self.curve = 0, 0.0, list[Row]()
        self._warm_from = 0
        if before is not None:
            self._restore(before)
        else:
            self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._drawer = Drawer(recipe)

    def _restore(self, found: Checkpoint) -> None:
        ours = self.recipe.model_dump(exclude=set(MAY_CHANGE))
        theirs = found.recipe.model_dump(exclude=set(MAY_CHANGE))
        if ours != theirs:
            names = ", ".join(sorted(name for name in ours if ours[name] != theirs[name]))
            raise ValueError(f"the checkpoint was made with another recipe: {names}; give it the same switches")
        self.network.load_state_dict(found.network)
        self.average = {name: value.clone() for name, value in found.average.items()}
        self.step, self.seconds, self.curve = found.step, found.seconds, list(found.curve)
        if found.optimiser:
            self.optimiser.load_state_dict(found.optimiser)
        else:
            self._warm_from = found.step

    def run(self, *, measure: Measure | None = None, report: Report | None = None) -> Checkpoint:
        """Train up to the last step, and return the final state."""
        smooth: dict[str, float] = {}
        saved = started = time.monotonic()
        before = self.seconds
        with ThreadPoolExecutor(1) as pool:  # the next cubes are read from the disk while the network works
            coming = pool.submit(self._draw, self.step)
            while self.step < self.settings.steps:
                cubes = coming.result()
                coming = pool.submit(self._draw, self.step + 1)
                for name, value in self._train_on(cubes).items():
                    smooth[name] = value + 0.98 * (smooth.get(name, value) - value)
                self.step += 1
                self.seconds = before + time.monotonic() - started
                if report is not None:
                    report(self.step, smooth)
                if measure is not None and self.step % self.settings.measure_every == 0:
                    self.curve.append({"step": self.step, **measure(averaged(self.recipe, self.average), self.step)})
                if time.monotonic() - saved > 60 * self.settings.save_minutes:
                    self.save()
                    saved = time.monotonic()
                if self.step % self.settings.keep_every == 0:
                    checkpoints.save(self.settings.folder / f"step-{self.step:07d}.pt", self.state())
        self.save()
        return self.state()

    def _draw(self, step: int) -> Cubes:
        try:
            return self._drawer.draw(self.source.patients(step), step)
        except FileNotFoundError:  # a patient made room for a new one since the cache was looked at
            return self._drawer.draw(self.source.patients(-1), step)

    def _train_on(self, cubes: Cubes) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self._warm_from)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16(_CPU)):
            output: Tensor = self.network(cubes.inputs, cubes.places)
        loss, terms = compute_loss(self.recipe.terms, output, cubes)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        self._update_average()
        return {"loss": float(loss.detach()), **terms, "norm": float(norm)}

    @torch.no_grad()
    def _update_average(self) -> None:
        """Each fourth step, with four steps' weight: the average of seven million numbers costs as much as a cube."""
        if self.step % 4:
            return
        keep = min(self.recipe.average**4, (1 + self.step) / (40 + self.step))
        state = self.network.state_dict()
        torch._foreach_lerp_([self.average[name] for name in state], list(state.values()), 1 - keep)

    def save(self) -> None:
        """Write the run's checkpoint."""
        checkpoints.save(self.settings.folder / checkpoints.FILE, self.state())

    def state(self) -> Checkpoint:
        """The whole state at this step."""
        return Checkpoint(
            self.recipe,
            self.step,
            self.seconds,
            self.source.made,
            self.network.state_dict(),
            self.average,
            self.optimiser.state_dict(),
            self.curve,
        )


def make_network(recipe: ChoosingRecipe) -> HalfResolutionNet:
    """The recipe's network, initialised from its seed."""
    torch.manual_seed(recipe.seed)
    network = HalfResolutionNet(
        len(recipe.inputs), recipe.channels, levels=recipe.levels, fine=recipe.fine, coordinates=recipe.coordinates
    )
    initialise(network)
    return network


def averaged(recipe: ChoosingRecipe, average: dict[str, Tensor]) -> HalfResolutionNet:
    """The network that is used: with the averaged weights, in evaluation mode."""
    network = make_network(recipe).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.load_state_dict(average)
    return network.eval()  # type: ignore[no-any-return]


def learning_rate(recipe: ChoosingRecipe, step: int, warm_from: int = 0) -> float:
    """Linear warm-up, then constant; once `decay_from` is told, half a cosine down to a hundredth."""
    rate = recipe.learning_rate * min(1.0, (step - warm_from + 1) / max(recipe.warm_up, 1))
    if recipe.decay_from is not None and step > recipe.decay_from:
        way = min((step - recipe.decay_from) / recipe.decay_steps, 1.0)
        rate *= 0.505 + 0.495 * math.cos(math.pi * way)
    return rate
