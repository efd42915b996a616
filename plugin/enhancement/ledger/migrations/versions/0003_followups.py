"""What is still to be done after a result was stored, and which series of the archive are results."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
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
    )
