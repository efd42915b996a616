"""The first schema.

A revision is history: it creates the tables as they were, and later changes of `schema.py` get a revision of
their own. A test holds the sum of all revisions equal to `schema.py`. There is no way back: an older version refuses a
newer ledger instead.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _jobs_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("archive", sa.String(64), nullable=False),
        sa.Column("study_id", sa.String(256), nullable=False),
        sa.Column("recipe", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("model_digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("current", sa.Boolean, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("requested_by", sa.String(128), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("queued_at", sa.Float(53), nullable=False),
        sa.Column("order_at", sa.Float(53), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
        sa.Column("finished_at", sa.Float(53)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("claim_id", sa.String(32)),
        sa.Column("worker", sa.String(128)),
        sa.Column("instance", sa.String(128)),
        sa.Column("lease_s", sa.Float(53), nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("beat_at", sa.Float(53)),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("fraction", sa.Float(53), nullable=False),
        sa.Column("cancel_requested", sa.String(32)),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("advice", sa.Text, nullable=False),
        sa.Column("result_uids", sa.JSON, nullable=False),
        sa.Column("superseded_by", sa.Integer),
        sa.Column("audit", sa.JSON, nullable=False),
    ]


def _create_jobs() -> None:
    op.create_table("enhancement_jobs", *_jobs_columns(), sqlite_autoincrement=True)
    study = ["archive", "study_id", "recipe"]
    op.create_index("enhancement_jobs_key", "enhancement_jobs", [*study, "fingerprint"], unique=True)
    op.create_index("enhancement_jobs_state", "enhancement_jobs", ["archive", "state", "order_at"])
    op.create_index("enhancement_jobs_model", "enhancement_jobs", ["model_digest"])
    conditions = {
        "one_running": "state = 'RUNNING'",
        "one_queued": "state = 'QUEUED'",
        "one_stored": "state = 'STORED'",
        "one_current": "current",
    }
    for name, condition in conditions.items():
        where = sa.text(condition)
        op.create_index(
            f"enhancement_jobs_{name}",
            "enhancement_jobs",
            study,
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )


def _create_attempts() -> None:
    op.create_table(
        "enhancement_attempts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("claim_id", sa.String(32), nullable=False, unique=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("worker", sa.String(128), nullable=False),
        sa.Column("instance", sa.String(128), nullable=False),
        sa.Column("started_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("outcome", sa.String(16)),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("advice", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("enhancement_attempts_job", "enhancement_attempts", ["job_id"])


def _create_study_tables() -> None:
    op.create_table(
        "enhancement_arrivals",
        sa.Column("archive", sa.String(64), primary_key=True),
        sa.Column("study_id", sa.String(256), primary_key=True),
        sa.Column("recipe", sa.String(64), primary_key=True),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("requested_by", sa.String(128), nullable=False),
        sa.Column("force", sa.Boolean, nullable=False),
        sa.Column("noticed_at", sa.Float(53), nullable=False),
        sa.Column("order_at", sa.Float(53), nullable=False),
        sa.Column("set_at", sa.Float(53), nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
    )
    op.create_table(
        "enhancement_incomplete",
        sa.Column("archive", sa.String(64), primary_key=True),
        sa.Column("study_id", sa.String(256), primary_key=True),
        sa.Column("recipe", sa.String(64), primary_key=True),
        sa.Column("missing", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.Column("checked_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "enhancement_marks",
        sa.Column("archive", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )


def _create_result_tables() -> None:
    op.create_table(
        "enhancement_followups",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("archive", sa.String(64), nullable=False),
        sa.Column("instance", sa.String(128), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
    )
    op.create_table(
        "enhancement_results",
        sa.Column("archive", sa.String(64), primary_key=True),
        sa.Column("archive_id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("pixels", sa.String(64), nullable=False, server_default=""),
    )
    op.create_index("enhancement_results_job", "enhancement_results", ["job_id"])
    op.create_index("enhancement_results_pixels", "enhancement_results", ["pixels"])
    op.create_table(
        "enhancement_sources",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("archive_id", sa.String(64), primary_key=True),
        sa.Column("archive", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
    )
    op.create_index("enhancement_sources_series", "enhancement_sources", ["archive", "archive_id"])


def _create_deliveries() -> None:
    op.create_table(
        "enhancement_deliveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("archive", sa.String(64), nullable=False),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), nullable=False),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("series", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Float(53), nullable=False),
        sa.Column("sending", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Float(53), nullable=False),
        sqlite_autoincrement=True,
    )
    columns = ["job_id", "destination"]
    op.create_index("enhancement_deliveries_key", "enhancement_deliveries", columns, unique=True)
    op.create_index("enhancement_deliveries_due", "enhancement_deliveries", ["archive", "state", "not_before"])


def upgrade() -> None:
    """Create the tables."""
    _create_jobs()
    _create_attempts()
    _create_study_tables()
    _create_result_tables()
    _create_deliveries()
