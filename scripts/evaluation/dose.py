"""How many times the dose an image looks like: the signal equation, inverted.

`k_eff = dR1(T1c-pro) / dR1(T1c)` on the mean of a lesion, with dR1 = r1 C the rise of the relaxation rate. As
the signal saturates with dose, a ratio of signals is not a ratio of doses. Three families: spoiled gradient echo,
in closed form; inversion-prepared gradient echo (MP-RAGE, BRAVO) and spin echo, by bisection. T2 and T2* are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import bisect

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spgr:
    """Spoiled gradient echo; repetition time in s, flip angle in degrees."""

    repetition_time_s: float = 0.0061
    flip_angle_deg: float = 12.0

    def signal(self, t1_s: ArrayLike) -> Array:
        """Steady-state signal for M0 = 1, T2* left out: (1 - E1) sin a / (1 - E1 cos a)."""
        angle = np.deg2rad(self.flip_angle_deg)
        e1 = np.exp(-self.repetition_time_s / np.asarray(t1_s, dtype=np.float64))
        return np.asarray(np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle)))

    def delta_r1(self, ratio: ArrayLike, t1_before_s: ArrayLike) -> Array:
        """Rise of R1 from the ratio of the signals after and before contrast.

        With f0 the signal before and f = f0 x ratio: E1 = (sin a - f)/(sin a - f cos a),
        dR1 = -ln(E1)/TR - 1/T10.

        Parameters
        ----------
        ratio : any shape
            S_after / S_before, equal receiver gain.
        t1_before_s : any shape that broadcasts
            T1 before contrast, s.

        Returns
        -------
        dR1, 1/s; +inf where the signal is beyond saturation, NaN where it is not positive.

        Examples
        --------
        >>> ratio = Spgr().signal(1 / (1 / 1.55 + 0.7)) / Spgr().signal(1.55)
        >>> bool(np.isclose(Spgr().delta_r1(ratio, 1.55), 0.7))
        True
        """
        angle = np.deg2rad(self.flip_angle_deg)
        t1 = np.asarray(t1_before_s, dtype=np.float64)
        f = self.signal(t1) * np.asarray(ratio, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            e1 = (np.sin(angle) - f) / (np.sin(angle) - f * np.cos(angle))
            reachable = f < np.sin(angle)  # M0 sin a is what an infinitely short T1 gives
            rate = np.where(reachable, -np.log(np.where(reachable, e1, 1.0)) / self.repetition_time_s, np.inf)
        return np.where(f > 0, rate - 1.0 / t1, np.nan)


@dataclass(frozen=True)
class InversionPrepared:
    """MP-RAGE or BRAVO: inversion, wait, a train of small flips read at its centre, recovery.

    Parameters
    ----------
    echo_spacing_s, flip_angle_deg
        Of the readout train.
    inversion_time_s : float
        From inversion to the centre of the train.
    readouts : int
        Flips in one train.
    recovery_s : float
        From the end of the train to the next inversion.
    efficiency : float
        Of the inversion; 0.96 for an adiabatic pulse.
    """

    echo_spacing_s: float = 0.0095
    flip_angle_deg: float = 12.0
    inversion_time_s: float = 0.4
    readouts: int = 64
    recovery_s: float = 0.5
    efficiency: float = 0.96

    def signal(self, t1_s: float) -> float:
        """Magnitude-with-sign signal at the centre of the train in steady state, M0 = 1.

        Each part of the cycle maps M to a + b M; the cycle's fixed point is the steady state.
        """
        angle = np.deg2rad(self.flip_angle_deg)
        e1 = np.exp(-self.echo_spacing_s / t1_s)
        step = (1 - e1, e1 * np.cos(angle))  # one flip, then recovery until the next
        half = self.readouts // 2
        wait = max(self.inversion_time_s - half * self.echo_spacing_s, 0.0)
        to_train = _then((0.0, -self.efficiency), _recover(wait, t1_s))
        to_centre = _then(to_train, _repeat(step, half))
        cycle = _then(_then(to_centre, _repeat(step, self.readouts - half)), _recover(self.recovery_s, t1_s))
        before_inversion = cycle[0] / (1 - cycle[1])
        return float(np.sin(angle) * (to_centre[0] + to_centre[1] * before_inversion))

    def delta_r1(self, ratio: float, t1_before_s: float, *, highest: float = 20.0) -> float:
        """Rise of R1 (1/s) from a signal ratio: `_rise`."""
        return _rise(self.signal, ratio, t1_before_s, highest)


@dataclass(frozen=True)
class SpinEcho:
    """Spin echo with a 90 degree excitation; times in s."""

    repetition_time_s: float = 0.6
    echo_time_s: float = 0.012

    def signal(self, t1_s: float) -> float:
        """Signal for M0 = 1, T2 left out: 1 - 2 exp(-(TR - TE/2)/T1) + exp(-TR/T1)."""
        late = np.exp(-(self.repetition_time_s - self.echo_time_s / 2) / t1_s)
        return float(1 - 2 * late + np.exp(-self.repetition_time_s / t1_s))

    def delta_r1(self, ratio: float, t1_before_s: float, *, highest: float = 20.0) -> float:
        """Rise of R1 (1/s) from a signal ratio: `_rise`."""
        return _rise(self.signal, ratio, t1_before_s, highest)


def simulated_sequence(sequence: Mapping[str, Any]) -> Spgr | InversionPrepared | SpinEcho:
    """The T1-weighted sequence of a simulated protocol, from the fields of `simulation.physics.Sequence`.

    Raises
    ------
    ValueError
        If it is of another kind.
    """
    kind, repetition_time_s, flip_angle_deg = sequence["kind"], sequence["tr_ms"] / 1000, sequence["flip_deg"]
    if kind == "spgr":
        return Spgr(repetition_time_s, flip_angle_deg)
    if kind == "se":
        return SpinEcho(repetition_time_s, sequence["te_ms"] / 1000)
    if kind != "mprage":
        raise ValueError(f"a T1-weighted sequence is spgr, mprage or se, found {kind!r}")
    return InversionPrepared(
        repetition_time_s,
        flip_angle_deg,
        inversion_time_s=sequence["ti_ms"] / 1000,
        readouts=sequence["readouts"],
        recovery_s=sequence["recovery_ms"] / 1000,
        efficiency=sequence["inversion_efficiency"],
    )


def equivalent_dose(
    before: float,
    after: float,
    enhanced: float,
    *,
    delta_r1: Callable[[float, float], float | Array],
    t1_before_s: float,
) -> float:
    """Equivalent dose factor k_eff of a lesion.

    Parameters
    ----------
    before, after, enhanced : float
        Mean intensity of the lesion in T1, T1c and T1c-pro, in one unit.
    delta_r1 : callable
        Of `Spgr`, `InversionPrepared` or `SpinEcho`.
    t1_before_s : float
        T1 of the lesion before contrast; the result depends on it little (method: 1.48 to 1.36 for 0.9 to 2.5 s).

    Returns
    -------
    dR1(T1c-pro) / dR1(T1c); NaN where the T1c shows no rise.

    Examples
    --------
    The published means, CEP 85.6 % and 112.4 %, are a factor of 1.4, not 4.

    >>> round(equivalent_dose(1.0, 1.856, 2.124, delta_r1=Spgr().delta_r1, t1_before_s=1.55), 1)
    1.4
    """
    if before <= 0:
        return float("nan")
    plain = float(delta_r1(after / before, t1_before_s))
    more = float(delta_r1(enhanced / before, t1_before_s))
    return more / plain if np.isfinite(plain) and plain > 0 else float("nan")


def _rise(signal: Callable[[float], float], ratio: float, t1_before_s: float, highest: float) -> float:
    """Rise of R1 (1/s) by bisection on [0, `highest`].

    The signal rises with R1 as long as it is positive, which is where contrast agent moves it; a ratio
    at or below 1 gives 0, one beyond the saturation gives infinity. NaN where the signal before is not positive.
    """
    before = signal(t1_before_s)

    def excess(rise: float) -> float:
        return signal(1.0 / (1.0 / t1_before_s + rise)) / before - ratio

    if not np.isfinite(ratio) or before <= 0:
        return float("nan")
    if excess(0.0) >= 0:
        return 0.0
    if excess(highest) <= 0:
        return float("inf")
    return float(bisect(excess, 0.0, highest, xtol=1e-6))


def _recover(duration_s: float, t1_s: float) -> tuple[float, float]:
    decay = float(np.exp(-duration_s / t1_s))
    return 1 - decay, decay


def _then(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    return second[0] + second[1] * first[0], second[1] * first[1]


def _repeat(step: tuple[float, float], times: int) -> tuple[float, float]:
    factor = step[1] ** times
    return step[0] * (1 - factor) / (1 - step[1]), factor
