"""What scanners send: a rank for the inbox, the names of credentials, and facts.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

T = sa.Text


def upgrade() -> None:
    op.add_column("inbox", sa.Column("rank", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_inbox_state", "inbox", ["state", "rank", "landed_at"])
    op.create_table(
        "known_as",
        sa.Column("world", T, primary_key=True), sa.Column("name", T, primary_key=True),
        sa.Column("incident", T, nullable=False),
    )  # fmt: skip
    op.execute(
        "INSERT INTO known_as (world, name, incident) "
        "SELECT world, credential_key, MAX(id) FROM incident GROUP BY world, credential_key"
    )
    op.create_table(
        "fact",
        sa.Column("id", T, primary_key=True), sa.Column("source", T, nullable=False),
        sa.Column("kind", T, nullable=False), sa.Column("repository", T, nullable=False),
        sa.Column("at", T, nullable=False), sa.Column("landed_at", T, nullable=False),
        sa.Column("body", T, nullable=False),
    )  # fmt: skip
    op.create_index("ix_fact_where", "fact", ["repository", "kind", "at"])
    op.create_index("ix_fact_landed", "fact", ["landed_at"])


def downgrade() -> None:
    op.drop_table("fact")
    op.drop_table("known_as")
    op.drop_index("ix_inbox_state", "inbox")
    op.drop_column("inbox", "rank")
