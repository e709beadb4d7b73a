"""The installation itself: its people, its state, its evidence, its playbooks."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from bot.app import load_playbooks, load_policy, opened, rules_cache, shelf_of
from bot.doctor.found import BROKEN, MISSING, OK, WARNING, Finding
from bot.engine.freeze import SETTING
from bot.engine.rules import drilled_name
from bot.errors import BulkheadError, Forbidden
from bot.intake import missed
from bot.playbook import Playbook
from bot.settings import Settings


def drilled(settings: Settings, book: Playbook) -> str:
    """Which drill has proven this very text, and when; "" when none has."""
    if not _has_store(settings):
        return ""
    with opened(settings, sites={}) as bulkhead:
        said = json.loads(bulkhead.store.setting(drilled_name(book.id), "{}"))
    return f"{said['drill']} on {said['at'][:10]}" if said.get("sha256") == book.sha256 else ""


def _has_store(settings: Settings) -> bool:
    return bool(settings.database_url) or (settings.home / "bulkhead.db").is_file()


def people(settings: Settings) -> list[Finding]:
    policy = load_policy()
    people = sorted(settings.people | {name for group in policy.groups.values() for name in group})
    if people:
        yes = f"{len(people)}: {', '.join(people)}"
        short = "" if len(people) > 1 else "What needs two people can never be agreed to."
        found = Finding(name="Responders", state=OK if len(people) > 1 else WARNING, detail=yes, disables=short)
    else:
        text, hint = "Every step that asks waits for ever.", "Set BULKHEAD_RESPONDERS=NAME,NAME."
        found = Finding(name="Responders", state=MISSING, detail="nobody", disables=text, suggestion=hint)
    if settings.mode == "observe":
        text, hint = "Incidents say what they would do and change nothing.", "Set BULKHEAD_MODE=ask when you trust it."
        return [found, Finding(name="Mode", state=WARNING, detail="observe", disables=text, suggestion=hint)]
    detail = {"ask": "ask: one person agrees to every change", "act": "act: policy.yaml decides"}[settings.mode]
    return [found, Finding(name="Mode", state=OK, detail=detail)]


def state(settings: Settings) -> list[Finding]:
    own = [_database(settings), _evidence(settings), _vault_key(settings), _rules()]
    return [*_frozen(settings), *own, *_missed(settings)]


def _frozen(settings: Settings) -> list[Finding]:
    """The kill switch, when it is on."""
    try:
        if not settings.freeze and not _has_store(settings):
            return []
        with opened(settings, sites={}) as bulkhead:
            stands = bulkhead.switch.standing()
    except BulkheadError:
        return []  # the database's own finding says why
    if stands is None:
        return []
    text, hint = "No step that changes anything begins.", "`bulkhead freeze off --reason WHY` goes on."
    hint = f"Take {SETTING} out of the environment." if stands.by == SETTING else hint
    detail = f"by {stands.by}: {stands.reason}"
    return [Finding(name="Frozen", state=WARNING, detail=detail, disables=text, suggestion=hint)]


def _missed(settings: Settings) -> list[Finding]:
    """Whether what webhooks missed is asked for, and whether that succeeds."""
    wanted = bool(settings.catch_up or settings.catch_up_aws or settings.gitguardian_token.get_secret_value())
    if not wanted:
        short = [name for name in ("github", "gitguardian") if name in settings.hook_secrets]
        if not short:
            return []
        text = "GitHub and GitGuardian send once: what comes while the door is shut is lost."
        hint = "Set BULKHEAD_CATCH_UP=OWNER and BULKHEAD_GITGUARDIAN_TOKEN."
        return [Finding(name="Catch-up", state=MISSING, detail="not set", disables=text, suggestion=hint)]
    if not _has_store(settings):
        return [Finding(name="Catch-up", state=OK, detail="begins with the first `bulkhead serve` or `bulkhead clock`")]
    try:
        with opened(settings, sites={}) as bulkhead:
            states = missed.states(bulkhead.store)
    except BulkheadError:
        return []  # the database's own finding says why
    bad = {name: state.why for name, state in states.items() if state.why}
    if bad:
        late = any(states[name].late(datetime.now(UTC)) for name in bad)
        how, text = BROKEN if late else WARNING, "What its webhook missed meanwhile is not known."
        said = [f"{name}: {why}" for name, why in bad.items()]
        return [Finding(name="Catch-up", state=how, detail=one, disables=text) for one in said]
    if not states:
        hint = "`bulkhead serve` or `bulkhead clock` asks."
        return [Finding(name="Catch-up", state=WARNING, detail="nothing was ever asked", suggestion=hint)]
    last = min(state.succeeded for state in states.values())
    return [Finding(name="Catch-up", state=OK, detail=f"{', '.join(sorted(states))}; all asked since {last[:19]}Z")]


def _database(settings: Settings) -> Finding:
    where = "the one that BULKHEAD_DATABASE_URL names" if settings.database_url else f"SQLite in {settings.home}"
    if not _has_store(settings):
        return Finding(name="Database", state=OK, detail=f"{where}; it is made on first use")
    try:
        with opened(settings, sites={}) as bulkhead:
            count = len(bulkhead.store.incidents("open"))
    except BulkheadError as exc:
        return Finding(name="Database", state=BROKEN, detail=f"{where}: {exc}", disables="Nothing works without it.")
    return Finding(name="Database", state=OK, detail=f"{where}; {count} open incidents")


def _vault_key(settings: Settings) -> Finding:
    path = settings.home / "vault.key"
    if settings.vault_key.get_secret_value():
        return Finding(name="Vault key", state=OK, detail="in the environment")
    hint = "Keep a copy elsewhere: without it, what is sealed is lost."
    if not path.is_file():
        return Finding(name="Vault key", state=OK, detail=f"{path}; it is made on first use", suggestion=hint)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        text = f"{path} can be read by others on this machine"
        return Finding(name="Vault key", state=WARNING, detail=text, suggestion=f"chmod 600 {path}")
    return Finding(name="Vault key", state=OK, detail=str(path), suggestion=hint)


def _rules() -> Finding:
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = rules_cache() or Path(os.environ.get("KF_RULE_CACHE_DIR") or Path(caches) / "kingfisher")
    if folder.is_dir() and any(folder.iterdir()):
        return Finding(name="Kingfisher's rules", state=OK, detail=f"compiled, in {folder}")
    hint = "`make setup` compiles them."
    text = "The first report waits about four seconds for them."
    return Finding(name="Kingfisher's rules", state=WARNING, detail="not compiled yet", disables=text, suggestion=hint)


def books(settings: Settings) -> list[Finding]:
    try:
        books = load_playbooks(settings)
    except BulkheadError as exc:
        text = "No report can be worked."
        return [Finding(name="Playbooks", state=BROKEN, detail=str(exc), disables=text)]
    return [_book(settings, book) for book in books.values()]


def _book(settings: Settings, book: Playbook) -> Finding:
    name = f"Playbook {book.id}"
    if not book.drill:
        return Finding(name=name, state=WARNING, detail="no drill proves it", disables="It never acts without asking.")
    try:
        when = drilled(settings, book)
    except BulkheadError:
        when = ""  # the database's own finding says why
    if when:
        return Finding(name=name, state=OK, detail=f"proven by {when}")
    hint, detail = f"Prove it: `bulkhead playbook check --drill {book.source}`.", f"not yet proven here by {book.drill}"
    return Finding(name=name, state=WARNING, detail=detail, suggestion=hint)


def _evidence(settings: Settings) -> Finding:
    if settings.evidence_bucket is None:
        return Finding(name="Evidence", state=OK, detail=f"in {settings.evidence_folder}")
    bucket, prefix = settings.evidence_bucket
    where = f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"
    rights = f"s3:PutObject and s3:GetObject on {where}, s3:ListBucket on arn:aws:s3:::{bucket}"
    none = "What a step destroys cannot be saved first, so it waits; a cut goes on without."
    try:
        shelf_of(settings).get(hashlib.sha256(b"nothing has this digest but nothing").hexdigest())
    except FileNotFoundError:
        pass  # what is not there is said to be not there: it may be asked
    except Forbidden as exc:
        return Finding(
            name="Evidence", state=BROKEN, detail=str(exc), disables=none, suggestion=f"Its identity needs {rights}."
        )
    except BulkheadError as exc:
        hint = "Check the bucket's name, BULKHEAD_AWS_REGION, the credentials that boto3 finds here, and the network."
        return Finding(name="Evidence", state=BROKEN, detail=str(exc), disables=none, suggestion=hint)
    text = f"{settings.evidence} can be read; whether it can be written is not tried. It needs {rights}"
    hint = "Block public access; versioning and Object Lock keep it from whoever steals the identity."
    return Finding(name="Evidence", state=OK, detail=text, suggestion=hint)
