"""Drills that are ordered by the clock.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

T = sa.Text
COLUMNS = ("drill", "day", "time", "zone", "channel", "missed", "skips", "by", "last")


def upgrade() -> None:
    columns = [sa.Column(name, T, nullable=False) for name in COLUMNS]
    op.create_table("drill_schedule", sa.Column("id", T, primary_key=True), *columns)


def downgrade() -> None:
    op.drop_table("drill_schedule")
