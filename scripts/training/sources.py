"""Where patients come from, and which of them a fold trains on."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Protocol

from training.patients import REAL_STUDY, Patient, open_packed, packed_files
from training.recipe import Recipe

#: Makes the packed file of the patient of one number.
Make = Callable[[int, Path], None]


class Source(Protocol):
    """Patients to choose from at a step; the same ones whenever that step is asked for."""

    def patients(self, step: int) -> Sequence[Patient]:
        """Return the patients in a fixed order."""
        ...

    def who(self) -> tuple[str, ...]:
        """Say who the patients are, so that a run goes on with the same ones or not at all."""
        ...


class PackedFolder:
    """A folder of packed patients, the same ones at every step.

    Parameters
    ----------
    folder : Path
    paths : sequence of Path, optional
        The packed files to take; all by default.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """

    def __init__(self, folder: Path, paths: Sequence[Path] | None = None) -> None:
        self._patients = [open_packed(path) for path in (packed_files(folder) if paths is None else paths)]
        if not self._patients:
            raise FileNotFoundError(f"no packed patients in {folder}")

    def patients(self, step: int) -> Sequence[Patient]:
        """Return every patient."""
        return self._patients

    def who(self) -> tuple[str, ...]:
        """Return their identities, in order."""
        return tuple(patient.identity for patient in self._patients)


class OnTheFly:
    """A window of simulated patients that moves on as training does.

    The window at a step holds patients (step // steps_each) to that plus `window`. The next ones are made by a side
    process ahead of time; where training is faster it waits, so that a step never depends on how fast a machine was.

    Parameters
    ----------
    make : callable
        Writes the packed file of patient number n to a path.
    folder : Path
        Where packed files live; those that the window has left are removed.
    window : int
        Patients to choose from.
    steps_each : int
        Steps after which the oldest patient makes room for a new one.
    processes : int
        Simulations side by side.
    """

    def __init__(self, make: Make, folder: Path, *, window: int = 20, steps_each: int = 25, processes: int = 1) -> None:
        self._make, self._folder = make, folder
        self._window, self._steps_each = window, steps_each
        # A fork would copy the threads' locks of a process that trains.
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(processes, mp_context=spawn, initializer=_end_with, initargs=(os.getpid(),))
        self._coming: dict[int, Future[None]] = {}
        self._ready: dict[int, Patient] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def patients(self, step: int) -> Sequence[Patient]:
        """Return the window of a step, waiting for patients that are still being made."""
        first = step // self._steps_each
        wanted = range(first, first + self._window)
        for number in range(first, first + self._window + 2):  # two ahead
            self._order(number)
        for number in wanted:
            if number not in self._ready:
                self._coming.pop(number).result()
                self._ready[number] = open_packed(self._path(number))
        for number in [n for n in self._ready if n < first]:
            del self._ready[number]
            self._path(number).unlink(missing_ok=True)
            self._path(number).with_suffix(".json").unlink(missing_ok=True)
        # By their place, which a patient keeps as long as it is there: who is held out by it never trains.
        return [self._ready[number] for number in sorted(wanted, key=lambda number: number % self._window)]

    def who(self) -> tuple[str, ...]:
        """Return the window; seed and target are the recipe's."""
        return (f"{self._window} simulated at a time, another every {self._steps_each} steps",)

    def _order(self, number: int) -> None:
        if number in self._ready or number in self._coming:
            return
        if self._path(number).with_suffix(".json").exists():
            self._ready[number] = open_packed(self._path(number))
        else:
            self._coming[number] = self._pool.submit(self._make, number, self._path(number))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npy"


def _end_with(parent: int) -> None:
    """End this worker when the training is gone: one that was killed cannot tell its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def split(patients: Sequence[Patient], recipe: Recipe) -> tuple[list[Patient], list[Patient]]:
    """Training and held-out patients of the recipe's fold.

    With several folds, patient i belongs to fold i modulo their number and is held out there. With one, every tenth
    patient is held out, for watching only. The fraction is taken from the training patients, the first ones.
    A person's i is the number of the packed file: it stays when others come, go or lack a volume.
    """
    period = recipe.folds if recipe.folds > 1 else 10
    places = [_place(i, patient) % period for i, patient in enumerate(patients)]
    held_out = [patient for place, patient in zip(places, patients, strict=True) if place == recipe.fold]
    training = [patient for place, patient in zip(places, patients, strict=True) if place != recipe.fold]
    if not training:  # a single patient, as in a trial run
        return list(patients), []
    kept = max(1, round(recipe.fraction * len(training)))
    return training[:kept], held_out


def _place(index: int, patient: Patient) -> int:
    return int(patient.path.stem) if patient.identity.startswith(REAL_STUDY) else index
