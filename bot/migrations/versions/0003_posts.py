"""What was told to people outside: cards, thread posts, pages. Written before the call, so that none is told twice.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "post",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("upto", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("ix_post_incident", "post", ["incident", "kind"])
    op.create_index("ix_post_state", "post", ["kind", "state"])


def downgrade() -> None:
    op.drop_table("post")
