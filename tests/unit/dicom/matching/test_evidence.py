"""When contrast was given: what tells it, what does not, and what is held."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.settings import Role
from unit.series_builder import base, classic, ramp

GRE: dict[str, Any] = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 8.0, "EchoTime": 3.0}
SE: dict[str, Any] = {"ScanningSequence": "SE", "MRAcquisitionType": "2D", "RepetitionTime": 500.0, "EchoTime": 10.0}
PERFUSION: dict[str, Any] = {"ScanningSequence": ["EP", "GR"], "RepetitionTime": 1500.0, "EchoTime": 30.0}

B0: dict[str, Any] = {"DiffusionBValue": 0.0, "ScanningSequence": ["EP", "SE"], "EchoTime": 80.0}
B1000: dict[str, Any] = {**B0, "DiffusionBValue": 1000.0}


def at(name: str, time: str, sequence: dict[str, Any] = GRE, day: str = "20250101", **more: Any) -> list[Dataset]:
    return classic(name, AcquisitionTime=time, AcquisitionDate=day, **sequence, **more)


def uid(series: list[Dataset]) -> str:
    return str(series[0].SeriesInstanceUID)


def roles(found: StudyMatch) -> tuple[Any, Any]:
    return found.roles.get(Role.T1), found.roles.get(Role.T1C)


class TestClocks:
    def test_midnight_with_its_dates(self) -> None:
        """Ten to twelve, the injection at midnight, and ten past."""
        before, bolus = at("T1", "235000"), at("ep2d_perf", "000100", PERFUSION, "20250102")
        after = at("T1", "001000", day="20250102")
        assert roles(match(after + bolus + before)) == (uid(before), uid(after))

    def test_midnight_without_dates_tells_nothing(self) -> None:
        """The mark decides."""
        before, after = at("T1", "235000", day=""), at("T1 KM", "001000", day="")
        assert roles(match(before + after)) == (uid(before), uid(after))

    @pytest.mark.parametrize("clock", [{"AcquisitionTime": "000000"}, {"SeriesTime": "090000"}, {}])
    def test_times_that_tell_nothing_apart(self, clock: dict[str, str]) -> None:
        """Zeros, the time of the study, none."""
        before, after = classic("T1", **GRE, **clock), classic("T1 KM", **GRE, **clock)
        other = classic("t2_flair", RepetitionTime=9000.0, **clock)
        assert roles(match(before + other + after)) == (uid(before), uid(after))

    @pytest.mark.parametrize(
        "extra",
        [
            [base("T1 post gad seg", "1.2.3.8", SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", SeriesTime="073000")],
            classic("rCBV perfusion", ImageType=["DERIVED", "SECONDARY"], SeriesTime="073000", SeriesDate="20250102"),
            classic("DCE flip 5", AcquisitionTime="094000", AcquisitionDate="20250101", **{**GRE, "FlipAngle": 5.0}),
            classic("IVIM perfusion", AcquisitionTime="094000", DiffusionBValue=500.0, **PERFUSION),
        ],
        ids=["segmentation", "map", "flip angle", "ivim"],
    )
    def test_what_is_no_injection(self, extra: list[Dataset]) -> None:
        """Objects made later, and words alone."""
        before, after = at("T1", "100000"), at("T1 KM", "103000")
        assert roles(match(before + after + extra)) == (uid(before), uid(after))

    def test_a_dynamic_series_is_one(self) -> None:
        """Time points at one place, and its name."""
        dynamic = [ds for _ in range(9) for ds in classic("DCE", series_uid="1.2.9", AcquisitionTime="101000", **GRE)]
        before, after = (
            classic("T1 3D", AcquisitionTime="100000", **GRE),
            classic("T1 3D", AcquisitionTime="102000", **GRE),
        )
        assert roles(match(before + dynamic + after)) == (uid(before), uid(after))


class TestConflicts:
    def test_agent_and_order_go_before_a_mark(self) -> None:
        """The names were mixed up at the console."""
        agent = {"ContrastBolusAgent": "Gadobutrol"}
        before, bolus = at("T1 post", "100000"), at("ep2d_perf", "101000", PERFUSION)
        after = at("T1 pre", "102000", **agent)
        assert roles(match(before + bolus + after)) == (uid(before), uid(after))

    def test_a_mark_against_an_agent_is_held(self) -> None:
        """And the reason names what settles it."""
        found = match(at("T1 nativ", "100000", ContrastBolusAgent="Gadobutrol") + at("t2_flair", "100500", SE))
        assert roles(found) == (None, None)
        assert found.holds[Role.T1C].code == "CONTRAST_CONFLICT_T1C"
        assert "ContrastBolusStartTime" in found.decision

    def test_swapped_marks_are_held(self) -> None:
        """Nobody takes the agent out again."""
        found = match(at("T1 +C", "100000") + at("T1 pre", "102000"))
        assert roles(found) == (None, None)

    def test_a_protocol_for_the_whole_study_says_nothing(self) -> None:
        """Brain with contrast, on every series."""
        protocol = {"ProtocolName": "BRAIN WITH CONTRAST"}
        before, after = at("T1 3D", "100000", **protocol), at("T1 3D KM", "102000", **protocol)
        assert roles(match(before + after)) == (uid(before), uid(after))


class TestPairs:
    def test_a_like_pair_goes_before_thinner_slices(self) -> None:
        """Spin echo before and after, though a gradient echo is there."""
        best = at("T1 MPRAGE", "100000", volume=ramp(12), spacing_mm=(1, 1, 1.0))
        like, after = at("T1 SE", "100500", SE), at("T1 SE KM", "103000", SE)
        assert roles(match(best + like + after)) == (uid(like), uid(after))

    def test_certainty_and_what_would_change_it(self) -> None:
        """Two sources that agree are sure; the next series is named."""
        first = at("T1", "100000", SeriesNumber=2)
        found = match(first + at("T1", "100300", SeriesNumber=3) + at("T1 KM", "103000", SeriesNumber=4))
        assert found.pair is not None
        assert found.pair.certainty == "sure"
        assert any("without series 3, series 2 is next" in line for line in found.pair.would_change)
        assert found.pair.unlike_in == ()

    def test_one_word_is_likely(self) -> None:
        """No clock, no agent."""
        found = match(classic("T1", **GRE) + classic("T1 KM", **SE))
        assert found.pair is not None
        assert (found.pair.certainty, found.pair.unlike_in) == ("likely", ("sequence",))

    def test_copies_of_one_acquisition_count_once(self) -> None:
        """Sent twice under new identifiers."""
        copies = [at("T1 KM", "103000", SeriesNumber=number) for number in (5, 6)]
        assert roles(match(at("T1", "100000") + copies[0] + copies[1]))[1] == uid(copies[0])

    @pytest.mark.parametrize("frame", ["1.2.3.99", ""])
    def test_another_patients_t1_is_no_copy(self, frame: str) -> None:
        """Merged into the study: its protocol, grid and clock are the same, its frame of reference is not."""
        own = at("T1", "100000", SeriesNumber=5)
        foreign = at("T1", "100000", SeriesNumber=2, FrameOfReferenceUID=frame)
        found = match(own + foreign + at("T1 KM", "103000", SeriesNumber=9))
        assert Role.T1 not in found.roles
        assert set(found.ambiguous[Role.T1]) == {uid(own), uid(foreign)}
        assert found.decision == "hold: nothing ranks the series for T1"

    def test_a_word_that_every_series_has(self) -> None:
        """A scanner that calls all its images derived: its t1_mpr is no reformat."""
        kinds = {"ImageType": ["DERIVED", "PRIMARY", "M"]}
        before, after = at("t1_mpr", "100000", **kinds), at("t1_mpr KM", "103000", **kinds)
        flair = at("t2_flair", "101000", {"RepetitionTime": 9000.0}, **kinds)
        assert roles(match(before + flair + after)) == (uid(before), uid(after))


class TestLowDose:
    def test_by_its_name(self) -> None:
        """It is no T1c."""
        low, full = at("T1 KM 25 %", "101000"), at("T1 KM", "103000")
        found = match(at("T1", "100000") + low + full)
        assert found.roles[Role.T1C_LOW] == uid(low)
        assert found.roles[Role.T1C] == uid(full)

    def test_by_the_dose(self) -> None:
        """2.5 of 10 ml."""
        low, full = at("T1 KM", "101000", ContrastBolusVolume="2.5"), at("T1 KM", "103000", ContrastBolusVolume="10")
        assert match(at("T1", "100000") + low + full).roles[Role.T1C_LOW] == uid(low)

    def test_by_two_injections(self) -> None:
        """Each series names its own."""
        low = at("T1 KM", "101000", ContrastBolusStartTime="100500")
        full = at("T1 KM", "103000", ContrastBolusStartTime="102000")
        found = match(at("T1", "100000") + low + full)
        assert (found.roles[Role.T1C_LOW], found.roles[Role.T1C]) == (uid(low), uid(full))

    def test_it_is_never_guessed(self) -> None:
        """Two series after one injection are a repeat."""
        found = match(at("T1", "100000") + at("T1 KM", "101000") + at("T1 KM", "103000"))
        assert Role.T1C_LOW not in found.roles


class TestDiffusion:
    def test_the_partner_of_the_same_way(self) -> None:
        """AP, though PA was acquired first."""
        reverse, same = classic("diff_b0_PA", **B0), classic("diff_AP_b0", **B0)
        trace = classic("diff_AP_TRACEW", **B1000)
        assert match(reverse + same + trace).roles[Role.DWI] == (uid(same), uid(trace))
        assert Role.DWI not in match(reverse + trace).roles

    def test_the_scanners_word_for_the_way(self) -> None:
        """GE and UIH write it."""
        ge = {"Manufacturer": "GE MEDICAL SYSTEMS", "SeriesDescription": "Ax DWI"}
        reverse = classic("Ax DWI", **{**B0, **ge, "RectilinearPhaseEncodeReordering": "REVERSE_LINEAR"})
        trace = classic("Ax DWI", **{**B1000, **ge, "RectilinearPhaseEncodeReordering": "LINEAR"})
        assert Role.DWI not in match(reverse + trace).roles

    def test_volumes_in_series_of_their_own(self) -> None:
        """Siemens XA: one number, one name."""
        ways = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
        series = [classic("ep2d_diff", SeriesNumber=7, **B0)]
        series += [classic("ep2d_diff", SeriesNumber=7, DiffusionGradientOrientation=way, **B1000) for way in ways]
        found = match([ds for part in series for ds in part])
        assert set(found.uids(Role.DWI)) == {uid(part) for part in series}
