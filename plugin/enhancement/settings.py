"""The "ContrastEnhancement" section of orthanc.json, as frozen models.

One model per stage; PascalCase keys over snake_case fields, as Orthanc writes its own. An unknown key, a
wrong type or a value out of range becomes a `SettingsError` that names the JSON path, what was found and
what is allowed. No other module reads configuration, environment or command line.
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
    """Which weights, and how much of the ensemble to run."""

    folder: Path = Field(default=Path("t1c-pro"), description="Model folder; relative to ModelWeights")
    folds: Annotated[int, Field(ge=1, le=5)] = Field(default=5, description="How many of the networks to run")
    mirrorings: Literal[1, 2, 4, 8] = Field(default=8, description="How many mirror images each network sees")
    devices: tuple[str, ...] = Field(default=("auto",), description="auto, cpu, cuda:0, ...; one worker each")
    precision: Literal["bfloat16", "float32"] = Field(
        default="bfloat16", description="bfloat16 only where the processor has it in hardware"
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        default=0, description="CPU threads of the networks; 0: as many as there are cores"
    )


class Condition(_Stage):
    """One test of one value of a series: a keyword, one operator and what to compare with.

    `keyword` is any DICOM keyword, or one of those that matching computes (see enhancement/dicom/facts.py):
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
    """What no series of ours is (`exclude`), and per role an ordered list of what it is."""

    exclude: tuple[Rule, ...] = ()
    roles: dict[Role, tuple[Rule, ...]] = Field(default_factory=dict)


class MatchingSettings(_Stage):
    """Which series plays which role."""

    rules: Rules | None = Field(default=None, description="In place of the built-in rules")
    extra_rules: Rules = Field(default=Rules(), description="Tried before the built-in rules")
    contrast_marks: tuple[str, ...] = Field(default=(), description="Further words that mean contrast was given")
    no_contrast_marks: tuple[str, ...] = Field(default=(), description="Further words that mean it was not")
    required_roles: tuple[Role, ...] = Field(
        default=(Role.T1, Role.T1C), description="Without these a study is refused"
    )
    wanted_roles: tuple[Role, ...] = Field(
        default=(Role.FLAIR, Role.DWI), description="Used when there; reported when missing"
    )


class PreprocessingSettings(_Stage):
    """From the scanner's grids to the network's."""

    brain_extractor: Literal["auto", "hd-bet", "built-in", "none"] = Field(
        default="auto",
        description="auto: HD-BET where its weights are installed, else built-in; none: the images are brain-extracted",
    )
    hd_bet_folder: Path | None = Field(
        default=None, description="Folder of the HD-BET weights (scripts/fetch_hd_bet.py)"
    )
    hd_bet_sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Of checkpoint_final.pth; by default the fetched one's"
    )
    bias_field: bool = Field(default=True, description="N4 bias field correction")
    require_flair: bool = Field(default=False, description="Refuse studies without FLAIR")
    require_adc: bool = Field(default=False, description="Refuse studies without diffusion")


class Limit(_Stage):
    """Beyond `soft` the result carries a warning, beyond `hard` the study is refused; null switches one off."""

    soft: float | None = None
    hard: float | None = None


class GateSettings(_Stage):
    """Limits of the quality gate; each is measured on simulated failures by scripts/gate_study.py."""

    brain_volume_low_ml: Limit = Field(default=Limit(soft=950, hard=800), description="Smallest brain, ml")
    brain_volume_high_ml: Limit = Field(
        default=Limit(soft=2000, hard=2150), description="Largest brain with its CSF, ml"
    )
    coverage: Limit = Field(
        default=Limit(soft=0.97, hard=0.85), description="Least share of the brain that T1 and T1c cover"
    )
    coverage_optional: Limit = Field(
        default=Limit(soft=0.9, hard=None), description="The same of FLAIR and ADC, which may be missing"
    )
    atlas_overlap: Limit = Field(default=Limit(soft=0.86, hard=0.8), description="Least Dice with the atlas' brain")
    overhang: Limit = Field(
        default=Limit(soft=0.16, hard=0.30), description="Largest share of the brain found that lies outside the atlas'"
    )
    agreement: Limit = Field(
        default=Limit(soft=2.8, hard=2.1), description="Least ratio of mutual information to that of wrong poses"
    )
    place: Limit = Field(
        default=Limit(soft=1.0, hard=1.1),
        description="Largest mutual information beside the place found, over that there",
    )
    enhancement: Limit = Field(
        default=Limit(soft=0.6, hard=0.2), description="Least brightening of vessels and dura by contrast, brain SDs"
    )
    white_matter: Limit = Field(
        default=Limit(soft=1.15, hard=1.2),
        description="Largest ratio of white to grey matter in T1c, over that in T1; more is another sequence",
    )
    grey_matter: Limit = Field(
        default=Limit(soft=1.35, hard=2.0), description="Largest ratio of grey to white matter in T1c, over that in T1"
    )
    identical: Limit = Field(default=Limit(soft=0.999, hard=0.9999), description="Largest correlation of T1 and T1c")
    noise: Limit = Field(default=Limit(soft=0.12, hard=0.25), description="Largest noise, in brain means")
    ghosting: Limit = Field(
        default=Limit(soft=0.12, hard=0.25), description="Largest ghost, as a share of the picture it repeats"
    )
    clipped: Limit = Field(
        default=Limit(soft=0.005, hard=0.05),
        description="Largest share of the brain that is cut off, by the scanner or by the network's scale",
    )
    spread: Limit = Field(
        default=Limit(soft=0.25, hard=1.0), description="Largest spread of the ensemble in the brain, brain SDs"
    )


class OutputSettings(_Stage):
    """What is written, and how it calls itself."""

    native_method: Literal["residual", "resampled", "detail"] = Field(
        default="detail", description="Way back to the T1c's grid; see enhancement/imaging/native.py"
    )
    store_adc: bool = Field(default=True, description="Store the computed ADC map as a series too")
    series_description: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="T1c-pro AI-enhanced, not acquired",
        description="SeriesDescription of T1c-pro; keep it telling that it was not acquired",
    )
    adc_series_description: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="ADC computed from DWI", description="SeriesDescription of the computed ADC map"
    )
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = Field(
        default="RESEARCH", description="ContentQualification (0018,9004)"
    )
    keep_superseded: bool = Field(default=True, description="Keep a former result when better inputs made a new one")
    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = Field(
        default="contrast-enhanced", description="Put on the study where Orthanc knows labels (1.12); empty for none"
    )


class LedgerSettings(_Stage):
    """Where the jobs are written down."""

    url: SecretStr | None = Field(
        default=None,
        description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE; by default beside Orthanc's storage",
    )
    archive_name: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="default",
        description="Orthancs that share one storage share this name; others on the same ledger need their own",
    )
    busy_seconds: Annotated[float, Field(ge=0.1, le=30)] = Field(
        default=2.0, description="Longest wait for a ledger that another process holds"
    )
    synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL", description="SQLite: FULL survives a power failure, NORMAL a crash"
    )
    rebuild_damaged: bool = Field(
        default=True, description="Set a damaged SQLite file aside and rebuild the ledger from the archive"
    )


class QueueSettings(_Stage):
    """How long the queue may get, how often a job is tried, and when everything pauses."""

    max_queued: Annotated[int, Field(ge=1)] = Field(default=2000, description="Longer queues refuse")
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=4, description="Failures after which a job is set aside"
    )
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=10, description="How often Orthanc may die over one job before that job is set aside"
    )
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        default=30.0, description="Silence after which a dead worker's job is taken up again"
    )
    retry_initial_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=30.0, description="First pause before a new attempt; doubled each time"
    )
    retry_max_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(
        default=3600.0, description="Longest pause before a new attempt"
    )
    ageing_minutes: Annotated[float, Field(gt=0)] = Field(
        default=240.0, description="Waiting that lifts a job by one class of priority"
    )
    breaker_failures: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=5, description="Failures of one kind in a row that pause the queue"
    )
    breaker_pause_seconds: Annotated[float, Field(ge=0, le=86400)] = Field(default=600.0, description="For how long")


class AccessSettings(_Stage):
    """Which of Orthanc's RegisteredUsers may do what; ``*`` is everyone whom Orthanc lets in. All may read."""

    operators: tuple[str, ...] = Field(default=("*",), description="May start, cancel and retry jobs")
    administrators: tuple[str, ...] = Field(
        default=("*",), description="May pause and resume, withdraw results, and see the settings"
    )
    trusted_user_header: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9-]{0,64}$",
        description="Header in which an authenticating proxy names the user; only where nothing else reaches Orthanc",
    )


class LimitSettings(_Stage):
    """What one study may cost."""

    max_study_instances: Annotated[int, Field(ge=1)] = Field(default=20000, description="Larger studies are refused")
    max_study_megabytes: Annotated[int, Field(ge=1)] = Field(default=8192, description="Larger studies are refused")
    job_seconds: Annotated[float, Field(ge=1)] = Field(
        default=3600.0, description="The watchdog ends a job that runs longer"
    )
    min_free_disk_megabytes: Annotated[int, Field(ge=0)] = Field(
        default=512, description="With less room than this on Orthanc's disk nothing is stored"
    )
    min_free_memory_megabytes: Annotated[int, Field(ge=0)] = Field(
        default=1024, description="With less free memory than this a job waits and is tried again"
    )


class ReconciliationSettings(_Stage):
    """What is looked at again after a restart."""

    list_days: Annotated[float, Field(ge=0)] = Field(
        default=30.0, description="With a new ledger, studies changed in the last so many days are looked at"
    )


class DeliverySettings(_Stage):
    """Where finished series are sent, besides staying in this archive."""

    destinations: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...] = Field(
        default=(), description="Names of DicomModalities"
    )
    storage_commitment: bool = Field(default=False, description="Ask the destination to commit")
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=20, description="Failures after which a delivery is set aside"
    )
    retry_initial_seconds: Annotated[float, Field(ge=0.1, le=3600)] = Field(
        default=60.0, description="First pause; doubled each time"
    )
    retry_max_seconds: Annotated[float, Field(ge=0.1, le=86400)] = Field(default=3600.0, description="Longest pause")


class Settings(_Stage):
    """The whole section."""

    enabled: bool = Field(default=True, description="Off: Orthanc serves, nothing is enhanced")
    automatic: bool = Field(default=True, description="Start by itself when a study is stable; off: only by hand")
    model_weights: Path = Field(default=Path("model_weights"), description="Folder of the model folders")
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
        default=True, description="Verify and load the weights when Orthanc has started, not at the first job"
    )


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
