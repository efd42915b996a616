"""A cache of simulated patients that grows while the training goes on, and is renewed when it is full."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from choosing.store import StoredPatient, open_stored, remove_stored, store_patient, stored_files
from simulation.patient import PatientConfig, simulate_patient
from training.simulated import FIRST_SEED

_COUNTER = "made.count"


@dataclass(frozen=True)
class Population:
    """Which patients to make, how many to keep, and what part of a core to spend on it.

    Attributes
    ----------
    folder : Path
    limit : int
        Patients that are kept; the oldest make room for new ones.
    share : float
        Of a core; the maker rests in between.
    seed : int
        Of the run: other runs see other patients.
    anatomies : Path, optional
        Folder of label maps of real heads.
    random_contrast : float
        Share of the patients with unphysical tissue contrasts.
    """

    folder: Path
    limit: int = 800
    share: float = 0.25
    seed: int = 0
    anatomies: Path | None = None
    random_contrast: float = 0.0

    def config(self) -> PatientConfig:
        """The simulator's settings: only the full dose is rendered, other doses are arithmetic."""
        return PatientConfig(
            doses=(1,),
            anatomies="" if self.anatomies is None else str(self.anatomies),
            random_contrast_share=self.random_contrast,
        )


def make_next(population: Population) -> Path:
    """Simulate the next patient, store it, and remove the oldest beyond the limit.

    Several processes may do so in one folder: a number is claimed by a file that only one of them can create.
    """
    folder = population.folder
    folder.mkdir(parents=True, exist_ok=True)
    number = _claimed(folder)
    path = folder / f"{number:07d}.json"
    store_patient(simulate_patient(FIRST_SEED + 100_000 * population.seed + number, config=population.config()), path)
    _write_count(folder, max(made_in(folder), number + 1))
    path.with_suffix(".claim").unlink()
    for old in stored_files(folder)[: -population.limit]:
        remove_stored(old)
    return path


def made_in(folder: Path) -> int:
    """How many patients were made there so far, those that went included."""
    counter = folder / _COUNTER
    return int(counter.read_text()) if counter.exists() else 0


def _claimed(folder: Path) -> int:
    number = made_in(folder)
    while True:
        path = folder / f"{number:07d}.claim"
        if not path.with_suffix(".json").exists():
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                return number
        number += 1


def _write_count(folder: Path, count: int) -> None:
    partial = folder / f"{_COUNTER}.{os.getpid()}"
    partial.write_text(str(count))
    os.replace(partial, folder / _COUNTER)


def make_many(population: Population, count: int) -> None:
    """Make patients one after another until `count` have been made in all, resting as the share asks."""
    while made_in(population.folder) < count:
        started = time.thread_time()
        make_next(population)
        time.sleep((time.thread_time() - started) * (1 / population.share - 1))


class GrowingCache:
    """The patients of a folder, looked at again now and then.

    Parameters
    ----------
    folder : Path
    every : int
        Steps between looks.

    Raises
    ------
    FileNotFoundError
        If there is no patient yet.
    """

    def __init__(self, folder: Path, *, every: int = 100) -> None:
        self._folder, self._every = folder, every
        self._known: dict[Path, StoredPatient] = {}
        self._looked = -1
        self.look()
        if not self._known:
            raise FileNotFoundError(f"no patients in {folder}; make some first")

    def patients(self, step: int) -> Sequence[StoredPatient]:
        """Everybody who is there, by number."""
        if step // self._every != self._looked:
            self._looked = step // self._every
            self.look()
        return list(self._known.values())

    def look(self) -> None:
        """Find who came and who went."""
        self._known = {path: self._known.get(path) or open_stored(path) for path in stored_files(self._folder)}

    @property
    def made(self) -> int:
        """How many patients were made so far, those that went included."""
        return max(made_in(self._folder), len(self._known))


class Maker:
    """Makes patients in a process beside the training, for as long as that lives."""

    def __init__(self, population: Population) -> None:
        # A fork would copy the threads' locks of a process that trains.
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_make_for_ever, args=(population, os.getpid()), daemon=True)

    def __enter__(self) -> Maker:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()


def _make_for_ever(population: Population, parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.nice(4)
    make_many(population, 2**62)


def _end_with(parent: int) -> None:
    """End when the training is gone: one that was killed cannot tell its maker."""
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)
