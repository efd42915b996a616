"""Which of a reader's candidates are lesions: a logistic model of `evaluation.surroundings`, fitted once.

It was fitted and its bias set on T1c images of simulated development patients, never on an enhanced image: at a
probability of 0.5 it makes no more than a quarter of a false mark a patient there, each judged by a fit without it.
More contrast never lowers it, or an image that amplifies lesions would be read as one of vessels.

Tried on 27 development patients (124 lesions, five folds): boosted trees on the same features found no more (10 % at
0.3 false marks a patient, as the logistic model); the map of pitfalls raised that to 15 %, and left the map of normal
enhancement without weight.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from enhancement.errors import ModelError
from evaluation.surroundings import FEATURES

PATH = Path(__file__).with_name("reader_judge.json")
#: Signs that a weight must have: +1 or -1.
SIGNS: Mapping[str, int] = {
    "contrast": 1, "ball": 1, "ball_within": 1, "arms": -1, "along": -1, "place": -1, "places": -1, "twin": -1,
    "pitfall": -1, "long_80": -1, "long_65": -1, "long_50": -1, "long_35": -1, "leaves": -1,
}  # fmt: skip


@dataclass(frozen=True)
class Judge:
    """A fitted model: p = logistic(bias + weights . terms), terms being features over their spread.

    Parameters
    ----------
    centre, spread, weights : (`FEATURES`,)
    bias : float
    fitted_on : str
        What it was fitted on.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    fitted_on: str = ""

    def logit(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of the odds of disease, (n,), of features (n, `FEATURES`)."""
        terms = (features - np.array(self.centre)) / np.array(self.spread)
        return np.asarray(np.clip(terms, -4, 4) @ np.array(self.weights) + self.bias, dtype=np.float64)

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of disease, (n,), of features (n, `FEATURES`)."""
        return np.asarray(special.expit(self.logit(features)), dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write it as JSON with the features' names."""
        path.write_text(json.dumps({"features": list(FEATURES), **asdict(self)}, indent=1) + "\n", encoding="utf-8")


@lru_cache(maxsize=1)
def load_judge(path: Path = PATH) -> Judge:
    """The judge that was fitted on the development patients.

    Raises
    ------
    ModelError
        If it is of other features than this program's.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.pop("features") != list(FEATURES):
        raise ModelError(f"a judge of the features {', '.join(FEATURES)} was needed; fit it anew")
    centre, spread, weights = (tuple(content[name]) for name in ("centre", "spread", "weights"))
    return Judge(centre, spread, weights, content["bias"], content["fitted_on"])


def fit_judge(
    features: Sequence[NDArray[np.float64]],
    lesion: Sequence[NDArray[np.intp]],
    ignored: Sequence[NDArray[np.bool_]],
    *,
    penalty: float = 3.0,
    fitted_on: str = "",
) -> Judge:
    """Fit by penalised maximum likelihood with the `SIGNS` kept.

    Parameters
    ----------
    features : (n, `FEATURES`) a patient
    lesion : (n,) a patient
        Which lesion a candidate pairs with, -1 for none. All candidates of a lesion weigh as one to three together.
    ignored : (n,) a patient
        Candidates that are neither, such as a nodule of a rim.
    penalty : float
        Of the squared weights.
    """
    rows = np.concatenate([x[~skip] for x, skip in zip(features, ignored, strict=True)])
    truth = np.concatenate([n[~skip] >= 0 for n, skip in zip(lesion, ignored, strict=True)])
    weight = np.concatenate([_weights(n)[~skip] for n, skip in zip(lesion, ignored, strict=True)])
    centre, spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    terms = np.clip((rows - centre) / spread, -4, 4)
    signs = np.where(truth, 1.0, -1.0)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = signs * (terms @ values[:-1] + values[-1])
        pull = -weight * signs * special.expit(-margin)
        gradient = np.append(pull @ terms + penalty * values[:-1], pull.sum())
        return float(weight @ np.logaddexp(0, -margin) + penalty / 2 * (values[:-1] ** 2).sum()), gradient

    bounds = [{1: (0, None), -1: (None, 0)}.get(SIGNS.get(name, 0), (None, None)) for name in FEATURES]
    start = np.zeros(len(FEATURES) + 1)
    found = optimize.minimize(loss, start, jac=True, bounds=[*bounds, (None, None)], method="L-BFGS-B").x
    terms_of, widths, weights = (tuple(float(v) for v in array) for array in (centre, spread, found[:-1]))
    return Judge(terms_of, widths, weights, bias=float(found[-1]), fitted_on=fitted_on)


def with_bias(judge: Judge, logit: float) -> Judge:
    """The same judge with the probability 0.5 at what had this logit."""
    return replace(judge, bias=judge.bias - logit)


def _weights(lesion: NDArray[np.intp]) -> NDArray[np.float64]:
    """1 for what is none; of a lesion with n candidates each weighs the inverse root of n."""
    found = np.ones(len(lesion))
    hits = lesion >= 0
    if hits.any():
        found[hits] = 1 / np.sqrt(np.bincount(lesion[hits])[lesion[hits]])
    return found
