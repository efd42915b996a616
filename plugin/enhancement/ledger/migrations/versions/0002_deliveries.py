"""Where results are sent, and whether they arrived."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
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
