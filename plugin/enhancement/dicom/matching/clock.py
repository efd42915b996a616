"""When each series was acquired, as far as the study's clocks can be believed.

A clock that does not tell series apart tells nothing: anonymisers write 000000, or the time of the study, on all. Two
sequences cannot run at one moment, so a moment that they share is none. Dates count with times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise

from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.reading.headers import Moment

# One examination is shorter. A longer span on one date may be a midnight without its date.
_LONGEST_S = 12 * 3600.0
_NIGHT_S = 6 * 3600.0
_DAY_S = 86400.0
SAME_MOMENT_S = 1.0

Moments = Mapping[int, float]


def moments_of(study: Sequence[SeriesFacts]) -> Moments:
    """Seconds on one common scale, by `id` of the series; series whose clock tells nothing are not in it.

    The clock of the acquisition is asked first, then that of the series, as some anonymisers spare one of them.
    """
    for ask in (_acquired, _series):
        found = _believed(study, ask)
        if len({round(moment) for moment in found.values()}) > 1:
            return found
    return {}


def _acquired(facts: SeriesFacts) -> Moment | None:
    return facts.acquired or (facts.series_moment if facts.is_acquired else None)


def _series(facts: SeriesFacts) -> Moment | None:
    return facts.series_moment if facts.is_acquired else None


def _believed(study: Sequence[SeriesFacts], ask: Callable[[SeriesFacts], Moment | None]) -> dict[int, float]:
    given = {id(facts): moment for facts in study if facts.images and (moment := ask(facts)) is not None}
    found = _on_one_scale(given)
    for shared in _shared(study, found):
        found = {key: moment for key, moment in found.items() if moment != shared}
    return found


def _on_one_scale(given: Mapping[int, Moment]) -> dict[int, float]:
    days = {moment.day for moment in given.values() if moment.day is not None}
    if len(days) <= 1:
        # What has no date is of the one date there is.
        found = {key: moment.seconds for key, moment in given.items()}
        return found if _is_one_examination(sorted(found.values()), dated=bool(days)) else {}
    return {key: _ordinal(moment.day) + moment.seconds for key, moment in given.items() if moment.day is not None}


def _is_one_examination(clocks: Sequence[float], *, dated: bool) -> bool:
    """Whether times of one day are in order.

    Not where midnight lies between them and the date of the next day is lost.
    """
    if not clocks or clocks[-1] - clocks[0] <= _LONGEST_S:
        return True
    gap = max(later - earlier for earlier, later in pairwise(clocks))
    over_midnight = _DAY_S - gap  # how long it took if it went on past midnight
    return dated and over_midnight > _NIGHT_S


def _ordinal(day: str) -> float:
    return date(int(day[:4]), int(day[4:6]), int(day[6:8])).toordinal() * _DAY_S


def _shared(study: Sequence[SeriesFacts], found: Mapping[int, float]) -> set[float]:
    """Moments that series of several repetition times have, and a midnight that several series have."""
    kinds: dict[float, set[str]] = defaultdict(set)
    counts: dict[float, int] = defaultdict(int)
    for facts in study:
        if facts.is_acquired and (moment := found.get(id(facts))) is not None:
            kinds[moment].add("".join(facts.values("RepetitionTime")[:1]))
            counts[moment] += 1
    return {moment for moment, kind in kinds.items() if len(kind) > 1 or (counts[moment] > 1 and moment % _DAY_S == 0)}
