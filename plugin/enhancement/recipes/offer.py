"""The recipes that a site offers: those that its settings name, as it has set them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import ValidationError

from enhancement.errors import InputError, SettingsError
from enhancement.recipes import RECIPES
from enhancement.recipes.base import OwnSettings, Recipe
from enhancement.settings import SECTION, RecipeSettings, Settings, describe


@dataclass(frozen=True)
class Offer:
    """Every recipe that may be asked for by name, and the names of those that are made of every study."""

    recipes: dict[str, Recipe]
    enabled: tuple[str, ...]

    @property
    def default(self) -> Recipe:
        """What is made where nothing is named: the first that is enabled, else the first of all."""
        return self.recipes[self.enabled[0]] if self.enabled else next(iter(self.recipes.values()))

    def named(self, name: str) -> Recipe:
        """One recipe.

        Raises
        ------
        InputError
            NO_SUCH_RECIPE, if the settings do not name it.
        """
        if name not in self.recipes:
            known = ", ".join(self.recipes)
            raise InputError(
                f"recipe must be one of {known}",
                code="NO_SUCH_RECIPE",
                advice="What is offered is set in ContrastEnhancement.Recipes.",
            )
        return self.recipes[name]

    def asked(self, name: str, *, manual: bool) -> list[Recipe]:
        """The named recipe; without a name every one that is enabled, and by hand the default if none is.

        Raises
        ------
        InputError
            NO_SUCH_RECIPE
        """
        if name:
            return [self.named(name)]
        return [self.recipes[enabled] for enabled in self.enabled] or ([self.default] if manual else [])


def offered(settings: Settings) -> Offer:
    """Read the site's choice.

    Raises
    ------
    SettingsError
        If there is no such recipe, or its own settings are not what it takes.
    """
    recipes = {entry.name: _as_set(entry, index) for index, entry in enumerate(settings.recipes)}
    return Offer(recipes, tuple(entry.name for entry in settings.recipes if entry.enabled))


def _as_set(entry: RecipeSettings, index: int) -> Recipe:
    where = f"{SECTION}.Recipes[{index}]"
    if entry.name not in RECIPES:
        raise SettingsError(f"{where}.Name: known recipes are {', '.join(sorted(RECIPES))}")
    recipe = RECIPES[entry.name]
    words = recipe.words
    if entry.series_description is not None:
        words = replace(words, series_description=entry.series_description)
    return replace(recipe, model=entry.model or recipe.model, words=words, own=_own(recipe.own, entry, where))


def _own(default: OwnSettings, entry: RecipeSettings, where: str) -> OwnSettings:
    try:
        return type(default).model_validate(entry.settings)
    except ValidationError as error:
        raise SettingsError(describe(f"{where}.Settings", error, lambda _: type(default).model_fields)) from None
