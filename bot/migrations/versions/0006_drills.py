"""Drills that somebody, or a schedule, has asked for.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

T = sa.Text


def upgrade() -> None:
    op.create_table(
        "drill_order",
        sa.Column("id", T, primary_key=True), sa.Column("drill", T, nullable=False),
        sa.Column("by", T, nullable=False), sa.Column("channel", T, nullable=False),
        sa.Column("at", T, nullable=False), sa.Column("state", T, nullable=False),
        sa.Column("incident", T, nullable=False), sa.Column("note", T, nullable=False),
        sa.Column("told", T, nullable=False),
    )  # fmt: skip
    op.create_index("ix_drill_order_state", "drill_order", ["state", "at"])


def downgrade() -> None:
    op.drop_table("drill_order")
