"""The choices of a drill that people in Slack answer.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

T = sa.Text


def upgrade() -> None:
    op.add_column("drill_order", sa.Column("mode", T, nullable=False, server_default=""))
    op.create_table(
        "drill_line",
        sa.Column("order_id", T, primary_key=True), sa.Column("name", T, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False), sa.Column("kind", T, nullable=False),
        sa.Column("body", T, nullable=False), sa.Column("answer", T, nullable=False),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("drill_line")
    with op.batch_alter_table("drill_order") as table:
        table.drop_column("mode")
