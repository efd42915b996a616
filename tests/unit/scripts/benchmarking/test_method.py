"""scripts/benchmark.py, the method's part: what is timed, what it is compared with, and the ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from pydicom import dcmread

from benchmarking import method
from unit.phantom import B_VALUES, PhantomStudy, write_study

READ = ("T1", "FLAIR", "DWI", "T1C")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    """Five series, of which the method reads four: a T2 is matched, and left alone."""
    return write_study(tmp_path_factory.mktemp("study"), roles=(*READ, "T2"), spacing_mm=(3.0, 2.0, 6.0))


def _voxels(study: PhantomStudy, roles: Sequence[str]) -> int:
    return sum(int(np.prod(study.grids[role].size)) * (len(B_VALUES) if role == "DWI" else 1) for role in roles)


class TestTimed:
    def test_neither_preparing_nor_telling_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [100.0]
        peaks = iter((300, 348))

        def prepared(seconds: float, text: str) -> tuple[Callable[[], str], Callable[[str], dict[str, Any]]]:
            now[0] += 50
            return lambda: _pass(seconds, text), lambda outcome: _pass(7, {"outcome": outcome})

        def _pass(seconds: float, value: Any) -> Any:
            now[0] += seconds
            return value

        monkeypatch.setattr(method, "time", SimpleNamespace(perf_counter=lambda: now[0]))
        monkeypatch.setattr(method, "_peak_mb", lambda: next(peaks))
        figures = method._timed(prepared, (1.234, "done"))
        assert figures == {"seconds": 1.23, "peak_mb": 348, "grown_mb": 48, "outcome": "done"}

    def test_memory_is_this_process_own(self) -> None:
        """At least what it holds now; with 64 MB more, the peak is above what was held before by as much."""
        held = psutil.Process().memory_info().rss >> 20
        block = np.ones(64 << 17)
        assert method._peak_mb() >= held + 63
        assert block.nbytes == 64 << 20


class TestRatio:
    @pytest.mark.parametrize(("ours", "plain", "ratio"), [(1.4, 9.0, 0.156), (2, 2, 1.0), (3.0, 0.0, 3e6), (0, 5, 0.0)])
    def test_ours_over_plain(self, ours: float, plain: float, ratio: float) -> None:
        """To three digits; what took no time at all divides by a microsecond."""
        assert method._ratio(ours, plain) == ratio


class TestReading:
    def test_both_ways_read_the_same(self, study: PhantomStudy) -> None:
        """The method says which series it takes; plain reading takes all of these, every b-value, and no other."""
        run, tell = method._read(study.folder, [])
        series = tell(run())["series"]
        assert series == sorted(study.series_instance_uids[role] for role in READ)
        run, tell = method._read_plainly(study.folder, series)
        volumes = run()
        assert tell(volumes) == {"voxels": _voxels(study, READ)}
        assert {volume.dtype for volume in volumes} == {np.dtype(np.float32)}

    def test_plain_reading_is_the_files_pixels(self, study: PhantomStudy) -> None:
        uid = study.series_instance_uids["FLAIR"]
        run, _ = method._read_plainly(study.folder, [uid])
        (volume,) = run()
        planes = [ds.pixel_array for ds in map(dcmread, sorted(study.paths)) if ds.SeriesInstanceUID == uid]
        np.testing.assert_array_equal(volume, np.stack(planes))
        assert volume.max() > 400

    def test_a_fresh_process_tells_seconds_and_memory(self, study: PhantomStudy) -> None:
        """No less than the volume itself, and no more than a few of it."""
        figures = method._alone(method._read_plainly, study.folder, [study.series_instance_uids["T1C"]])
        megabytes = figures["voxels"] * 4 / 2**20
        assert figures["voxels"] == _voxels(study, ["T1C"])
        assert 0 < figures["seconds"] < 30
        assert int(megabytes) <= figures["grown_mb"] < megabytes + 100
        assert figures["grown_mb"] < figures["peak_mb"] < 1000


class TestMeasure:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        """Figures that are known, in place of work; what the work was asked with."""
        known: dict[Any, dict[str, Any]] = {
            method._read: {"seconds": 3.0, "peak_mb": 600, "grown_mb": 90, "series": ["1.2", "1.3"]},
            method._read_plainly: {"seconds": 0.6, "peak_mb": 200, "grown_mb": 100, "voxels": 7},
            method._predict_plainly: {"seconds": 9.0, "peak_mb": 2000, "grown_mb": 1500},
            method._enhance: {
                "seconds": 120.0, "peak_mb": 2400, "grown_mb": 2300, "predictions": 40,
                "stage_seconds": {"predicting": 54.0, "reading": 3.0},
            },
        }  # fmt: skip
        asked: list[tuple[Any, ...]] = []

        def alone(work: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
            asked.append((work, *arguments))
            return dict(known[work])

        monkeypatch.setattr(method, "_alone", alone)
        return asked

    def test_each_ratio_is_of_the_same_run(self, asked: list[tuple[Any, ...]]) -> None:
        said: list[str] = []
        figures = method.measure(Path("study"), [], say=said.append)
        assert {key: value for key, value in figures.items() if key.startswith("ratio")} == {
            "ratio_reading": 5.0,
            "ratio_reading_memory": 0.9,
            "ratio_a_prediction": 0.15,
            "ratio_whole_to_one_prediction": 13.333,
            "ratio_memory": 1.2,
        }
        assert figures["whole"]["seconds_a_prediction"] == 1.35
        assert figures["whole"]["stage_seconds"] == {"predicting": 54.0, "reading": 3.0}
        assert said == [
            "reading: 3.0 s, plainly 0.6 s",
            "one prediction, plainly: 9.0 s",
            "the whole: 120.0 s, 40 predictions",
        ]

    def test_only_the_plugins_own_settings_count(self, asked: list[tuple[Any, ...]]) -> None:
        """A setting of Orthanc's means nothing to the method; the plain ways read what ours read."""
        ours, study = "ContrastEnhancement.Model.Threads=1", Path("study")
        method.measure(study, ["StableAge=5", ours], say=lambda _text: None)
        assert asked == [
            (method._read, study, [ours]),
            (method._read_plainly, study, ["1.2", "1.3"]),
            (method._predict_plainly, [ours]),
            (method._enhance, study, [ours]),
        ]
