"""Each signal over the range's own records: red with the attack, silent with what the company does by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.actions.signals import JudgeIn, JudgeOutcome
from bot.errors import Forbidden
from bot.model import Credential, PackageVersion, Verdict
from bot.range import company, history
from bot.range.company import FERRY
from bot.range.npm_company import BAD, PACKAGE
from bot.range.npm_theft import NpmTheft
from bot.range.people import as_person
from bot.range.thief import PLANTED
from bot.range.token_thief import TokenInImage
from bot.store import iso
from tests.actions.conftest import USER, Drill, proof


def judged(drill: Drill, since: str, credential: Credential, user: str = "") -> JudgeOutcome:
    _, outcome = drill.do("signals.judge", JudgeIn(credential=credential, repository=FERRY, since=since, user=user))
    assert isinstance(outcome, JudgeOutcome)
    return outcome


def later(drill: Drill) -> str:
    """A moment that is not that of the seed, ISO 8601."""
    drill.range.clock.advance(60)
    return iso(drill.world.now())


def red(outcome: JudgeOutcome) -> set[tuple[str, str]]:
    return {(one.signal, one.what) for one in outcome.findings if one.sure != "possible"}


def key(drill: Drill) -> Credential:
    return Credential(provider="aws", kind="aws-access-key", id=drill.leaked)


NPM = Credential(provider="npm", kind="npm-token", fingerprint="hmac:made-up", account="mara")
PAT = Credential(provider="github", kind="github-pat-classic", fingerprint="hmac:made-up")


def test_the_key_drill_shows_the_api_target_and_the_log(drill: Drill) -> None:
    since = later(drill)
    drill.leak_and_abuse()
    outcome = judged(drill, since, key(drill), USER)
    assert red(outcome) >= {("api-target", "new-service"), ("api-target", "new-action"), ("build-log", "known-secret")}
    said = json.dumps([one.says for one in outcome.findings])
    assert "iam:CreateUser" in said
    assert "base64" in said, "masking had missed it"
    assert drill.range.company.deploy_key[1] not in said


def test_judged_again_it_is_the_same_and_each_secret_is_told_once(drill: Drill) -> None:
    since = later(drill)
    drill.leak_and_abuse()
    given = JudgeIn(credential=key(drill), repository=FERRY, since=since, user=USER)
    before, outcome = drill.do("signals.judge", given)
    again = proof(drill, "signals.judge", given, before, outcome)
    assert again.verdict == Verdict.PROVEN, again.detail
    logs = [one for one in outcome.findings if one.signal == "build-log"]
    assert len({one.evidence for one in logs}) == len(logs) > 0


def test_without_the_attack_only_the_log_is_red(drill: Drill) -> None:
    since = later(drill)
    drill.range.leak()
    drill.hold_leaked()
    assert {signal for signal, _ in red(judged(drill, since, key(drill), USER))} == {"build-log"}


def test_a_run_that_prints_nothing_is_silent(drill: Drill) -> None:
    since = later(drill)
    history.deploys(drill.range)
    drill.hold_leaked()
    path = f"/actions/workflows/{company.TEST.rsplit('/', 1)[-1]}/dispatches"
    as_person(drill.range, "mara", "POST", path, {"ref": "main"})
    drill.range.clock.advance(600)
    outcome = judged(drill, since, key(drill), USER)
    assert red(outcome) == set()
    assert "1 logs" in outcome.read


def test_the_token_drill_shows_the_release_path_and_the_keys_life(drill: Drill) -> None:
    theft, since = NpmTheft(drill.range), later(drill)
    theft.leak()
    drill.range.clock.advance(3600)
    assert red(judged(drill, since, NPM)) == set(), "a release that was tagged and ran"
    assert red(judged(drill, since, key(drill), USER)) == set()
    theft.abuse("")
    outcome = judged(drill, since, NPM)
    assert red(outcome) == {("release-path", "unexplained")}
    assert outcome.versions == (PackageVersion(package=PACKAGE, version=BAD),)
    assert red(judged(drill, since, key(drill), USER)) >= {("token-lifetime", "outside-jobs")}


def test_the_image_drill_shows_the_deploy_source(drill: Drill) -> None:
    theft, since = TokenInImage(drill.range), later(drill)
    theft.leak()
    assert red(judged(drill, since, PAT)) == set()
    theft.abuse("")
    outcome = judged(drill, since, PAT)
    assert red(outcome) == {("deploy-source", "new-workflow")}
    assert PLANTED in outcome.findings[0].says
    assert "STATUS_PAGE_TOKEN" in outcome.findings[0].says


def test_what_a_source_refuses_is_said_and_the_others_are_judged(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    since = later(drill)
    drill.leak_and_abuse()
    real = drill.world.github.pages

    def pages(path: str, items: str = "", **params: Any) -> Any:
        if "/actions/runs" in path:
            raise Forbidden("GitHub refused it", provider="github", permission="actions:read")
        return real(path, items, **params)

    monkeypatch.setattr(drill.world.github, "pages", pages)
    outcome = judged(drill, since, key(drill), USER)
    assert any("GitHub refused it" in text for text in outcome.unknown)
    assert ("api-target", "new-service") in red(outcome)


def test_what_came_in_meanwhile_refutes_the_judgement(drill: Drill) -> None:
    given = JudgeIn(credential=key(drill), repository=FERRY, since=iso(drill.world.now()), user=USER)
    history.deploys(drill.range)
    before, outcome = drill.do("signals.judge", given)
    assert proof(drill, "signals.judge", given, before, outcome).verdict == "proven"
    drill.as_leaked("iam").create_user(UserName="svc-late")
    late = proof(drill, "signals.judge", given, before, outcome)
    assert (late.verdict, "iam:CreateUser" in late.detail) == ("refuted", True)
