"""Which recipes a site offers, and what a recipe asks of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enhancement.dicom.matching.report import StudyMatch
from enhancement.errors import AmbiguousMatch, InputError, MissingRole, SettingsError
from enhancement.recipes import RECIPES
from enhancement.recipes.amplification import BONE_2022, T1C_PRO
from enhancement.recipes.offer import Offer, offered
from enhancement.settings import PreprocessingSettings, Role, parse_settings


def _offer(*entries: dict[str, Any]) -> Offer:
    return offered(parse_settings({"Recipes": list(entries)} if entries else {}))


def _match(*roles: Role, ambiguous: tuple[Role, ...] = ()) -> StudyMatch:
    held = dict.fromkeys(ambiguous, ("1.1", "1.2"))
    return StudyMatch({role: f"1.{role}" for role in roles}, (), held, "", ())


class TestOffer:
    def test_t1c_pro_alone_by_default(self) -> None:
        """Others only where a site names them."""
        assert (list(_offer().recipes), _offer().enabled) == (["t1c-pro"], ("t1c-pro",))

    def test_every_recipe_has_its_own_place(self) -> None:
        """Known by its name; no two results of one source share a number or a kind."""
        assert all(recipe.name == name for name, recipe in RECIPES.items())
        words = [recipe.words for recipe in RECIPES.values()]
        assert len({item.series_number for item in words}) == len(words)
        assert len({item.image_type for item in words}) == len(words)
        assert len({item.series_description for item in words}) == len(words)

    def test_the_site_s_model_and_words(self) -> None:
        """In place of the recipe's own; all else stays."""
        offer = _offer({"Name": "t1c-pro", "Model": "ours", "SeriesDescription": "Ours, not acquired"})
        recipe = offer.named("t1c-pro")
        assert (recipe.model, recipe.words.series_description) == (Path("ours"), "Ours, not acquired")
        assert recipe.needed == T1C_PRO.needed

    def test_one_that_is_not_enabled_is_made_by_name_only(self) -> None:
        """Automatically nothing; by hand what is named, or the default."""
        offer = _offer({"Name": "bone-2022", "Enabled": False})
        assert offer.asked("", manual=False) == []
        assert [recipe.name for recipe in offer.asked("", manual=True)] == ["bone-2022"]
        assert [recipe.name for recipe in offer.asked("bone-2022", manual=True)] == ["bone-2022"]

    def test_what_is_not_offered(self) -> None:
        """An answer for the one who asked."""
        with pytest.raises(InputError, match="recipe must be one of t1c-pro") as error:
            _offer().named("bone-2022")
        assert error.value.code == "NO_SUCH_RECIPE"

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ([{"Name": "t3"}], r"Recipes\[0\].Name: known recipes are bone-2022, t1c-pro"),
            ([{"Name": "t1c-pro", "Settings": {"Dose": 3}}], r"Recipes\[0\].Settings.Dose: unknown key"),
            ([{"Name": "t1c-pro"}, {"Name": "t1c-pro"}], "Recipes needs each Name once"),
            (
                [{"Name": "t1c-pro", "Modell": "x"}],
                r"Recipes\[0\].Modell: unknown key; allowed here are Enabled, Model",
            ),
        ],
    )
    def test_wrong_settings_are_named_with_their_place(self, entries: list[dict[str, Any]], message: str) -> None:
        """As everywhere in the settings."""
        with pytest.raises(SettingsError, match=message):
            _offer(*entries)


class TestWhatARecipeNeeds:
    def test_what_is_read(self) -> None:
        """A scanner's ADC map beside, or in place of, the images that it was made from."""
        assert set(T1C_PRO.inputs) == {Role.T1, Role.T1C, Role.FLAIR, Role.DWI, Role.ADC}

    def test_a_missing_role_is_named(self) -> None:
        """The first one."""
        with pytest.raises(MissingRole) as error:
            T1C_PRO.require(_match(Role.T1), PreprocessingSettings())
        assert error.value.code == "MISSING_T1C"

    def test_two_series_alike_are_refused(self) -> None:
        """Nobody guesses."""
        with pytest.raises(AmbiguousMatch):
            T1C_PRO.require(_match(Role.T1, ambiguous=(Role.T1C,)), PreprocessingSettings())

    def test_what_is_wanted_may_be_missing_unless_the_site_requires_it(self) -> None:
        """RequireFlair and RequireAdc, the latter content with a scanner's map."""
        both = _match(Role.T1, Role.T1C)
        T1C_PRO.require(both, PreprocessingSettings())
        with pytest.raises(MissingRole, match="FLAIR"):
            T1C_PRO.require(both, PreprocessingSettings(require_flair=True))
        with pytest.raises(MissingRole, match="DWI"):
            T1C_PRO.require(both, PreprocessingSettings(require_adc=True))
        T1C_PRO.require(_match(Role.T1, Role.T1C, Role.ADC), PreprocessingSettings(require_adc=True))

    def test_each_recipe_judges_the_same_match(self) -> None:
        """What one wants, the other needs."""
        found = _match(Role.T1, Role.T1C, Role.ADC)
        assert T1C_PRO.judged(found, PreprocessingSettings()).decision == "process without FLAIR"
        assert BONE_2022.judged(found, PreprocessingSettings()).decision == "reject: no series for FLAIR"
