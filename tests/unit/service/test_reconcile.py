"""Nothing missed: the mark that follows the archive's changes, against an archive made of lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enhancement.errors import NO_PROBLEM
from enhancement.service.reconcile import Change, Reconciler, StudyStamp
from unit.ledger_support import RECIPE, Bench

SETTLE_S = 90.0


class Archive:
    """Studies and a log of changes, as the `Store` protocol wants them."""

    def __init__(self) -> None:
        self.log: list[Change] = []
        self.stamps: dict[str, float | None] = {}
        self.gone: set[str] = set()

    def receive(self, study: str, instances: int = 3, at: float | None = None) -> None:
        self.stamps.setdefault(study, at)
        for _ in range(instances):
            self.log.append(Change(len(self.log) + 1, "NewInstance", "Instance", study))

    def delete(self, study: str) -> None:
        """Orthanc forgets the entries of what is deleted."""
        self.gone.add(study)
        self.stamps.pop(study, None)
        self.log = [change for change in self.log if change.resource_id != study]

    def last_change(self) -> int:
        return self.log[-1].sequence if self.log else 0

    def changes(self, since: int, limit: int) -> list[Change]:
        return [change for change in self.log if change.sequence > since][:limit]

    def study_of(self, change: Change) -> str | None:
        return None if change.resource_id in self.gone else change.resource_id

    def studies(self) -> Iterable[StudyStamp]:
        return [StudyStamp(study, at) for study, at in self.stamps.items()]

    def has_study(self, study_id: str) -> bool:
        return study_id in self.stamps

    def updated_at(self, study_id: str) -> float | None:
        return self.stamps[study_id]


class Site:
    """A bench, its archive, and a reconciler that can be restarted."""

    def __init__(self, path: Path, recent_s: float = 7 * 86400.0) -> None:
        self.bench = Bench(path)
        self.archive = Archive()
        self.recent_s = recent_s
        self.restart()

    def restart(self) -> None:
        self.reconciler = Reconciler(
            self.bench.ledger,
            self.archive,
            settle_s=SETTLE_S,
            recent_s=self.recent_s,
            clock=self.bench.wall,
            monotonic=self.bench.monotonic,
        )
        self.report = self.reconciler.start()

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / 10)):
            self.bench.advance(10.0)
            self.reconciler.sweep()

    def waiting(self) -> list[str]:
        return sorted(arrival.study_id for arrival in self.bench.ledger.inbox.waiting(1000))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "ledger.sqlite")


class TestSweep:
    def test_study_whose_stable_event_was_lost(self, site: Site) -> None:
        """It is looked at once it has settled, not while it may still be arriving."""
        site.archive.receive("study")
        site.run(SETTLE_S - 20.0)
        assert site.waiting() == []
        site.run(40.0)
        assert site.waiting() == ["study"]

    def test_study_that_keeps_arriving(self, site: Site) -> None:
        """A slow sender: nothing is looked at before its last instance has settled."""
        for _ in range(30):
            site.archive.receive("slow", 1)
            site.run(30.0)
            assert site.waiting() == []
        site.run(SETTLE_S + 20.0)
        assert site.waiting() == ["slow"]

    def test_busy_archive_does_not_hide_a_study(self, site: Site) -> None:
        """Others arrive without a pause."""
        site.archive.receive("lost")
        for number in range(30):
            site.archive.receive(f"other-{number}", 1)
            site.run(10.0)
        assert "lost" in site.waiting()

    def test_study_that_was_looked_at_is_left_alone(self, site: Site) -> None:
        """Its stable event came: no second look."""
        site.archive.receive("study")
        site.reconciler.look_begins("study")
        site.run(300.0)
        assert site.waiting() == []

    def test_instances_after_the_look(self, site: Site) -> None:
        """A late series brings it up again."""
        site.archive.receive("study")
        site.reconciler.look_begins("study")
        site.archive.receive("study", 1)
        site.run(300.0)
        assert site.waiting() == ["study"]

    def test_our_own_result_and_metadata_are_no_reason(self, site: Site) -> None:
        """The archive names no study for our series; metadata is nobody's image."""
        site.archive.gone.add("own")
        site.archive.receive("own")
        site.archive.log.append(Change(100, "UpdatedMetadata", "Study", "study"))
        site.run(300.0)
        assert site.waiting() == []
        assert site.bench.ledger.marks.last_change("orthanc") == 100

    def test_archive_that_started_anew(self, site: Site) -> None:
        """Its sequence fell behind the mark: the studies are listed."""
        site.archive.receive("old", 50)
        site.run(300.0)
        site.archive.log.clear()
        site.archive.stamps.clear()
        site.archive.receive("new", 1, at=site.bench.wall())
        assert site.reconciler.sweep().listed
        site.bench.advance(SETTLE_S)
        assert "new" in site.waiting()


class TestRestart:
    def test_killed_inside_stable_age(self, site: Site) -> None:
        """The event never comes; the study is found, after its sender had time to come back."""
        site.archive.receive("study")
        site.run(30.0)
        site.restart()
        assert site.waiting() == []
        site.run(SETTLE_S + 10.0)
        assert site.waiting() == ["study"]

    def test_arrived_while_down(self, site: Site) -> None:
        """Another program wrote into the storage that is shared."""
        site.run(20.0)
        site.archive.receive("study")
        site.restart()
        site.run(SETTLE_S + 10.0)
        assert site.waiting() == ["study"]

    def test_deleted_while_down(self, site: Site) -> None:
        """Its job does not wait for ever; an incomplete one is no longer reported."""
        site.archive.receive("gone"), site.archive.receive("partial")
        site.bench.enqueue("gone")
        site.bench.ledger.requests.refuse("partial", RECIPE, "inputs", problem=NO_PROBLEM, missing=["T1C"])
        site.archive.delete("gone"), site.archive.delete("partial")
        site.restart()
        assert site.report.deleted == ("gone", "partial")
        assert site.bench.ledger.claims.claim("cpu") is None
        assert site.bench.ledger.inbox.incomplete() == []

    @pytest.mark.parametrize(("recent_days", "found"), [(7.0, ["recent"]), (1e6, ["old", "recent"]), (0.0, [])])
    def test_first_start_on_an_old_archive(self, tmp_path: Path, recent_days: float, found: list[str]) -> None:
        """Installing the plugin does not set out to enhance everything ever stored, unless it is asked to."""
        site = Site(tmp_path / "other.sqlite", recent_s=recent_days * 86400.0)
        site.bench.ledger.marks.set_last_change("orthanc", None)
        site.archive.receive("old", at=site.bench.wall() - 30 * 86400.0)
        site.archive.receive("recent", at=site.bench.wall() - 3600.0)
        site.restart()
        assert site.report.listed
        site.bench.advance(SETTLE_S + 1.0)
        assert site.waiting() == found

    @pytest.mark.parametrize(
        ("ago_s", "wait_s"),
        [(0.0, SETTLE_S), (30.0, SETTLE_S - 30.0), (SETTLE_S, 0.0), (1e6, 0.0), (-5.0, SETTLE_S), (-86400.0, 0.0)],
    )
    def test_how_long_until_a_study_has_settled(self, site: Site, ago_s: float, wait_s: float) -> None:
        """As long as it may still be arriving; another machine's clock is a little ahead, or ours was set back."""
        site.archive.receive("study", at=site.bench.wall() - ago_s)
        assert site.reconciler.settles_in("study") == pytest.approx(wait_s)

    def test_archive_that_does_not_say_when_a_study_changed(self, site: Site) -> None:
        """It is looked at as soon as it is due."""
        site.archive.receive("study")
        assert site.reconciler.settles_in("study") == 0.0

    def test_lost_ledger(self, site: Site) -> None:
        """Its file was deleted: the recent studies are looked at again."""
        site.archive.receive("study", at=site.bench.wall())
        site.reconciler.look_begins("study")
        site.run(300.0)
        Path(site.bench.url.removeprefix("sqlite:///")).unlink()
        assert site.reconciler.sweep().listed
        site.run(SETTLE_S + 10.0)
        assert site.waiting() == ["study"]


ACTIONS = st.one_of(
    st.tuples(st.just("receive"), st.sampled_from("abc")),
    st.tuples(st.just("look"), st.sampled_from("abc")),
    st.tuples(st.just("run"), st.sampled_from([10, 50, 200])),
    st.tuples(st.just("restart"), st.just("")),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=st.lists(ACTIONS, max_size=25))
def test_nothing_is_missed(tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, object]]) -> None:
    """Whatever happens in whatever order: every instance is followed by a look that began after it."""
    site = Site(tmp_path_factory.mktemp("site") / "ledger.sqlite")
    last_received: dict[str, int] = {}
    last_look: dict[str, int] = {}

    def look(study: str) -> None:
        site.reconciler.look_begins(study)
        last_look[study] = site.archive.last_change()

    def work_off() -> None:
        for arrival in site.bench.ledger.inbox.waiting(100):
            look(arrival.study_id)
            site.bench.ledger.inbox.done(arrival)

    for action, what in actions:
        if action == "receive":
            site.archive.receive(str(what), 1)
            last_received[str(what)] = site.archive.last_change()
        elif action == "look" and what in last_received:
            look(str(what))
        elif action == "run":
            site.run(float(str(what)))
            work_off()
        elif action == "restart":
            site.restart()
    site.run(SETTLE_S + 20.0)
    work_off()
    assert {study for study, at in last_received.items() if last_look.get(study, -1) < at} == set()
