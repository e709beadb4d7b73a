"""What Slack has delivered: landed first, worked after.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "slack_delivery",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("signature", sa.Text, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("landed_at", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("ix_slack_delivery_state", "slack_delivery", ["state", "landed_at"])


def downgrade() -> None:
    op.drop_table("slack_delivery")
