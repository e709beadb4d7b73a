"""The scores of drills, to be seen over time.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

T = sa.Text


def upgrade() -> None:
    columns = [sa.Column(name, T, nullable=False) for name in ("drill", "at", "team", "people")]
    total = sa.Column("total", sa.Integer, nullable=False)
    op.create_table("drill_score", sa.Column("id", T, primary_key=True), total, *columns)
    op.create_index("ix_drill_score_at", "drill_score", ["at"])


def downgrade() -> None:
    op.drop_table("drill_score")
