"""Small packed patients for the trainer's tests."""

import numpy as np

from training.patients import pack
from training.recipe import Recipe
from training.switches import change

SHAPE = (24, 28, 24)
TINY = ("channels=2", "levels=2", "patch=16", "steps=8", "warm_up=2", "batch=2", "folds=1")


def tiny_recipe(*switches: str) -> Recipe:
    """t1c-pro at a size that takes milliseconds."""
    return change("t1c-pro", [*TINY, "head=residual", "doses.target_volume=t1c_4", *switches])


def write_patients(folder, count=4):
    """Patients with a brain, two lesions and T1, FLAIR, ADC, T1c and targets."""
    for number in range(count):
        rng = np.random.default_rng(number)
        brain = np.zeros(SHAPE, bool)
        brain[2:-2, 2:-2, 2:-2] = True
        labels = np.zeros(SHAPE, np.uint8)
        labels[6:8, 6:8, 6:8] = 3
        labels[12:18, 12:18, 12:18] = 3
        labels[4:6, 18:20, 4:6] = 6
        t1 = rng.normal(300, 20, SHAPE).astype(np.float32)
        volumes = {
            "t1": t1,
            "flair": rng.normal(200, 30, SHAPE).astype(np.float32),
            "adc": rng.normal(8e-4, 1e-4, SHAPE).astype(np.float32),
            "t1c_low": t1 + 30 * (labels == 3),
            "t1c": t1 + 100 * (labels == 3),
            "t1c_4": 1.1 * (t1 + 300 * (labels == 3)),
        }
        masks = {"brain": brain, "brain_imperfect": np.roll(brain, 1, axis=0)}
        pack(folder / f"{number:06d}.npy", volumes, masks, labels, units={"t1c_4": "t1c"})
    return folder
