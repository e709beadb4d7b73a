"""The first tables.

Written out, not taken from ``bot.tables``: a migration never changes after it has shipped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

T, I = sa.Text, sa.Integer


def upgrade() -> None:
    op.create_table(
        "incident",
        sa.Column("id", T, primary_key=True), sa.Column("opened_at", T, nullable=False),
        sa.Column("world", T, nullable=False),
        sa.Column("status", T, nullable=False), sa.Column("title", T, nullable=False),
        sa.Column("credential_key", T, nullable=False),
        sa.Column("body", T, nullable=False), sa.Column("head_n", I, nullable=False),
        sa.Column("head_hash", T, nullable=False),
    )  # fmt: skip
    op.create_index("ix_incident_open", "incident", ["status", "credential_key"])
    op.create_table(
        "timeline",
        sa.Column("incident", T, primary_key=True), sa.Column("n", I, primary_key=True),
        sa.Column("step", T, nullable=False),
        sa.Column("kind", T, nullable=False), sa.Column("attempt", I, nullable=False),
        sa.Column("at", T, nullable=False),
        sa.Column("schema", I, nullable=False), sa.Column("body", T), sa.Column("body_sha256", T, nullable=False),
        sa.Column("prev_hash", T, nullable=False), sa.Column("hash", T, nullable=False),
        sa.UniqueConstraint("incident", "step", "kind", "attempt", name="uq_timeline_once"),
    )  # fmt: skip
    op.create_table(
        "decision",
        sa.Column("seq", I, primary_key=True, autoincrement=True), sa.Column("incident", T, nullable=False),
        sa.Column("step", T, nullable=False), sa.Column("kind", T, nullable=False), sa.Column("by", T, nullable=False),
        sa.Column("at", T, nullable=False), sa.Column("plan_hash", T, nullable=False),
        sa.Column("body", T, nullable=False),
        sa.UniqueConstraint("incident", "step", "kind", "by", "plan_hash", name="uq_decision_once"),
    )  # fmt: skip
    op.create_table(
        "vault",
        sa.Column("ref", T, primary_key=True), sa.Column("owner", T, nullable=False),
        sa.Column("label", T, nullable=False),
        sa.Column("credential", T, nullable=False), sa.Column("sealed", sa.LargeBinary),
        sa.Column("fingerprint", T, nullable=False),
        sa.Column("sealed_at", T, nullable=False), sa.Column("wiped_at", T),
        sa.UniqueConstraint("owner", "label", name="uq_vault_label"),
    )  # fmt: skip
    op.create_table(
        "inbox",
        sa.Column("id", T, primary_key=True), sa.Column("source", T, nullable=False),
        sa.Column("landed_at", T, nullable=False),
        sa.Column("body", T, nullable=False), sa.Column("raw_sha256", T, nullable=False),
        sa.Column("state", T, nullable=False),
        sa.Column("note", T, nullable=False),
    )  # fmt: skip
    op.create_table(
        "evidence",
        sa.Column("incident", T, primary_key=True), sa.Column("name", T, primary_key=True),
        sa.Column("sha256", T, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False), sa.Column("original_sha256", T, nullable=False),
        sa.Column("at", T, nullable=False),
    )  # fmt: skip
    op.create_table("setting", sa.Column("name", T, primary_key=True), sa.Column("value", T, nullable=False))


def downgrade() -> None:
    for name in ("setting", "evidence", "inbox", "vault", "decision", "timeline", "incident"):
        op.drop_table(name)
