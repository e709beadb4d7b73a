"""Kingfisher's library as an action: a provider of our own on loopback, its rules, and nothing of it made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from bot.actions import kingfisher, people
from bot.actions.kingfisher import RevokeIn
from bot.clients import AwsClients, GitHubClient, RealClock
from bot.errors import InputError, Unavailable
from bot.evidence import EvidenceRoom
from bot.model import OTHER, Credential, Effect, Grade, Verdict
from bot.store import Store
from bot.triage.identify import Recognizer
from bot.triage.longtail import Tail
from bot.vault import Vault
from bot.world import World
from tests.tail import KINDS, Provider, provider

NOWHERE = "http://127.0.0.1:9"


@dataclass
class House:
    """The real World of one incident, as far as an action of the long tail needs it."""

    provider: Provider
    world: World
    recognizer: Recognizer

    def leaked(self, name: str, text: str = "") -> tuple[Credential, str]:
        """A live value, found in a text and sealed as triage does."""
        value = self.provider.token(name)
        (found,) = self.recognizer.find((text or "TOKEN={}\n").format(value))
        self.world.secrets.seal(f"leaked:{found.key}", found.value, found.key)
        for label, beside in found.beside.items():
            self.world.secrets.seal(label, beside)
        assert found.kind == f"{OTHER}{name}"
        return found.credential, value


@pytest.fixture(scope="module")
def shore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Recognizer]]:
    folder = tmp_path_factory.mktemp("shore")
    with provider(folder) as (there, rules):
        yield there, Recognizer(files=[rules], cache_dir=folder / "cache", builtins=False)


@pytest.fixture
def house(shore: tuple[Provider, Recognizer], tmp_path: Path) -> Iterator[House]:
    there, recognizer = shore
    there.live, there.asked, there.fault, there.keeps = set(), [], "", False
    store = Store(f"sqlite:///{tmp_path / 'test.db'}")
    store.migrate()
    vault, clock = Vault(store, bytes(range(32))), RealClock()
    recognizer.fingerprinter = vault.fingerprinter
    world = World(
        name="real", clock=clock, scrub=vault.scrubber, aws=AwsClients(key_id="a", secret="b", endpoint=NOWHERE),
        github=GitHubClient(token="none", base_url=NOWHERE), secrets=vault.of("i", clock),
        evidence=EvidenceRoom(store, tmp_path / "evidence").of("i", clock), long_tail=Tail(recognizer, loopback=True),
    )  # fmt: skip
    yield House(there, world, recognizer)
    store.close()


def done(house: House, credential: Credential) -> tuple[kingfisher.RevokeOutcome, tuple[Verdict, Grade | None]]:
    given = RevokeIn(credential=credential)
    before = kingfisher.revoke.look(house.world, given)
    outcome = kingfisher.revoke.run(house.world, given, before)
    proof = kingfisher.revoke.prove(house.world, given, before, outcome)
    return outcome, (proof.verdict, proof.grade)


PROVEN = Verdict.PROVEN, Grade.REFUSED
WORD = Verdict.PROVEN, Grade.WORD


def test_it_cuts_asks_a_person_and_is_not_taken_back() -> None:
    assert kingfisher.revoke.effect == Effect.CONTAIN
    assert kingfisher.revoke.asks
    assert kingfisher.revoke.undo is None


@pytest.mark.parametrize("name", KINDS)
def test_before_a_person_has_agreed_nobody_is_asked(house: House, name: str) -> None:
    credential, value = house.leaked(name, "harbor_code = {}\n")
    before = kingfisher.revoke.look(house.world, RevokeIn(credential=credential))
    _, checks, revokes = KINDS[name]
    assert (before.held, before.checks, before.revokes) == (True, checks, revokes)
    assert before.hosts == ((house.provider.url.removeprefix("http://"),) if checks or revokes else ())
    assert value not in before.summary
    task = people.DoIn(who="mara", task="revoke it", credential=credential)
    assert people.do.look(house.world, task).needed
    assert house.provider.asked == []


@pytest.mark.parametrize("name", ["harbor-token", "harbor-code"])
def test_a_live_one_is_revoked_and_refused_afterwards(house: House, name: str) -> None:
    credential, value = house.leaked(name, "harbor_code = {}\n")
    outcome, proof = done(house, credential)
    assert outcome.changed
    assert proof == PROVEN
    assert value not in house.provider.live
    assert [verb for verb, _ in house.provider.asked] == ["GET", "GET", "DELETE", "GET"]


def test_of_a_value_whose_surroundings_are_gone_nothing_is_claimed(house: House) -> None:
    credential, _ = house.leaked("harbor-code", "harbor_code = {}\n")
    house.world.secrets.wipe(house.world.secrets.ref(f"around:{credential.key}"))
    outcome, proof = done(house, credential)
    assert outcome.left_to_owner
    assert "without the text" in outcome.summary
    assert proof == WORD
    assert house.provider.asked == []


def test_one_that_is_dead_already_is_left_alone_and_proven(house: House) -> None:
    credential, _ = house.leaked("harbor-token")
    house.provider.live.clear()
    outcome, proof = done(house, credential)
    assert not outcome.changed
    assert not outcome.left_to_owner
    assert proof == PROVEN
    assert house.provider.count("DELETE") == 0


def test_the_answer_is_lost_or_we_die_before_it_is_written_down(house: House) -> None:
    credential, _ = house.leaked("harbor-token")
    given = RevokeIn(credential=credential)
    before = kingfisher.revoke.look(house.world, given)
    assert house.world.long_tail is not None
    secret = house.world.secrets.of(credential.key)
    assert secret is not None
    house.world.long_tail.revoke(credential.kind, secret, None)  # done, and nobody knows
    again = kingfisher.revoke.run(house.world, given, before)
    assert not again.changed
    assert kingfisher.revoke.prove(house.world, given, before, again).grade == Grade.REFUSED
    assert house.provider.count("DELETE") == 1


def test_a_provider_that_is_away_is_asked_again_later(house: House) -> None:
    credential, _ = house.leaked("harbor-token")
    given = RevokeIn(credential=credential)
    before = kingfisher.revoke.look(house.world, given)
    for fault in ("away", "lost"):
        house.provider.fault = fault
        with pytest.raises(Unavailable):
            kingfisher.revoke.run(house.world, given, before)
    assert house.provider.count("DELETE") == 0
    assert kingfisher.revoke.run(house.world, given, before).changed


def test_the_proof_does_not_believe_the_run(house: House) -> None:
    credential, _ = house.leaked("harbor-token")
    house.provider.keeps = True
    outcome, proof = done(house, credential)
    assert outcome.changed
    assert proof[0] == Verdict.NOT_YET


def test_without_a_revocation_its_owner_does_it_and_the_check_shows_it(house: House) -> None:
    credential, value = house.leaked("harbor-badge")
    outcome, proof = done(house, credential)
    assert outcome.left_to_owner
    assert "harbor-badge" in outcome.task
    assert proof == WORD, "what nobody has revoked is not closed"
    task = people.DoIn(who="mara", task=outcome.task, credential=credential)
    before = people.do.look(house.world, task)
    said = people.Answer(changed=True, by="mara", answer="done", summary="")
    assert people.do.prove(house.world, task, before, said).verdict == Verdict.NOT_YET
    house.provider.live.discard(value)
    shown = people.do.prove(house.world, task, before, said)
    assert (shown.verdict, shown.grade) == PROVEN


@pytest.mark.parametrize(("name", "changed"), [("harbor-slip", True), ("harbor-note", False)])
def test_without_a_check_there_is_only_word(house: House, name: str, changed: bool) -> None:
    credential, value = house.leaked(name)
    outcome, proof = done(house, credential)
    assert (outcome.changed, outcome.left_to_owner) == (changed, not changed)
    assert (value in house.provider.live) != changed
    assert proof == WORD
    task = people.DoIn(who="mara", task="revoke it", credential=credential)
    said = people.Answer(changed=True, by="mara", answer="done", summary="")
    shown = people.do.prove(house.world, task, people.do.look(house.world, task), said)
    assert (shown.verdict, shown.grade) == WORD


def test_who_is_asked_is_on_loopback_only_where_the_test_says_so(house: House) -> None:
    """A rule of a stranger's that names an address inside is not followed by the check."""
    credential, _ = house.leaked("harbor-token")
    secret = house.world.secrets.of(credential.key)
    assert secret is not None
    live, why = Tail(house.recognizer).tried(credential.kind, secret, None)
    assert (live.value, house.provider.asked) == ("unknown", [])
    assert "target_blocked" in why


def test_kinds_of_ours_and_values_that_are_not_held_are_not_for_it(house: House) -> None:
    with pytest.raises(InputError, match="not of the long tail"):
        kingfisher.revoke.look(house.world, RevokeIn(credential=Credential(provider="npm", kind="npm-token", id="1")))
    unheld = Credential(provider="harbor", kind="other-harbor-token", fingerprint="hmac:00")
    outcome, proof = done(house, unheld)
    assert outcome.left_to_owner
    assert proof == WORD
    assert house.provider.asked == []


def test_what_it_writes_down_holds_no_value_and_survives_the_journal(house: House) -> None:
    credential, value = house.leaked("harbor-token")
    given = RevokeIn(credential=credential)
    before = kingfisher.revoke.look(house.world, given)
    outcome = kingfisher.revoke.run(house.world, given, before)
    for one in (given, before, outcome):
        text = TypeAdapter(type(one)).dump_json(one)
        assert TypeAdapter(type(one)).validate_json(text) == one
        assert value.encode() not in text


def test_a_drills_world_cannot_hold_it(house: House) -> None:
    with pytest.raises(InputError, match="may not hold the long tail"):
        replace(house.world, name="range")
    without = replace(house.world, name="range", long_tail=None)
    credential, _ = house.leaked("harbor-token")
    given = RevokeIn(credential=credential)
    before = kingfisher.revoke.look(without, given)
    assert kingfisher.revoke.run(without, given, before).left_to_owner
    assert house.provider.asked == []
