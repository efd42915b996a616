"""The settings: the section "ContrastEnhancement" of orthanc.json, as frozen models.

There is one model for each stage, in the modules beside this one; everybody imports them from here. Keys are in
PascalCase, as Orthanc writes its own; fields are in snake_case. An unknown key, a wrong type or a value out of range
becomes a `SettingsError`, which names the JSON path, what was found and what is allowed. No other module reads
configuration, environment or command line.

`docs/settings.md` is written from the descriptions here by ``scripts/document.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from enhancement.errors import SettingsError
from enhancement.settings._faults import describe, like, type_of
from enhancement.settings._gate import GateSettings, Limit
from enhancement.settings._matching import Condition, MatchingSettings, Rule, Rules
from enhancement.settings._method import ModelSettings, OutputSettings, PreprocessingSettings, RecipeSettings
from enhancement.settings._service import (
    AccessSettings,
    DeliverySettings,
    LedgerSettings,
    LimitSettings,
    QueueSettings,
    ReconciliationSettings,
)
from enhancement.settings._stage import Role, Stage

__all__ = [
    "SECTION",
    "AccessSettings",
    "Condition",
    "DeliverySettings",
    "GateSettings",
    "LedgerSettings",
    "Limit",
    "LimitSettings",
    "MatchingSettings",
    "ModelSettings",
    "OutputSettings",
    "PreprocessingSettings",
    "QueueSettings",
    "RecipeSettings",
    "ReconciliationSettings",
    "Role",
    "Rule",
    "Rules",
    "Settings",
    "describe",
    "parse_settings",
    "sections_like_ours",
]

SECTION = "ContrastEnhancement"


class Settings(Stage):
    """The whole section "ContrastEnhancement"."""

    enabled: bool = Field(
        default=True,
        description="Whether anything is enhanced at all; switched off, Orthanc serves as without the plugin.",
    )
    automatic: bool = Field(
        default=True,
        description=(
            "Whether studies are enhanced when they have arrived; switched off, only when somebody asks for it."
        ),
    )
    model_weights: Path = Field(
        default=Path("model_weights"),
        description=(
            "Folder that holds the folders of the models. A relative path starts at the folder above plugin/."
        ),
    )
    recipes: Annotated[tuple[RecipeSettings, ...], Field(min_length=1)] = Field(
        default=(RecipeSettings(name="t1c-pro"),),
        description=(
            "The recipes that are offered. A study that arrives, and a request that names none, gets the result"
            " of each that is enabled."
        ),
    )
    matching: MatchingSettings = MatchingSettings()
    model: ModelSettings = ModelSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    gate: GateSettings = GateSettings()
    output: OutputSettings = OutputSettings()
    ledger: LedgerSettings = LedgerSettings()
    queue: QueueSettings = QueueSettings()
    access: AccessSettings = AccessSettings()
    limits: LimitSettings = LimitSettings()
    delivery: DeliverySettings = DeliverySettings()
    reconciliation: ReconciliationSettings = ReconciliationSettings()
    site_script: str | None = Field(
        default=None,
        description=(
            "A Python script of the site's own that is loaded beside this plugin, since Orthanc's PythonScript can "
            "name only one. A relative path starts at the folder above plugin/."
        ),
    )
    preload: bool = Field(
        default=True,
        description=(
            "Whether the weights are verified and loaded as soon as Orthanc has started; switched off, at the "
            "first job."
        ),
    )

    @model_validator(mode="after")
    def _each_recipe_once(self) -> Settings:
        names = [recipe.name for recipe in self.recipes]
        if len(set(names)) < len(names):
            raise ValueError("Recipes needs each Name once")
        return self


def parse_settings(section: object) -> Settings:
    """Validate the section.

    Parameters
    ----------
    section : mapping
        The JSON object under "ContrastEnhancement".

    Raises
    ------
    SettingsError
        One line per fault: JSON path, what is allowed, and the type that was found.
    """
    if not isinstance(section, Mapping):
        raise SettingsError(f"{SECTION}: expected an object, found {type_of(section)}")
    try:
        return Settings.model_validate(dict(section))
    except ValidationError as error:
        raise SettingsError(describe(SECTION, error, _allowed_keys)) from None


def sections_like_ours(configuration: Mapping[str, Any]) -> list[str]:
    """Sections of Orthanc's configuration whose name is nearly ours, and which nobody reads."""
    return like(SECTION, configuration)


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):  # an index or the key of a mapping stays at the model it leads to
                model = _model_in(field.annotation) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation holds, also inside tuples, mappings and optional values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
