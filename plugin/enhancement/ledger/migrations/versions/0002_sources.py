"""Which series of the archive a result was made from, and a digest of each result's pixels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of sources; results get a digest."""
    op.create_table(
        "enhancement_sources",
        sa.Column("job_id", sa.Integer, sa.ForeignKey("enhancement_jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("archive_id", sa.String(64), primary_key=True),
        sa.Column("archive", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
    )
    op.create_index("enhancement_sources_series", "enhancement_sources", ["archive", "archive_id"])
    pixels = sa.Column("pixels", sa.String(64), nullable=False, server_default="")
    op.add_column("enhancement_results", pixels)
    op.create_index("enhancement_results_job", "enhancement_results", ["job_id"])
    op.create_index("enhancement_results_pixels", "enhancement_results", ["pixels"])
