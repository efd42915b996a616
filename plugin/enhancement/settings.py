"""The "ContrastEnhancement" section of orthanc.json, as frozen models.

One model per stage; PascalCase keys over snake_case fields, as Orthanc writes its own. An unknown key, a
wrong type or a value out of range becomes a `SettingsError` that names the JSON path, what was found and
what is allowed. No other module reads configuration, environment or command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from enhancement.errors import SettingsError

SECTION = "ContrastEnhancement"


class Role(StrEnum):
    """The part that a series plays in the method."""

    T1 = "T1"
    T1C = "T1C"
    FLAIR = "FLAIR"
    DWI = "DWI"
    ADC = "ADC"
    T2 = "T2"
    T1C_VFA = "T1C_VFA"


class _Stage(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_pascal, populate_by_name=True, protected_namespaces=()
    )


class ModelSettings(_Stage):
    """Which weights, and how much of the ensemble to run."""

    folder: Path = Field(default=Path("t1c-pro"), description="Model folder; relative to ModelWeights")
    folds: Annotated[int, Field(ge=1, le=5)] = 5
    mirrorings: Literal[1, 2, 4, 8] = 8
    devices: tuple[str, ...] = ("auto",)
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    threads: Annotated[int, Field(ge=0)] = 0


class PreprocessingSettings(_Stage):
    """From the scanner's grids to the network's."""

    brain_extractor: Literal["auto", "hd-bet", "built-in", "none"] = "auto"
    hd_bet_folder: Path | None = None
    bias_field: bool = True
    require_flair: bool = False
    require_adc: bool = False


class OutputSettings(_Stage):
    """What is written, and how it calls itself."""

    native_method: Literal["residual", "resampled"] = "residual"
    store_adc: bool = True
    series_description: Annotated[str, Field(min_length=1, max_length=64)] = "T1c-pro AI-enhanced, not acquired"
    adc_series_description: Annotated[str, Field(min_length=1, max_length=64)] = "ADC computed from DWI"
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = "RESEARCH"
    keep_superseded: bool = True


class Settings(_Stage):
    """The whole section."""

    enabled: bool = True
    automatic: bool = True
    model_weights: Path = Field(default=Path("model_weights"), description="Folder of the model folders")
    model: ModelSettings = ModelSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    output: OutputSettings = OutputSettings()


def parse_settings(section: Mapping[str, Any]) -> Settings:
    """Validate the section.

    Parameters
    ----------
    section : mapping
        The JSON object under "ContrastEnhancement".

    Raises
    ------
    SettingsError
        One line per fault: JSON path, what was found, what is allowed.
    """
    try:
        return Settings.model_validate(dict(section))
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(item) for item in error.errors())) from None


def _describe(item: Any) -> str:
    path = SECTION
    for part in item["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    if item["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(_allowed_keys(item["loc"][:-1])))
        return f"{path}: unknown key; allowed here are {allowed}"
    return f"{path}: {item['msg']}, found {item['input']!r}"


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location:
        for name, field in model.model_fields.items():
            if part in (name, field.alias):
                model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]
