"""The tables of the ledger, for SQLAlchemy Core; `migrations` creates them.

Every table has a prefix, so that the ledger may share a PostgreSQL database with Orthanc's own index.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, text

metadata = MetaData()

jobs = Table(
    "enhancement_jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("archive", String(64), nullable=False),
    Column("study_id", String(256), nullable=False),
    Column("recipe", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("model_digest", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    # The row of the newest inputs of its study and recipe.
    Column("current", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("origin", String(32), nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("queued_at", Float(53), nullable=False),
    Column("order_at", Float(53), nullable=False),
    Column("not_before", Float(53), nullable=False),
    Column("updated_at", Float(53), nullable=False),
    Column("finished_at", Float(53)),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("claim_id", String(32)),
    Column("worker", String(128)),
    Column("instance", String(128)),
    Column("lease_s", Float(53), nullable=False),
    Column("beat", Integer, nullable=False),
    Column("beat_at", Float(53)),
    Column("stage", String(64), nullable=False),
    Column("fraction", Float(53), nullable=False),
    Column("cancel_requested", String(32)),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("result_uids", JSON, nullable=False),
    Column("superseded_by", Integer),
    Column("audit", JSON, nullable=False),
    Index("enhancement_jobs_key", "archive", "study_id", "recipe", "fingerprint", unique=True),
    Index("enhancement_jobs_state", "archive", "state", "order_at"),
    Index("enhancement_jobs_model", "model_digest"),
    sqlite_autoincrement=True,
)

_ONE_PER_STUDY = (jobs.c.archive, jobs.c.study_id, jobs.c.recipe)


def _one_per_study(name: str, condition: str) -> Index:
    """At most one row of a study and recipe may meet the condition: the database itself holds the invariant."""
    where = text(condition)
    return Index(f"enhancement_jobs_{name}", *_ONE_PER_STUDY, unique=True, sqlite_where=where, postgresql_where=where)


_one_per_study("one_running", "state = 'RUNNING'")
_one_per_study("one_queued", "state = 'QUEUED'")
_one_per_study("one_stored", "state = 'STORED'")
_one_per_study("one_current", "current")

attempts = Table(
    "enhancement_attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("claim_id", String(32), nullable=False, unique=True),
    Column("number", Integer, nullable=False),
    Column("worker", String(128), nullable=False),
    Column("instance", String(128), nullable=False),
    Column("started_at", Float(53), nullable=False),
    Column("ended_at", Float(53)),
    Column("outcome", String(16)),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Index("enhancement_attempts_job", "job_id"),
    sqlite_autoincrement=True,
)

arrivals = Table(
    "enhancement_arrivals",
    metadata,
    Column("archive", String(64), primary_key=True),
    Column("study_id", String(256), primary_key=True),
    Column("recipe", String(64), primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("origin", String(32), nullable=False),
    Column("requested_by", String(128), nullable=False),
    Column("force", Boolean, nullable=False),
    Column("noticed_at", Float(53), nullable=False),
    Column("order_at", Float(53), nullable=False),
    Column("set_at", Float(53), nullable=False),
    Column("not_before", Float(53), nullable=False),
    Column("looks", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
)

incomplete = Table(
    "enhancement_incomplete",
    metadata,
    Column("archive", String(64), primary_key=True),
    Column("study_id", String(256), primary_key=True),
    Column("recipe", String(64), primary_key=True),
    Column("missing", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", Float(53), nullable=False),
    Column("checked_at", Float(53), nullable=False),
)

marks = Table(
    "enhancement_marks",
    metadata,
    Column("archive", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)

# What is still to be done after a job stored its result; a row goes when all of it is done.
followups = Table(
    "enhancement_followups",
    metadata,
    Column("job_id", Integer, ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("archive", String(64), nullable=False),
    Column("instance", String(128), nullable=False),
    Column("since", Float(53), nullable=False),
)

# Which series of the archive are results: when one is deleted, the archive names it by its own identifier only.
results = Table(
    "enhancement_results",
    metadata,
    Column("archive", String(64), primary_key=True),
    Column("archive_id", String(64), primary_key=True),
    Column("job_id", Integer, ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    # SHA-256 of the pixels, which a copy keeps whatever its header lost; "" until it was computed.
    Column("pixels", String(64), nullable=False, server_default=""),
    Index("enhancement_results_job", "job_id"),
    Index("enhancement_results_pixels", "pixels"),
)

# Which series of the archive a job reads: its result must not outlive them.
sources = Table(
    "enhancement_sources",
    metadata,
    Column("job_id", Integer, ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("archive_id", String(64), primary_key=True),
    Column("archive", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False),
    Column("instances", Integer, nullable=False),
    Index("enhancement_sources_series", "archive", "archive_id"),
)

deliveries = Table(
    "enhancement_deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("archive", String(64), nullable=False),
    Column("job_id", Integer, ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("destination", String(64), nullable=False),
    # Orthanc identifiers of the series.
    Column("series", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Float(53), nullable=False),
    # Identifier of Orthanc's own C-STORE job, while there is one.
    Column("sending", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("updated_at", Float(53), nullable=False),
    Index("enhancement_deliveries_key", "job_id", "destination", unique=True),
    Index("enhancement_deliveries_due", "archive", "state", "not_before"),
    sqlite_autoincrement=True,
)
