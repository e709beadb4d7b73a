"""The tables of our own, as the newest migration leaves them; the engine's stand beside them and are DBOS's.

Times are ISO 8601 UTC text, bodies are canonical JSON text.
"""

from __future__ import annotations

import sqlalchemy as sa

NEWEST = "0009"  # the last migration

metadata = sa.MetaData()
Text, Int = sa.Text, sa.BigInteger

incident = sa.Table(
    "incident", metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("opened_at", Text, nullable=False),
    sa.Column("world", Text, nullable=False),  # real, or range: a drill
    sa.Column("status", Text, nullable=False),  # open, closed, aborted
    sa.Column("title", Text, nullable=False),
    sa.Column("credential_key", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # report, playbook id, text and hash, severity: never a secret
    sa.Column("head_n", sa.Integer, nullable=False, default=0),
    sa.Column("head_hash", Text, nullable=False, default=""),
    sa.Index("ix_incident_open", "status", "credential_key"),
)  # fmt: skip

timeline = sa.Table(
    "timeline", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("step", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("schema", sa.Integer, nullable=False),
    sa.Column("body", Text),  # NULL once tombstoned: the chain covers the digest
    sa.Column("body_sha256", Text, nullable=False),
    sa.Column("prev_hash", Text, nullable=False),
    sa.Column("hash", Text, nullable=False),
    sa.UniqueConstraint("incident", "step", "kind", "attempt", name="uq_timeline_once"),
)  # fmt: skip

decision = sa.Table(
    "decision", metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("incident", Text, nullable=False),
    sa.Column("step", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),  # approve, deny, answer, abort, undo, waive, retry
    sa.Column("by", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("plan_hash", Text, nullable=False),
    sa.Column("body", Text, nullable=False),
    sa.UniqueConstraint("incident", "step", "kind", "by", "plan_hash", name="uq_decision_once"),
)  # fmt: skip

vault = sa.Table(
    "vault", metadata,
    sa.Column("ref", Text, primary_key=True),
    sa.Column("owner", Text, nullable=False),  # an incident, or an inbox row that has none yet
    sa.Column("label", Text, nullable=False),
    sa.Column("credential", Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary),  # NULL once wiped
    sa.Column("fingerprint", Text, nullable=False),
    sa.Column("sealed_at", Text, nullable=False),
    sa.Column("wiped_at", Text),
    sa.UniqueConstraint("owner", "label", name="uq_vault_label"),
)  # fmt: skip

inbox = sa.Table(
    "inbox", metadata,
    sa.Column("id", Text, primary_key=True),  # the delivery's own key: landed again, it is the same row
    sa.Column("source", Text, nullable=False),
    sa.Column("landed_at", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # scrubbed
    sa.Column("raw_sha256", Text, nullable=False),
    sa.Column("state", Text, nullable=False),  # landed, worked, held, dead
    sa.Column("note", Text, nullable=False, default=""),
    sa.Column("rank", sa.Integer, nullable=False, server_default="0"),  # lower is worked sooner
    sa.Index("ix_inbox_state", "state", "rank", "landed_at"),
)  # fmt: skip

known_as = sa.Table(
    "known_as", metadata,
    sa.Column("world", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),  # a credential's key, a digest of it, what a scanner calls it
    sa.Column("incident", Text, nullable=False),  # the newest that deals with it
)  # fmt: skip

fact = sa.Table(
    "fact", metadata,
    sa.Column("id", Text, primary_key=True),  # delivery and place in it: landed again, it is the same row
    sa.Column("source", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),  # workflow_run.completed, push, deploy_key.created, ...
    sa.Column("repository", Text, nullable=False),
    sa.Column("at", Text, nullable=False),  # when it happened, as the sender says; otherwise when it landed
    sa.Column("landed_at", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # scrubbed
    sa.Index("ix_fact_where", "repository", "kind", "at"),
    sa.Index("ix_fact_landed", "landed_at"),
)  # fmt: skip

evidence = sa.Table(
    "evidence", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("sha256", Text, primary_key=True),
    sa.Column("size", Int, nullable=False),
    sa.Column("original_sha256", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
)  # fmt: skip

slack_delivery = sa.Table(
    "slack_delivery", metadata,
    sa.Column("id", Text, primary_key=True),  # made from the event itself: delivered again, it is the same row
    sa.Column("signature", Text, unique=True),  # of the request; seen again, it is a replay. NULL in Socket Mode
    sa.Column("kind", Text, nullable=False),  # block_actions, view_submission, command, event, ...
    sa.Column("landed_at", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # scrubbed; without tokens and answering addresses
    sa.Column("state", Text, nullable=False),  # landed, done, dead
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("note", Text, nullable=False),
    sa.Index("ix_slack_delivery_state", "state", "landed_at"),
)  # fmt: skip

drill_order = sa.Table(
    "drill_order", metadata,
    sa.Column("id", Text, primary_key=True),  # made by whoever orders: ordered again, it is the same row
    sa.Column("drill", Text, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("channel", Text, nullable=False),  # "" = where drills are told otherwise
    sa.Column("at", Text, nullable=False),
    sa.Column("state", Text, nullable=False),  # ordered, running, over, failed
    sa.Column("incident", Text, nullable=False),  # "" = none yet
    sa.Column("note", Text, nullable=False),
    sa.Column("told", Text, nullable=False),  # the state that whoever ordered was told of last
    sa.Column("mode", Text, nullable=False, server_default=""),  # "", team, alone: to whom its choices are put
    sa.Index("ix_drill_order_state", "state", "at"),
)  # fmt: skip

drill_line = sa.Table(  # what a drill tells those to whom its choices are put, and what they answer
    "drill_line", metadata,
    sa.Column("order_id", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),  # told once under it
    sa.Column("n", sa.Integer, nullable=False),  # its place among the lines of this drill
    sa.Column("kind", Text, nullable=False),  # alert, inject, put, chosen, consequence, mended, scored
    sa.Column("body", Text, nullable=False),
    sa.Column("answer", Text, nullable=False),  # of a put: what was answered, by whom; "" = nothing yet
)  # fmt: skip

drill_score = sa.Table(  # what a drill has shown of those who trained; it names nobody
    "drill_score", metadata,
    sa.Column("id", Text, primary_key=True),  # of the order, or drawn once for a drill at the terminal
    sa.Column("drill", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("team", Text, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),  # of 100
    sa.Column("people", Text, nullable=False),  # digests, so that people can be counted
    sa.Index("ix_drill_score_at", "at"),
)  # fmt: skip

drill_schedule = sa.Table(
    "drill_schedule", metadata,
    sa.Column("id", Text, primary_key=True),
    sa.Column("drill", Text, nullable=False),
    sa.Column("day", Text, nullable=False),  # mon to sun
    sa.Column("time", Text, nullable=False),  # 10:00, of its zone
    sa.Column("zone", Text, nullable=False),
    sa.Column("channel", Text, nullable=False),  # "" = where drills are told otherwise
    sa.Column("missed", Text, nullable=False),  # run, drop: what becomes of one that nobody was there to start
    sa.Column("skips", Text, nullable=False),  # dates on which it does not run, of its zone
    sa.Column("by", Text, nullable=False),
    sa.Column("last", Text, nullable=False),  # the last nominal time that was decided on; at first, when it was made
)  # fmt: skip

setting = sa.Table(
    "setting", metadata,
    sa.Column("name", Text, primary_key=True),
    sa.Column("value", Text, nullable=False),
)  # fmt: skip

post = sa.Table(
    "post", metadata,
    sa.Column("key", Text, primary_key=True),  # what is said, once: incident/card, incident/said/12, incident/page/…
    sa.Column("incident", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),  # card, place, said, reminder, owner, files, home, page
    sa.Column("state", Text, nullable=False),  # intended, sent, over
    sa.Column("at", Text, nullable=False),
    sa.Column("upto", sa.Integer, nullable=False),  # of a card: the last event that its thread has told
    sa.Column("body", Text, nullable=False),  # where it stands: ids and digests, never what it says
    sa.Index("ix_post_incident", "incident", "kind"),
    sa.Index("ix_post_state", "kind", "state"),
)  # fmt: skip

quiz_card = sa.Table(
    "quiz_card", metadata,
    sa.Column("person", Text, primary_key=True),
    sa.Column("question", Text, primary_key=True),
    sa.Column("box", sa.Integer, nullable=False),
    sa.Column("due", Text, nullable=False),
    sa.Index("ix_quiz_card_due", "due"),
)  # fmt: skip

quiz_asked = sa.Table(
    "quiz_asked", metadata,
    sa.Column("id", Text, primary_key=True),  # one putting of a question to one person: answered twice, it counts once
    sa.Column("person", Text, nullable=False),
    sa.Column("question", Text, nullable=False),
    sa.Column("tag", Text, nullable=False),
    sa.Column("incident", Text, nullable=False),  # the one that it belongs to; "" = none
    sa.Column("at", Text, nullable=False),
    sa.Column("body", Text, nullable=False),  # the question as it was shown, and the order of its options' ids
    sa.Column("state", Text, nullable=False),  # asked, answered, skipped
    sa.Column("chosen", Text, nullable=False, server_default=""),
    sa.Column("sure", sa.Integer, nullable=False, server_default="0"),
    sa.Column("is_right", sa.Integer, nullable=False, server_default="0"),
    sa.Column("answered_at", Text, nullable=False, server_default=""),
    sa.Index("ix_quiz_asked_person", "person", "state"),
)  # fmt: skip

postmortem = sa.Table(
    "postmortem", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("drafted_at", Text, nullable=False),
    sa.Column("published_at", Text, nullable=False, server_default=""),
    sa.Column("published_by", Text, nullable=False, server_default=""),
    sa.Column("body", Text, nullable=False, server_default=""),  # as it was published: its Markdown, scrubbed
)  # fmt: skip

postmortem_edit = sa.Table(
    "postmortem_edit", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("key", Text, nullable=False),  # of what brought it: brought again, it is the same edit
    sa.Column("field", Text, nullable=False),
    sa.Column("by", Text, nullable=False),
    sa.Column("at", Text, nullable=False),
    sa.Column("seen", sa.Integer, nullable=False),  # the number of the last edit that its writer had seen
    sa.Column("text", Text, nullable=False),  # scrubbed
    sa.UniqueConstraint("incident", "key", "field", name="uq_postmortem_edit_once"),
)  # fmt: skip

follow_up = sa.Table(
    "follow_up", metadata,
    sa.Column("incident", Text, primary_key=True),
    sa.Column("id", Text, primary_key=True),
    sa.Column("state", Text, nullable=False),  # open, done, reopened
    sa.Column("checked_at", Text, nullable=False, server_default=""),
    sa.Column("detail", Text, nullable=False, server_default=""),  # what the last look found
    sa.Column("changes", sa.Integer, nullable=False, server_default="0"),
)  # fmt: skip
