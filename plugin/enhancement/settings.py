"""The settings: the section "ContrastEnhancement" of orthanc.json, as frozen models.

There is one model for each stage. Keys are in PascalCase, as Orthanc writes its own; fields are in snake_case. An
unknown key, a wrong type or a value out of range becomes a `SettingsError`, which names the JSON path, what was found
and what is allowed. No other module reads configuration, environment or command line.

`docs/settings.md` is written from the descriptions here by ``scripts/document.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
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
    T1C_LOW = "T1C_LOW"


class _Stage(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_pascal, populate_by_name=True, protected_namespaces=()
    )


class ModelSettings(_Stage):
    """How the networks are run, whichever the recipe."""

    folds: Annotated[int, Field(ge=1, le=5)] = Field(
        default=5, description="How many networks of the ensemble are run; fewer are faster and less certain."
    )
    mirrorings: Literal[1, 2, 4, 8] = Field(
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


class RecipeSettings(_Stage):
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


class Condition(_Stage):
    """One test of one value of a series: a keyword, one operator and what to compare with.

    `keyword` is any DICOM keyword, or one of those that matching computes (see enhancement/dicom/matching/facts.py):
    Description, BValues, Diffusion, Contrast, Frames, OwnOutput, Vendor. Text is compared without case;
    `matches` is a regular expression that may be found anywhere, in the text as stored or in its words
    (accents, underscores and punctuation taken out). A value with several parts passes if one part does.
    """

    keyword: Annotated[str, Field(min_length=1, max_length=64)]
    matches: Annotated[str, Field(max_length=4000)] | None = None
    equals: str | float | None = None
    any_of: tuple[str | float, ...] | None = None
    at_least: float | None = None
    at_most: float | None = None
    present: Literal[True] | None = None
    absent: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_operator(self) -> Condition:
        given = self.model_fields_set - {"keyword"}
        given = {name for name in given if getattr(self, name) is not None}
        if len(given) != 1:
            raise ValueError(
                "needs exactly one of Matches, Equals, AnyOf, AtLeast, AtMost, Present, Absent, "
                f"found {', '.join(to_pascal(name) for name in sorted(given)) or 'none'}"
            )
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ValueError(f"Matches is not a regular expression: {error}") from None
        return self


class Rule(_Stage):
    """A series fits when every condition of `all` holds and none of `none` does."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    all: Annotated[tuple[Condition, ...], Field(min_length=1)]
    none: tuple[Condition, ...] = ()


class Rules(_Stage):
    """Which series play which role: `exclude` names what plays none, `roles` lists what plays each, tried in order."""

    exclude: tuple[Rule, ...] = ()
    roles: dict[Role, tuple[Rule, ...]] = Field(default_factory=dict)


class MatchingSettings(_Stage):
    """Which series plays which role."""

    rules: Rules | None = Field(default=None, description="Rules that take the place of all built-in ones.")
    extra_rules: Rules = Field(default=Rules(), description="Rules that are tried before the built-in ones.")
    contrast_marks: tuple[str, ...] = Field(
        default=(),
        description=(
            "Words in a series' description that say here that contrast agent was given, besides those that are known."
        ),
    )
    no_contrast_marks: tuple[str, ...] = Field(
        default=(),
        description=(
            "Words in a series' description that say here that no contrast agent was given, besides those that "
            "are known."
        ),
    )


class PreprocessingSettings(_Stage):
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


class Limit(_Stage):
    """A limit of the gate: beyond `soft` a warning, beyond `hard` a refusal; null switches it off."""

    soft: float | None = None
    hard: float | None = None


class GateSettings(_Stage):
    """The limits of the gate, each measured on simulated failures by scripts/gate_study.py.

    Beyond `Soft` the result carries a warning, beyond `Hard` the study is refused; null switches a limit off.
    """

    brain_volume_low_ml: Limit = Field(
        default=Limit(soft=950, hard=800),
        description=(
            "The brain must have at least this volume (ml); a smaller one was cut off, or was not found whole."
        ),
    )
    brain_volume_high_ml: Limit = Field(
        default=Limit(soft=2000, hard=2150),
        description="The brain with its CSF may have at most this volume (ml); a larger one holds what is not brain.",
    )
    coverage: Limit = Field(
        default=Limit(soft=0.97, hard=0.85),
        description="Each series that the recipe needs must cover at least this share of the brain.",
    )
    coverage_optional: Limit = Field(
        default=Limit(soft=0.9, hard=None),
        description="Each series that may be missing must cover at least this share of the brain.",
    )
    atlas_overlap: Limit = Field(
        default=Limit(soft=0.86, hard=0.8),
        description="The brain must overlap with the atlas' brain at least so well (Dice coefficient).",
    )
    overhang: Limit = Field(
        default=Limit(soft=0.16, hard=0.30),
        description="At most this share of the brain may lie outside the atlas' brain, as scalp does.",
    )
    agreement: Limit = Field(
        default=Limit(soft=2.8, hard=2.1),
        description=(
            "A registered series must agree with the reference at least so many times better than in wrong "
            "positions (mutual information)."
        ),
    )
    place: Limit = Field(
        default=Limit(soft=1.0, hard=1.1),
        description=(
            "Moved by 4 mm or 4 degrees, a registered series may agree with the reference at most so many times"
            " as well as in its place (mutual information)."
        ),
    )
    enhancement: Limit = Field(
        default=Limit(soft=0.6, hard=0.2),
        description=(
            "Vessels and dura must brighten at least so much from T1 to T1c (standard deviations of the brain);"
            " with less, no contrast agent was given."
        ),
    )
    white_matter: Limit = Field(
        default=Limit(soft=1.15, hard=1.2),
        description=(
            "White matter may brighten against grey matter at most by this factor from T1 to T1c; with more, "
            "the sequences are unlike."
        ),
    )
    grey_matter: Limit = Field(
        default=Limit(soft=1.35, hard=2.0),
        description=(
            "Grey matter may brighten against white matter at most by this factor from T1 to T1c; with more, "
            "the sequences are unlike."
        ),
    )
    identical: Limit = Field(
        default=Limit(soft=0.999, hard=0.9999),
        description="T1 and T1c may correlate at most so well; with more, they are the same image.",
    )
    noise: Limit = Field(
        default=Limit(soft=0.12, hard=0.25),
        description="A series may have at most this noise, as a share of the brain's mean.",
    )
    ghosting: Limit = Field(
        default=Limit(soft=0.12, hard=0.25),
        description=(
            "A ghost (the head once more, some way off, as after motion) may be at most so strong, as a share "
            "of the image."
        ),
    )
    clipped: Limit = Field(
        default=Limit(soft=0.005, hard=0.05),
        description=(
            "At most this share of the brain may be cut off in its brightness, by the scanner or by the "
            "network's scale."
        ),
    )
    spread: Limit = Field(
        default=Limit(soft=0.25, hard=1.0),
        description=(
            "The networks may disagree at most so much, on average over the brain (standard deviations of the brain)."
        ),
    )


class OutputSettings(_Stage):
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
    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = Field(
        default="contrast-enhanced",
        description=(
            "Label that is put on a study with a result, where Orthanc has labels (from 1.12 on); empty for none."
        ),
    )


class LedgerSettings(_Stage):
    """Where the jobs are written down."""

    url: SecretStr | None = Field(
        default=None,
        description=(
            "Database of the jobs: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE. By default a "
            "file in Orthanc's storage folder."
        ),
    )
    archive_name: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="default",
        description=(
            "Name of the archive that the jobs belong to. Orthancs that share one storage share it; others on "
            "the same database need a name of their own."
        ),
    )
    busy_seconds: Annotated[float, Field(ge=0.1, le=30)] = Field(
        default=2.0, description="How long an answer waits for a database that another process holds."
    )
    synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL",
        description=(
            "SQLite only. With FULL every job written down survives a power failure; NORMAL is faster, and may "
            "lose the last ones then."
        ),
    )
    rebuild_damaged: bool = Field(
        default=True,
        description=(
            "Whether a damaged SQLite file is set aside and replaced by an empty one, which is filled from what"
            " the archive holds. Switched off, the light turns red."
        ),
    )


class QueueSettings(_Stage):
    """How long the queue may get, how often a job is tried, and when all jobs pause."""

    max_queued: Annotated[int, Field(ge=1)] = Field(
        default=2000, description="How many jobs may wait; studies beyond that are looked at again later."
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="After so many failures a job ends as FAILED, and waits for a person."
    )
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="After Orthanc died so many times over one job, that job ends as FAILED."
    )
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=30.0, description="A job whose worker has been silent for so long is taken up again."
    )
    retry_initial_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0, description="Pause after a job's first failure; each further one doubles it."
    )
    retry_max_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        default=3600.0, description="Longest pause between two attempts at a job."
    )
    ageing_minutes: Annotated[float, Field(gt=0)] = Field(
        default=240.0, description="So much waiting lifts a job by one class of priority, so that none waits for ever."
    )
    breaker_failures: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=5,
        description="When so many jobs in a row, over at least two studies, fail with one code, the queue pauses.",
    )
    breaker_pause_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        default=600.0, description="How long that pause lasts; then one job is tried."
    )


class AccessSettings(_Stage):
    """Which of Orthanc's RegisteredUsers may do what. ``*`` is everyone whom Orthanc lets in; all of them may read."""

    operators: tuple[str, ...] = Field(default=("*",), description="Who may start, cancel and retry jobs.")
    administrators: tuple[str, ...] = Field(
        default=("*",), description="Who may pause and resume, delete results, and see the settings."
    )
    trusted_user_header: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9-]{0,64}$",
        description=(
            "Header in which an authenticating proxy names the user. Set it only where nothing but that proxy "
            "reaches Orthanc: whoever does could name himself."
        ),
    )


class LimitSettings(_Stage):
    """What one study may cost."""

    max_study_instances: Annotated[int, Field(ge=1)] = Field(
        default=20000, description="A study with more instances is refused before any of it is read."
    )
    max_study_megabytes: Annotated[int, Field(ge=1)] = Field(
        default=8192, description="A study with more megabytes is refused before any of it is read."
    )
    job_seconds: Annotated[float, Field(ge=1)] = Field(
        default=3600.0, description="A job that runs longer is ended at its next step, and counts as failed."
    )
    min_free_disk_megabytes: Annotated[int, Field(ge=0)] = Field(
        default=512, description="With less free space on Orthanc's disk, no job begins."
    )
    min_free_memory_megabytes: Annotated[int, Field(ge=0)] = Field(
        default=1024, description="With less free memory, no job begins."
    )


class ReconciliationSettings(_Stage):
    """Which studies are looked at again after a restart."""

    list_days: Annotated[float, Field(ge=0)] = Field(
        default=30.0,
        description=(
            "With a new or a lost ledger, studies that changed in the last so many days are looked at; older "
            "ones are left alone."
        ),
    )


class DeliverySettings(_Stage):
    """Where results are sent, besides staying in this archive."""

    destinations: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...] = Field(
        default=(), description="Names of DicomModalities that every result is sent to by C-STORE."
    )
    storage_commitment: bool = Field(
        default=False,
        description=(
            "Whether the destination is asked to confirm that it keeps what it received (storage commitment)."
        ),
    )
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20, description="After so many failures a delivery is given up."
    )
    retry_initial_seconds: Annotated[float, Field(ge=0.1, le=3600)] = Field(
        default=60.0, description="Pause after a delivery's first failure; each further one doubles it."
    )
    retry_max_seconds: Annotated[float, Field(ge=0.1, le=86400)] = Field(
        default=3600.0, description="Longest pause between two attempts at a delivery."
    )


class Settings(_Stage):
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
            raise ValueError(f"Recipes needs each Name once, found {', '.join(sorted(names))}")
        return self


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
