"""Choosing among the series of one study, and saying why."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from enhancement.dicom.matching.default_rules import DEFAULT_RULES, as_settings
from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.errors import AmbiguousMatch, MissingRole, SettingsError
from enhancement.settings import Role, parse_settings
from unit.series_builder import MR, base, classic, enhanced, ramp

GRE: dict[str, Any] = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 8.0, "EchoTime": 3.0}
SE: dict[str, Any] = {"ScanningSequence": "SE", "MRAcquisitionType": "2D", "RepetitionTime": 500.0, "EchoTime": 10.0}
EPI: dict[str, Any] = {"ScanningSequence": ["EP", "SE"], "MRAcquisitionType": "2D"}


def reason(found: StudyMatch, series: list[Dataset]) -> str:
    uid = series[0].SeriesInstanceUID
    return next(report.reason for report in found.series if report.series_instance_uid == uid)


def uid(series: list[Dataset]) -> str:
    return str(series[0].SeriesInstanceUID)


def study() -> dict[str, list[Dataset]]:
    return {
        "t1": classic("t1_mprage_sag", SeriesNumber=2, AcquisitionTime="100000", **GRE),
        "flair": classic("t2_tirm_dark-fluid", SeriesNumber=3, AcquisitionTime="100500"),
        "b0": classic("ep2d_diff b0", SeriesNumber=4, DiffusionBValue=0.0, AcquisitionTime="101000", **EPI),
        "b1000": classic("ep2d_diff b1000", SeriesNumber=5, DiffusionBValue=1000.0, AcquisitionTime="101000", **EPI),
        "t1c": classic("t1_mprage_sag_KM", SeriesNumber=6, AcquisitionTime="102000", **GRE),
    }


def everything(parts: dict[str, list[Dataset]]) -> list[Dataset]:
    return [ds for series in parts.values() for ds in series]


class TestWholeStudy:
    def test_every_role_is_found(self) -> None:
        """T1, FLAIR, T1c, and DWI from two series."""
        parts = study()
        found = match(everything(parts))
        assert found.roles[Role.T1] == uid(parts["t1"])
        assert found.roles[Role.T1C] == uid(parts["t1c"])
        assert found.roles[Role.FLAIR] == uid(parts["flair"])
        assert found.roles[Role.DWI] == (uid(parts["b0"]), uid(parts["b1000"]))
        assert found.missing == ()
        assert found.decision == "process"

    @pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows"])
    @pytest.mark.parametrize("slice_number", [0, 1])
    def test_a_slice_without_geometry_is_no_fault_of_the_others(self, keyword: str, slice_number: int) -> None:
        """Found by fuzzing: a slice without orientation beside one with it ended the look at its whole study."""
        parts = study()
        delattr(parts["t1"][slice_number], keyword)
        found = match(everything(parts))
        assert len(found.series) == 5
        assert found.roles[Role.T1C] == uid(parts["t1c"])

    def test_the_order_of_arrival_does_not_matter(self) -> None:
        """Shuffled instances give the same answer, word for word."""
        headers = everything(study())
        first = match(headers).to_json()
        random.Random(3).shuffle(headers)
        assert match(headers).to_json() == first

    def test_json_has_the_promised_keys(self) -> None:
        """And nothing that JSON cannot hold."""
        found = json.loads(json.dumps(match(everything(study())).to_json()))
        assert list(found) == ["roles", "missing", "ambiguous", "decision", "series", "pair", "holds"]
        assert list(found["series"][0]) == [
            "series_instance_uid",
            "series_description",
            "role",
            "reason",
            "b_values",
            "frames",
            "spacing_mm",
            "size",
            "usable",
        ]
        first = found["series"][0]
        assert (first["frames"], first["size"], first["spacing_mm"]) == (6, [10, 12, 6], [1.0, 1.5, 2.0])

    def test_an_empty_study_is_rejected_without_an_error(self) -> None:
        """Everything is missing, nothing is raised."""
        found = match([])
        assert found.missing == (Role.T1, Role.T1C, Role.FLAIR, Role.DWI)
        assert found.decision.startswith("reject")

    def test_missing_roles_are_named(self) -> None:
        """`require` says what was needed and what there is."""
        parts = study()
        del parts["t1c"]
        found = match(everything(parts))
        assert Role.T1C in found.missing
        with pytest.raises(MissingRole, match="T1C series is needed") as caught:
            found.require(Role.T1, Role.T1C)
        assert caught.value.code == "MISSING_T1C"

    def test_a_scanners_adc_stands_in_for_dwi(self) -> None:
        """DWI is not missing where an ADC map is there."""
        parts = study()
        del parts["b0"], parts["b1000"]
        parts["adc"] = classic("ep2d_diff_ADC", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"])
        found = match(everything(parts))
        assert found.roles[Role.ADC] == uid(parts["adc"])
        assert Role.DWI not in found.missing


class TestContrast:
    def test_the_agent_in_the_header_decides_where_the_name_is_silent(self) -> None:
        """Both series are called alike."""
        before = classic("T1 MPRAGE", AcquisitionTime="100000", **GRE)
        after = classic("T1 MPRAGE", AcquisitionTime="101500", ContrastBolusAgent="Gadovist", **GRE)
        found = match(before + after)
        assert (found.roles[Role.T1], found.roles[Role.T1C]) == (uid(before), uid(after))

    def test_time_decides_where_the_agent_is_entered_everywhere(self) -> None:
        """A technologist registers the agent for the whole examination; the perfusion shows the injection."""
        agent = {"ContrastBolusAgent": "DOTAREM"}
        before = classic("T1 MPRAGE", AcquisitionTime="100000", **GRE, **agent)
        bolus = classic("ep2d_perf", AcquisitionTime="101000", **EPI, **agent)
        after = classic("T1 MPRAGE", AcquisitionTime="101500", **GRE, **agent)
        found = match(before + bolus + after)
        assert (found.roles[Role.T1], found.roles[Role.T1C]) == (uid(before), uid(after))

    def test_an_unmarked_series_after_a_marked_one_has_contrast(self) -> None:
        """Nobody takes the agent out of the patient again."""
        before = classic("T1 BRAVO", AcquisitionTime="100000", **GRE)
        marked = classic("T1 SE +C", AcquisitionTime="101000", **SE)
        unmarked = classic("T1 BRAVO", AcquisitionTime="101500", **GRE)
        found = match(before + marked + unmarked)
        assert found.roles[Role.T1] == uid(before)
        assert found.roles[Role.T1C] == uid(unmarked)

    def test_arterial_spin_labelling_is_no_injection(self) -> None:
        """ASL perfusion needs no agent."""
        labelled = classic("pcasl perfusion", AcquisitionTime="095000")
        plain = classic("T1 MPRAGE", AcquisitionTime="100000", **GRE)
        assert match(labelled + plain).roles == {Role.T1: uid(plain)}

    def test_the_header_may_give_the_time_of_injection(self) -> None:
        """ContrastBolusStartTime before the acquisition."""
        times = {"ContrastBolusStartTime": "100500"}
        before = classic("T1 FSPGR", AcquisitionTime="100000", **GRE, **times)
        after = classic("T1 FSPGR", AcquisitionTime="101000", **GRE, **times)
        found = match(before + after)
        assert (found.roles[Role.T1], found.roles[Role.T1C]) == (uid(before), uid(after))

    def test_a_sites_own_word_can_be_added(self) -> None:
        """ContrastMarks of the settings."""
        series = classic("T1 SAG ZZTOP", **GRE)
        settings = parse_settings({"Matching": {"ContrastMarks": [r"\bzztop\b"]}}).matching
        assert match(series).series[0].role is Role.T1
        assert match(series, settings).series[0].role is Role.T1C


class TestRanking:
    def test_three_d_beats_two_d_and_the_loser_says_why(self) -> None:
        """Gradient echo 3D over spin echo 2D."""
        volume, flat = classic("T1 BRAVO +C", **GRE), classic("AX T1 SE +C", **SE)
        found = match(volume + flat)
        assert found.roles[Role.T1C] == uid(volume)
        assert reason(found, volume).startswith("chosen")
        assert "better by: gradient echo" in reason(found, flat)

    def test_thinner_slices_win(self) -> None:
        """Of two that cover the same."""
        thin = classic("T1 SAG", volume=ramp(20), spacing_mm=(1, 1, 1.0), **GRE)
        thick = classic("T1 SAG", volume=ramp(10), spacing_mm=(1, 1, 2.0), **GRE)
        found = match(thin + thick)
        assert found.roles[Role.T1] == uid(thin)
        assert "thinner slices" in reason(found, thick)

    def test_a_slab_loses_against_a_head(self) -> None:
        """Coverage comes before thickness."""
        slab = classic("T1 SAG", volume=ramp(20), spacing_mm=(1, 1, 1.0), **GRE)
        head = classic("T1 SAG", volume=ramp(80, 4, 4), spacing_mm=(1, 1, 2.0), **GRE)
        found = match(slab + head)
        assert found.roles[Role.T1] == uid(head)
        assert "covering the head" in reason(found, slab)

    def test_a_broken_series_loses_against_a_whole_one(self) -> None:
        """The better series lacks a slice."""
        broken = classic("T1 SAG", volume=ramp(20), spacing_mm=(1, 1, 1.0), **GRE)
        del broken[7]
        whole = classic("T1 SAG", volume=ramp(10), spacing_mm=(1, 1, 2.0), **GRE)
        found = match(broken + whole)
        assert found.roles[Role.T1] == uid(whole)
        assert "MISSING_SLICES" in reason(found, broken)
        assert not found.series[0].usable or not found.series[1].usable

    def test_the_only_series_of_a_role_keeps_it_though_broken(self) -> None:
        """Reading it gives the refusal that says what is wrong."""
        broken = classic("T1 SAG", **GRE)
        del broken[2]
        found = match(broken)
        assert found.roles[Role.T1] == uid(broken)
        assert not found.series[0].usable

    def test_a_later_repeat_wins(self) -> None:
        """Technologists repeat what moved."""
        first = classic("T1 SAG", AcquisitionTime="100000", **GRE)
        repeat = classic("T1 SAG", AcquisitionTime="100800", **GRE)
        after = classic("T1 SAG +C", AcquisitionTime="102000", **GRE)
        found = match(first + repeat + after)
        assert found.roles[Role.T1] == uid(repeat)
        assert "later repeat" in reason(found, first)

    def test_a_repeat_that_may_be_after_contrast_is_held(self) -> None:
        """Two like series, and nothing that tells whether contrast was given between them."""
        first = classic("T1 SAG", AcquisitionTime="100000", **GRE)
        repeat = classic("T1 SAG", AcquisitionTime="103000", **GRE)
        found = match(first + repeat)
        assert found.roles == {}
        assert found.holds[Role.T1C].code == "CONTRAST_UNKNOWN_T1C"
        assert "ContrastBolusStartTime" in found.decision
        with pytest.raises(AmbiguousMatch, match="nothing tells which of two like series"):
            found.require(Role.T1)

    def test_what_nothing_ranks_is_held(self) -> None:
        """Equal in every criterion: both are named, none is chosen."""
        one, other = classic("T1 SAG", **GRE), classic("T1 SAG", **GRE)
        found = match(one + other + classic("T1 SAG +C", **GRE))
        assert Role.T1 not in found.roles
        assert set(found.ambiguous[Role.T1]) == {uid(one), uid(other)}
        assert found.decision.startswith("hold")
        with pytest.raises(AmbiguousMatch, match="nothing ranks"):
            found.require(Role.T1)

    def test_reformats_never_win(self) -> None:
        """They are none of ours, also alone."""
        reformat = classic("T1 BRAVO +C", ImageType=["DERIVED", "SECONDARY", "REFORMATTED"], **GRE)
        assert match(reformat).series[0].role is None


class TestOurOwnOutput:
    def _equipment(self) -> Sequence:
        item = Dataset()
        item.Manufacturer = "orthanc-contrast-enhancement"
        item.ManufacturerModelName = "orthanc-contrast-enhancement"
        return Sequence([item])

    def test_is_recognised_by_its_equipment_whatever_it_is_called(self) -> None:
        """A description can be edited; the contributing equipment is ours."""
        result = classic("T1 MPRAGE +C", ContributingEquipmentSequence=self._equipment(), **GRE)
        report = match(result).series[0]
        assert report.role is None
        assert "this software" in report.reason

    def test_our_adc_is_not_taken_for_the_scanners(self) -> None:
        """Nor for a DWI."""
        kinds = ["DERIVED", "PRIMARY", "DIFFUSION MAP", "ADC"]
        result = classic("ADC computed from DWI", ImageType=kinds, ContributingEquipmentSequence=self._equipment())
        assert match(result).roles == {}


class TestDiffusion:
    def test_an_own_series_for_both_b_values_beats_a_pair(self) -> None:
        """And the others say so."""
        uid_both = "1.2.3.4.5"
        both = classic("DWI", DiffusionBValue=0.0, series_uid=uid_both, **EPI)
        both += classic("DWI", DiffusionBValue=1000.0, series_uid=uid_both, **EPI)
        trace = classic("DWI_TRACEW", DiffusionBValue=1000.0, **EPI)
        found = match(both + trace)
        assert found.roles[Role.DWI] == uid_both
        assert "b = 0 and b > 0 together" in reason(found, trace)

    def test_reversed_phase_encoding_is_no_partner(self) -> None:
        """Its distortion points the other way."""
        b0 = classic("DWI b0 PA", DiffusionBValue=0.0, InPlanePhaseEncodingDirection="ROW", **EPI)
        b1000 = classic("DWI", DiffusionBValue=1000.0, InPlanePhaseEncodingDirection="COL", **EPI)
        found = match(b0 + b1000)
        assert Role.DWI not in found.roles
        assert all(report.role is Role.DWI for report in found.series)

    def test_a_t1_with_b_zero_is_no_diffusion(self) -> None:
        """Some scanners write b = 0 on everything."""
        report = match(classic("T1 MPRAGE", DiffusionBValue=0.0, **GRE)).series[0]
        assert (report.role, report.b_values) == (Role.T1, ())

    def test_a_ge_flair_with_a_private_b_value_is_no_diffusion(self) -> None:
        """(0043,1039) is on non-diffusion series too."""
        series = classic("Ax FLAIR", Manufacturer="GE MEDICAL SYSTEMS", ScanningSequence=["SE", "IR"])
        for ds in series:
            ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [1_000_000_800, 0, 0, 0])
        report = match(series).series[0]
        assert (report.role, report.b_values) == (Role.FLAIR, ())

    @pytest.mark.parametrize("b_zero", [None, 0.0, 0.001, 1.25, 5.0])
    def test_b_zero_is_written_in_many_ways(self, b_zero: float | None) -> None:
        """Below 50 is given as 0."""
        first = {} if b_zero is None else {"DiffusionBValue": b_zero}
        series = classic("DWI", series_uid="1.2.3", **first, **EPI)
        series += classic("DWI", series_uid="1.2.3", DiffusionBValue=1000.0, **EPI)
        assert match(series).series[0].b_values == (0.0, 1000.0)


class TestRules:
    def test_a_sites_rule_comes_first(self) -> None:
        """An exclusion by a site's own words."""
        rules = {"Exclude": [{"Name": "bad coil", "All": [{"Keyword": "SeriesDescription", "Matches": "broken"}]}]}
        settings = parse_settings({"Matching": {"ExtraRules": rules}}).matching
        report = match(classic("T1 broken", **GRE), settings).series[0]
        assert report.reason == "none of ours: bad coil"

    @pytest.mark.parametrize(
        ("condition", "fits"),
        [
            ({"Keyword": "EchoTime", "AtLeast": 3.0}, True),
            ({"Keyword": "EchoTime", "AtMost": 2.9}, False),
            ({"Keyword": "EchoTime", "Equals": 3}, True),
            ({"Keyword": "ScanningSequence", "AnyOf": ["SE", "GR"]}, True),
            ({"Keyword": "ScanningSequence", "Equals": "se"}, False),
            ({"Keyword": "InversionTime", "Present": True}, False),
            ({"Keyword": "InversionTime", "Absent": True}, True),
            ({"Keyword": "SeriesDescription", "Matches": "^foo"}, True),
        ],
    )
    def test_every_operator(self, condition: dict[str, Any], fits: bool) -> None:
        """One condition, one header."""
        rules = {"Roles": {"T2": [{"Name": "mine", "All": [condition]}]}}
        settings = parse_settings({"Matching": {"Rules": rules}}).matching
        report = match(classic("foo", **GRE), settings).series[0]
        assert (report.role is Role.T2) is fits

    @pytest.mark.parametrize(
        ("condition", "message"),
        [
            ({"Keyword": "EchoTime"}, "exactly one of"),
            ({"Keyword": "EchoTime", "AtLeast": 3, "AtMost": 4}, "found AtLeast, AtMost"),
            ({"Keyword": "EchoTime", "Matches": "("}, "not a regular expression"),
            ({"Keyword": "EchoTime", "Larger": 3}, "unknown key"),
        ],
    )
    def test_a_wrong_rule_names_its_place(self, condition: dict[str, Any], message: str) -> None:
        """The JSON path is in the message."""
        section = {"Matching": {"ExtraRules": {"Exclude": [{"Name": "x", "All": [condition]}]}}}
        with pytest.raises(SettingsError, match=message) as caught:
            parse_settings(section)
        assert "Matching.ExtraRules.Exclude[0]" in caught.value.reason


def test_a_thousand_instances_take_about_a_second() -> None:
    """A whole study; the limit leaves room for a busy machine."""
    import time

    headers = []
    for number in range(8):
        headers += classic(f"T1 {number}", volume=ramp(125, 2, 2), SeriesNumber=number, **GRE)
    start = time.process_time()
    match(headers)
    assert time.process_time() - start < 3.0


def test_companions_without_images_are_no_series_of_ours() -> None:
    """Raw data, reports: a reason, no error."""
    raw = base("T1 raw", "1.2.3", SOPClassUID="1.2.840.10008.5.1.4.1.1.66")
    assert raw.SOPClassUID != MR
    assert match([raw]).series[0].reason == "not an MR image"


class TestVendorsPairs:
    def test_the_distortion_corrected_copy_wins(self) -> None:
        """Siemens stores both, made at the same moment."""
        plain = classic("t1_mprage_ND", AcquisitionTime="100000", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], **GRE)
        kinds = ["ORIGINAL", "PRIMARY", "M", "DIS3D", "NORM"]
        corrected = classic("t1_mprage", AcquisitionTime="100000", ImageType=kinds, **GRE)
        assert match(plain + corrected).roles[Role.T1] == uid(corrected)

    def test_a_fat_image_is_no_t1(self) -> None:
        """Dixon stores four; the water image is the one."""
        names = ("W", "F", "in", "opp")
        images = {name: classic(f"t1_vibe_dixon_tra_KM_{name}", AcquisitionTime="100000", **GRE) for name in names}
        found = match(everything(images))
        assert found.roles == {Role.T1C: uid(images["W"])}

    def test_phase_frames_beside_magnitude_ones_in_one_object(self) -> None:
        """Philips enhanced: the kind of a frame is its ComplexImageComponent."""
        ds = enhanced(ramp(4, 8, 8), [0, 1, 2, 3, 0, 1, 2, 3], description="AnatBrain_T1W3D")
        for index, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            kind = Dataset()
            kind.FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
            kind.ComplexImageComponent = "PHASE" if index < 4 else "MAGNITUDE"
            frame.MRImageFrameTypeSequence = Sequence([kind])
        report = match([ds]).series[0]
        assert (report.role, report.usable, report.size) == (Role.T1, True, (8, 8, 4))

    def test_field_maps_named_b0_are_no_diffusion(self) -> None:
        """Philips' B0 map is a gradient echo."""
        report = match(classic("B0 NS", Manufacturer="Philips", **GRE)).series[0]
        assert report.role is None

    def test_a_long_fmri_series_is_described_by_one_repeat(self) -> None:
        """Its size and spacing, without working through all of its frames."""
        series = []
        for repeat in range(300):
            series += classic("bold", volume=ramp(4, 2, 2), series_uid="1.2.9", TemporalPositionIdentifier=repeat)
        report = match(series).series[0]
        assert (report.role, report.frames, report.size) == (None, 1200, (2, 2, 4))


def test_the_built_in_rules_survive_the_settings_file() -> None:
    """What `match.py --rules` prints is what a site can start from."""
    settings = parse_settings({"Matching": {"Rules": json.loads(json.dumps(as_settings()))}}).matching
    assert settings.rules == DEFAULT_RULES


class TestInjection:
    def test_labelled_blood_named_perfusion_is_no_bolus(self) -> None:
        """Siemens XA calls the ASL result Perfusion_Weighted; its Image Type tells."""
        kinds = ["DERIVED", "PRIMARY", "ASL", "SUBTRACTION"]
        labelled = classic("Perfusion_Weighted", AcquisitionTime="095000", ImageType=kinds, **EPI)
        plain = classic("T1 MPRAGE", AcquisitionTime="100000", **GRE)
        assert match(labelled + plain).roles == {Role.T1: uid(plain)}

    def test_an_agent_on_every_series_and_nothing_else_is_believed(self) -> None:
        """Better no T1 than one with contrast in it."""
        agent = {"ContrastBolusAgent": "DOTAREM", "AcquisitionTime": "100000"}
        found = match(classic("T1 3D", **GRE, **agent) + classic("FLAIR", **agent))
        assert Role.T1 in found.missing
        assert Role.T1C in found.roles

    def test_an_agent_on_every_series_yields_to_a_mark(self) -> None:
        """The one before the first marked series has none."""
        agent = {"ContrastBolusAgent": "DOTAREM"}
        before = classic("T1 3D", AcquisitionTime="100000", **GRE, **agent)
        after = classic("T1 3D GADO", AcquisitionTime="101000", **GRE, **agent)
        found = match(before + after)
        assert (found.roles[Role.T1], found.roles[Role.T1C]) == (uid(before), uid(after))
        assert "without contrast (acquired before" in reason(found, before)
