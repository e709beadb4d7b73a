"""What is learnt: questions that were put to people, post-mortems and their edits, follow-ups.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

T = sa.Text


def upgrade() -> None:
    op.create_table(
        "quiz_card",
        sa.Column("person", T, primary_key=True), sa.Column("question", T, primary_key=True),
        sa.Column("box", sa.Integer, nullable=False), sa.Column("due", T, nullable=False),
    )  # fmt: skip
    op.create_index("ix_quiz_card_due", "quiz_card", ["due"])
    op.create_table(
        "quiz_asked",
        sa.Column("id", T, primary_key=True), sa.Column("person", T, nullable=False),
        sa.Column("question", T, nullable=False), sa.Column("tag", T, nullable=False),
        sa.Column("incident", T, nullable=False), sa.Column("at", T, nullable=False),
        sa.Column("body", T, nullable=False), sa.Column("state", T, nullable=False),
        sa.Column("chosen", T, nullable=False, server_default=""),
        sa.Column("sure", sa.Integer, nullable=False, server_default="0"),
        sa.Column("is_right", sa.Integer, nullable=False, server_default="0"),
        sa.Column("answered_at", T, nullable=False, server_default=""),
    )  # fmt: skip
    op.create_index("ix_quiz_asked_person", "quiz_asked", ["person", "state"])
    op.create_table(
        "postmortem",
        sa.Column("incident", T, primary_key=True), sa.Column("drafted_at", T, nullable=False),
        sa.Column("published_at", T, nullable=False, server_default=""),
        sa.Column("published_by", T, nullable=False, server_default=""),
        sa.Column("body", T, nullable=False, server_default=""),
    )  # fmt: skip
    op.create_table(
        "postmortem_edit",
        sa.Column("incident", T, primary_key=True), sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("key", T, nullable=False), sa.Column("field", T, nullable=False),
        sa.Column("by", T, nullable=False), sa.Column("at", T, nullable=False),
        sa.Column("seen", sa.Integer, nullable=False), sa.Column("text", T, nullable=False),
        sa.UniqueConstraint("incident", "key", "field", name="uq_postmortem_edit_once"),
    )  # fmt: skip
    op.create_table(
        "follow_up",
        sa.Column("incident", T, primary_key=True), sa.Column("id", T, primary_key=True),
        sa.Column("state", T, nullable=False), sa.Column("checked_at", T, nullable=False, server_default=""),
        sa.Column("detail", T, nullable=False, server_default=""),
        sa.Column("changes", sa.Integer, nullable=False, server_default="0"),
    )  # fmt: skip


def downgrade() -> None:
    for table in ("follow_up", "postmortem_edit", "postmortem"):
        op.drop_table(table)
    op.drop_index("ix_quiz_asked_person", "quiz_asked")
    op.drop_table("quiz_asked")
    op.drop_index("ix_quiz_card_due", "quiz_card")
    op.drop_table("quiz_card")
