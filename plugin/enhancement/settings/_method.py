"""Settings of the method: recipes, networks, preparation, what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from enhancement.settings._stage import Stage, as_number


class ModelSettings(Stage):
    """How the networks are run, whichever the recipe."""

    folds: Annotated[int, Field(ge=1, le=5)] = Field(
        default=5, description="How many networks of the ensemble are run; fewer are faster and less certain."
    )
    mirrorings: Annotated[Literal[1, 2, 4, 8], BeforeValidator(as_number)] = Field(
        default=8, description="How many mirror images of a study each network sees; fewer are faster and less certain."
    )
    devices: tuple[str, ...] = Field(
        default=("auto",),
        description=(
            "Where the networks run: auto (a GPU if there is one), cpu, or cuda:0 and so on. Each entry gets a "
            "worker of its own, which does one job at a time."
        ),
    )
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16",
        description=(
            "Number format of the networks. bfloat16 is faster, and is used only where the processor computes in it."
        ),
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        default=0, description="How many CPU threads the networks use; 0 takes as many as there are cores."
    )


class RecipeSettings(Stage):
    """One recipe that is offered here; null means the recipe's own choice."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Name of the recipe, such as t1c-pro.")
    enabled: bool = Field(
        default=True,
        description=(
            "Whether studies are enhanced by this recipe without being asked to; switched off, it is made only "
            "when asked for by name."
        ),
    )
    model: Path | None = Field(
        default=None, description="Folder of the model, below ModelWeights; by default the recipe's own."
    )
    series_description: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description=(
            "SeriesDescription of the result; by default the recipe's own. It should keep saying that the "
            "series was not acquired."
        ),
    )
    settings: dict[str, Any] = Field(default={}, description="Settings that only this recipe has.")


class PreprocessingSettings(Stage):
    """How series are brought from the scanner's grids to the network's."""

    brain_extractor: Literal["auto", "hd-bet", "built-in", "none"] = Field(
        default="auto",
        description=(
            "What finds the brain: hd-bet, built-in, or none where the series hold nothing but brain. auto "
            "takes HD-BET if its weights are installed, and the built-in one if not."
        ),
    )
    hd_bet_folder: Path | None = Field(
        default=None, description="Folder of HD-BET's weights, which scripts/fetch_hd_bet.py fetches."
    )
    hd_bet_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of HD-BET's checkpoint_final.pth; by default that of the file which the script fetches.",
    )
    bias_field: bool = Field(
        default=True, description="Whether the uneven brightness that the receive coils leave is corrected (N4)."
    )
    require_flair: bool = Field(
        default=False, description="Whether a study without FLAIR is refused by recipes that use one."
    )
    require_adc: bool = Field(
        default=False, description="Whether a study without diffusion is refused by recipes that use it."
    )


class OutputSettings(Stage):
    """What is stored, and how it names itself."""

    native_method: Literal["residual", "resampled", "detail"] = Field(
        default="detail",
        description=(
            "How the result comes back to the acquired grid. detail keeps the acquired detail that stands above"
            " the noise, residual keeps all of it with its noise, resampled keeps none."
        ),
    )
    store_adc: bool = Field(
        default=True,
        description="Whether an ADC map that was computed from the diffusion images is stored as a series too.",
    )
    adc_series_description: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="ADC computed from DWI", description="SeriesDescription of the computed ADC map."
    )
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = Field(
        default="RESEARCH", description="ContentQualification (0018,9004) of every result."
    )
    keep_superseded: bool = Field(
        default=True,
        description="Whether a result stays in the archive after better inputs, or another model, made a newer one.",
    )
    when_source_gone: Literal["withdraw", "flag"] = Field(
        default="withdraw",
        description=(
            "What becomes of a result when a series that it was made from is deleted, moved or split off. withdraw "
            "deletes it too, with a record on the study; flag keeps it, and the light is yellow meanwhile."
        ),
    )
    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = Field(
        default="contrast-enhanced",
        description=(
            "Label that is put on a study with a result, where Orthanc has labels (from 1.12 on); empty for none."
        ),
    )
