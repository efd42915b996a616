"""Settings of the service: ledger, queue, access, limits, deliveries."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from enhancement.settings._stage import Stage

_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?://([^@]*@)?(\[[0-9A-Fa-f:]+\]|[^@:/?]*)(:\d+)?([/?][^@]*)?")


class LedgerSettings(Stage):
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

    @field_validator("url")
    @classmethod
    def _nothing_of_the_password_in_the_host(cls, url: SecretStr | None) -> SecretStr | None:
        """A driver quotes the host when it cannot be reached."""
        if url and url.get_secret_value().startswith("postgres") and not _POSTGRES.fullmatch(url.get_secret_value()):
            raise ValueError(
                "needs postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ of the password written as %40"
            )
        return url


class QueueSettings(Stage):
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


class AccessSettings(Stage):
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


class LimitSettings(Stage):
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


class ReconciliationSettings(Stage):
    """Which studies are looked at again after a restart."""

    list_days: Annotated[float, Field(ge=0)] = Field(
        default=30.0,
        description=(
            "With a new or a lost ledger, studies that changed in the last so many days are looked at; older "
            "ones are left alone."
        ),
    )


class DeliverySettings(Stage):
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
