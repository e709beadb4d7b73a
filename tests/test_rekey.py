"""The vault key is changed: nothing is lost, fingerprints stay, the old key is refused, and a kill leaves a way on."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import heartbeat, rekey
from bot.app import Bulkhead, opened
from bot.errors import InputError, VaultError
from bot.settings import Settings
from bot.store import Store, iso, one_worker
from bot.tables import vault as table
from bot.vault import CHECK, KEY_FILE, Vault, load_key, rotate
from tests.cli.test_decisions import Type, home, typed
from tests.databases import Make
from tests.test_drain import until
from tests.test_processes import child

__all__ = ["home", "typed"]
OLD, NEW, NEWER = b"k" * 32, b"n" * 32, b"m" * 32
VALUES = {f"label-{k}": f"made-up-value-{k}-" + "x" * 20 for k in range(5)}
AT = datetime(2026, 1, 2, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return AT


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    store.migrate()
    yield store
    store.close()


def fill(vault: Vault) -> None:
    for label, value in VALUES.items():
        vault.of("inc-1", Clock()).seal(label, value)
    vault.of("inc-2", Clock()).seal("gone", "forgotten-before-" + "y" * 20)
    vault.wipe(owner="inc-2", at=AT)


def held(vault: Vault) -> dict[str, str]:
    found = {label: vault.open(f"vault:inc-1:{label}") for label in VALUES}
    return {label: secret.reveal() for label, secret in found.items() if secret is not None}


def sealed(store: Store) -> dict[str, bytes]:
    with store.connect() as c:
        return {row.ref: row.sealed for row in c.execute(sa.select(table))}


def test_everything_is_sealed_anew_and_fingerprints_are_what_they_were(store: Store) -> None:
    before = Vault(store, OLD)
    fill(before)
    prints = {value: before.fingerprint(value) for value in VALUES.values()}
    was, check = sealed(store), store.setting(CHECK)
    assert rotate(store, OLD, NEW, AT) == len(VALUES)
    with pytest.raises(VaultError, match="rotated at 2026-01-02"):
        Vault(store, OLD)
    after = Vault(store, NEW)
    assert held(after) == VALUES
    assert store.setting(CHECK) != check
    assert {value: after.fingerprint(value) for value in VALUES.values()} == prints
    now = sealed(store)
    assert not {was[ref] for ref in was if was[ref]} & set(now.values())
    assert now["vault:inc-2:gone"] is None, "what was forgotten stays so"
    assert rotate(store, NEW, NEWER, AT) == len(VALUES)
    last = Vault(store, NEWER)
    assert held(last) == VALUES
    assert {value: last.fingerprint(value) for value in VALUES.values()} == prints
    assert last.decisions_key != after.decisions_key != before.decisions_key


def test_with_the_wrong_key_or_a_damaged_value_nothing_is_changed(store: Store) -> None:
    fill(Vault(store, OLD))
    with pytest.raises(VaultError, match="nothing was changed"):
        rotate(store, NEWER, NEW, AT)
    with store.begin() as c:
        c.execute(sa.update(table).where(table.c.label == "label-3").values(sealed=b"0" * 60))
    was = sealed(store)
    with pytest.raises(VaultError, match="vault:inc-1:label-3 does not open"):
        rotate(store, OLD, NEW, AT)
    assert sealed(store) == was
    Vault(store, OLD)


def test_whoever_still_runs_with_the_old_key_seals_and_signs_nothing(store: Store) -> None:
    old = Vault(store, OLD)
    fill(old)
    rotate(store, OLD, NEW, AT)
    with pytest.raises(VaultError, match="start again"):
        old.of("inc-1", Clock()).seal("late", "a-late-value-" + "z" * 20)
    with pytest.raises(VaultError, match="start again"):
        old.open("vault:inc-1:label-1")
    assert "vault:inc-1:late" not in sealed(store)


# attestations ---------------------------------------------------------------------------------------------------------


def slack(bulkhead: Bulkhead, kind: str) -> None:
    who = {"by": "slack:U1", "said": {"slack_groups": ["S1"]}}
    bulkhead.switch.order(kind, at=AT, reason="why", sign=bulkhead.attestor.sign, **who)  # type: ignore[arg-type]


def test_what_was_heard_in_slack_goes_on_counting_and_a_forged_row_still_does_not(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, responders="slack:U1,slack:U2")
    with opened(settings, sites={}) as bulkhead:
        slack(bulkhead, "freeze")
        stands = bulkhead.switch.standing()
        assert stands is not None
        body = {"reason": "x", "signature": "hmac-sha256:" + "0" * 64}
        forged = {"incident": "installation", "step": "installation", "kind": "thaw", "by": "slack:U2", "at": iso(AT),
                  "plan_hash": str(stands.seq), "body": body}  # fmt: skip
        bulkhead.store.add_decision(forged)
        signatures = [row.body["signature"] for row in bulkhead.store.decisions()]
        done = rekey.change(bulkhead.store, tmp_path, tmp_path / KEY_FILE, given="", to=None)
        assert (done.decisions, done.void) == (1, 1)
        with pytest.raises(VaultError, match="start again"):  # a worker that slept must not take it for thawed
            bulkhead.switch.standing()
        with pytest.raises(VaultError, match="start again"):
            bulkhead.attestor.sign(b"what somebody clicks now")
    with opened(settings, sites={}) as bulkhead:
        assert bulkhead.switch.standing() == stands
        now = [row.body["signature"] for row in bulkhead.store.decisions()]
        assert now[0] != signatures[0]
        assert now[1] == signatures[1]


# as it is typed -------------------------------------------------------------------------------------------------------


def test_the_file_holds_the_new_key_afterwards_and_no_other_is_left(typed: Type, home: Path) -> None:
    with opened(Settings(home=home), sites={}) as bulkhead:
        fill(bulkhead.vault)
    before = load_key("", home / KEY_FILE)
    said = json.loads(typed("vault", "rotate", "--json").stdout)
    assert (said["values"], said["key"]) == (len(VALUES), str(home / KEY_FILE))
    assert load_key("", home / KEY_FILE) != before
    assert [path.name for path in home.glob("vault.key*")] == [KEY_FILE]
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    with opened(Settings(home=home), sites={}) as bulkhead:
        assert held(bulkhead.vault) == VALUES
    assert "leave --to out" in typed("vault", "rotate", "--to", str(home / "x"), status=2).stderr


def test_with_the_key_in_the_environment_the_new_one_goes_into_a_file(
    typed: Type, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKHEAD_VAULT_KEY", base64.b64encode(OLD).decode())
    with opened(Settings(home=home, vault_key=base64.b64encode(OLD).decode()), sites={}) as bulkhead:
        fill(bulkhead.vault)
    assert "--to FILE" in typed("vault", "rotate", status=2).stderr
    file = tmp_path / "new.key"
    typed("vault", "rotate", "--to", str(file))
    assert "start again" in typed("freeze", "show", status=1).stderr
    monkeypatch.setenv("BULKHEAD_VAULT_KEY", file.read_text())
    assert "the very key that is in use" in typed("vault", "rotate", "--to", str(file), status=2).stderr
    assert not (home / KEY_FILE).exists()
    with opened(Settings(home=home, vault_key=file.read_text()), sites={}) as bulkhead:
        assert held(bulkhead.vault) == VALUES


def test_while_somebody_works_the_key_stays(typed: Type, home: Path, new_postgres: Make) -> None:
    typed("freeze", "show")
    with one_worker(home):
        assert "another bulkhead worker runs" in typed("vault", "rotate", status=1).stderr
    store = Store(new_postgres())
    try:
        store.migrate()
        now = datetime.now(UTC)
        assert rekey.alive(store, now) == []
        heartbeat.beat(store, "clock", now)
        assert rekey.alive(store, now) == ["clock"]
        with pytest.raises(InputError, match="stop clock"), rekey.nobody_works(store, home):
            pass
        assert rekey.alive(store, now + rekey.SILENT) == []
    finally:
        store.close()


# killed ---------------------------------------------------------------------------------------------------------------

DIE = "import os, signal\ndie = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\nfrom bot import rekey\n"
KILLS = {
    "before the transaction": DIE + "rekey.rotate = die",
    "before its commit": DIE + "import sqlalchemy as sa\n"
    "real = rekey.rotate\n"
    "def rotate(store, *args):\n"
    "    sa.event.listen(store.engine, 'commit', die)\n"
    "    return real(store, *args)\n"
    "rekey.rotate = rotate",
    "after its commit": DIE + "rekey.put_in_place = die",
}


@pytest.mark.parametrize(
    "moment", [pytest.param(one, marks=() if one == "before its commit" else (pytest.mark.slow,)) for one in KILLS]
)
def test_killed_at_any_moment_nothing_is_lost_and_it_can_be_given_again(moment: str, typed: Type, home: Path) -> None:
    with opened(Settings(home=home), sites={}) as bulkhead:
        fill(bulkhead.vault)
        was = bulkhead.store.setting(CHECK)
    run = f"{KILLS[moment]}\nimport sys\nfrom bot.__main__ import main\nsys.argv[1:] = ['vault', 'rotate']\nmain()"
    env = {**os.environ, "BULKHEAD_HOME": str(home), "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", run], env=env, timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (home / "vault.key.new").exists(), "the new key was on disk before anything else"
    with opened(Settings(home=home), sites={}) as bulkhead:  # the next start finds the key that fits
        assert held(bulkhead.vault) == VALUES
        assert (bulkhead.store.setting(CHECK) != was) == (moment == "after its commit")
    typed("vault", "rotate")
    with opened(Settings(home=home), sites={}) as bulkhead:
        assert held(bulkhead.vault) == VALUES
        assert bulkhead.store.setting(CHECK) != was
    assert [path.name for path in home.glob("vault.key*")] == [KEY_FILE]


@pytest.mark.slow
def test_a_process_that_was_forgotten_ends_by_itself(new_postgres: Make, tmp_path: Path) -> None:
    url, key = new_postgres(), base64.b64encode(OLD).decode()
    env = {"BULKHEAD_DATABASE_URL": url, "BULKHEAD_VAULT_KEY": key, "BULKHEAD_EVIDENCE": str(tmp_path / "evidence")}
    settings = Settings(home=tmp_path / "home", database_url=url, vault_key=key, evidence=str(tmp_path / "evidence"))
    with opened(settings, sites={}, release=True) as bulkhead:
        pages = child("web", home=tmp_path, settings=env)
        with subprocess.Popen(**pages, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            until(lambda: process.poll() is not None or bulkhead.store.setting("pages-at"), "the pages")
            rotate(bulkhead.store, OLD, NEW, datetime.now(UTC))
            said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "It was rotated at" in said
    assert "Traceback" not in said

