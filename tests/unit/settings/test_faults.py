"""Wrong settings: told by path and type, never by value; and values as environment variables give them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enhancement.errors import SettingsError
from enhancement.settings import Settings, parse_settings, sections_like_ours

SECRET = "S3CRETPW"
URL = f"postgresql://orthanc:{SECRET}@db/orthanc"
SUBSECTIONS = [
    field.alias or name
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields")
]
WRONG: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true or false"),
    (7, "a number"),
    (URL, "text"),
    ([URL], "a list"),
]


def fault(section: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(section)
    assert caught.value.code == "SETTINGS"
    return caught.value.reason


class TestWrongShapes:
    @pytest.mark.parametrize(("value", "found"), WRONG)
    def test_in_place_of_the_section(self, value: Any, found: str) -> None:
        assert fault(value) == f"ContrastEnhancement: expected an object, found {found}"

    @pytest.mark.parametrize("key", SUBSECTIONS)
    @pytest.mark.parametrize(("value", "found"), WRONG)
    def test_in_place_of_a_subsection(self, key: str, value: Any, found: str) -> None:
        assert fault({key: value}) == f"ContrastEnhancement.{key}: expected an object, found {found}"

    @pytest.mark.parametrize(
        "ledger",
        [
            {"Url": [URL]},
            {"Url": {"Postgres": URL}},
            {"BusySeconds": URL},
            {URL: 1},
            {"Synchronous": SECRET},
            {"Url": f"postgresql://orthanc:a@{SECRET}@db/orthanc"},
            {"Url": f"postgresql://orthanc:{SECRET}"},
        ],
    )
    def test_no_value_is_told(self, ledger: dict[str, Any]) -> None:
        assert SECRET not in fault({"Ledger": ledger})

    def test_a_number_out_of_its_range_is_told(self) -> None:
        message = fault({"Model": {"Folds": 9}})
        assert message == "ContrastEnhancement.Model.Folds: Input should be less than or equal to 5, found 9"

    def test_the_same_recipe_twice(self) -> None:
        assert "needs each Name once" in fault({"Recipes": [{"Name": "t1c-pro"}, {"Name": "t1c-pro"}]})

    @given(
        st.recursive(
            st.sampled_from([None, True, 3, SECRET]),
            lambda inner: (
                st.lists(inner)
                | st.fixed_dictionaries(
                    {}, optional={"Url": inner, "Ledger": inner, "Devices": inner, "Rules": inner, SECRET + "@": inner}
                )
            ),
        )
    )
    def test_nothing_that_may_hold_one_is_told(self, value: Any) -> None:
        message = ""
        try:
            parse_settings(value)
        except SettingsError as error:
            message = error.reason
        assert SECRET not in message


class TestValuesOfTheEnvironment:
    def test_text_is_taken_for_every_boolean_and_number(self) -> None:
        """As images write them that pass their environment on to the settings."""
        texts = _as_text(Settings().model_dump(mode="json", by_alias=True))
        assert parse_settings(texts) == Settings()

    @pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False), ("False", False)])
    def test_booleans(self, text: str, value: bool) -> None:
        assert parse_settings({"Enabled": text}).enabled is value

    def test_conditions(self) -> None:
        rule = {"Name": "x", "All": [{"Keyword": "EchoTime", "Present": "true"}]}
        parse_settings({"Matching": {"ExtraRules": {"Exclude": [rule]}}})


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_text(inner) for inner in value]
    return str(value) if isinstance(value, bool | int | float) else value


class TestNames:
    @pytest.mark.parametrize(
        "name", ["contrastenhancement", "ContrastEnhancment", "Contrast-Enhancement", "CONTRAST_ENHANCEMENT"]
    )
    def test_a_name_close_to_ours(self, name: str) -> None:
        assert sections_like_ours({name: {}, "DicomWeb": {}}) == [name]

    def test_ours_and_orthancs_own(self) -> None:
        assert sections_like_ours({"ContrastEnhancement": {}, "Name": "x", "HttpPort": 8042, "DicomWeb": {}}) == []
