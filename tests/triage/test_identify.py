"""What bot/triage/identify.py and rules.py must hold."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.redact import Fingerprinter, Scrubber
from bot.triage import rules
from bot.triage.identify import Found, Recognizer
from bot.triage.rules import ALNUM, BASE32, HEX, RULES, chars, example_jwt, example_private_key

PRINTS = Fingerprinter(b"a key of the tests, thirty-two b")


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    return Recognizer(PRINTS)


def pair(seed: int = 1, start: str = "AKIA") -> tuple[str, str]:
    chance = Random(seed)
    account = 123456789012 << 7
    head = base64.b32encode(bytes([0x80 | account >> 40]) + (account & 0xFFFFFFFFFF).to_bytes(5, "big")).decode()[:9]
    return start + head + chars(chance, 7, BASE32), chars(chance, 40, ALNUM + "+/")


def as_log(text: str) -> str:
    return "".join(f"2026-11-23T04:59:26.1234567Z {line}\n" for line in text.splitlines())


def wrapped(text: str) -> str:
    return base64.encodebytes(text.encode()).decode()


def environment(key: str, secret: str, swap: bool = False) -> str:
    halves = [f"AWS_ACCESS_KEY_ID={key}", f"AWS_SECRET_ACCESS_KEY={secret}"]
    some = ["CI=true", "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=harbor-lights/ferry", "HOME=/home/runner"]
    some += ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "RUNNER_OS=Linux"]
    one, two = reversed(halves) if swap else halves
    return "\n".join([*some[:3], one, *some[3:], two, "SHLVL=1"]) + "\n"


SURROUNDINGS: dict[str, tuple[Callable[[str], str], str]] = {
    "raw": (str, "raw"),
    "log": (as_log, "raw"),
    "base64, one line": (lambda t: base64.b64encode(t.encode()).decode(), "base64"),
    "base64, in a log": (lambda t: as_log("##[group]Run env | base64\n" + wrapped(t) + "Done\n"), "base64"),
    "base64 twice, one line": (lambda t: as_log(base64.b64encode(base64.b64encode(t.encode())).decode()), "base64x2"),
    "base64 twice, in a log": (lambda t: as_log("Run a\n" + wrapped(wrapped(t))), "base64x2"),
    "base64 three times": (lambda t: wrapped(wrapped(wrapped(t))), "base64x3"),
    "hex": (lambda t: as_log(t.encode().hex()), "hex"),
    "base64 of hex": (lambda t: wrapped(t.encode().hex()), "base64+hex"),
    "JSON": (lambda t: json.dumps({"log": t}), "raw"),
    "base64 of UTF-16": (lambda t: base64.b64encode(t.encode("utf-16-le")).decode(), "base64"),
}


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("swap", [False, True])
def test_aws_pair_in_an_environment_dump(recognizer: Recognizer, surrounding: str, swap: bool) -> None:
    key, secret = pair()
    wrap, encoding = SURROUNDINGS[surrounding]
    found = [hit for hit in recognizer.find(wrap(environment(key, secret, swap))) if hit.kind == "aws-access-key"]
    assert [(hit.id, hit.value, hit.encoding, hit.complete) for hit in found] == [(key, secret, encoding, True)]
    assert found[0].account == "123456789012"
    assert found[0].fingerprint == PRINTS.of(secret)
    assert found[0].key == f"aws-access-key:{key}"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), before=st.text(ALNUM + " =\n", max_size=90), twice=st.booleans())
def test_aws_pair_is_found_at_any_offset(recognizer: Recognizer, seed: int, before: str, twice: bool) -> None:
    key, secret = pair(seed)
    text = wrapped(before + "\n" + environment(key, secret))
    found = recognizer.find(as_log("Run it\n" + (wrapped(text) if twice else text)))
    assert (key, secret, True) in {(hit.id, hit.value, hit.complete) for hit in found}


@pytest.mark.parametrize(
    "text",
    [
        "[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\nregion = us-east-1\n",
        '{{"AccessKey": {{"UserName": "ferry-ci", "AccessKeyId": "{key}", "SecretAccessKey": "{secret}"}}}}',
        '{{\\"AccessKeyId\\":\\"{key}\\",\\"SecretAccessKey\\":\\"{secret}\\"}}',
        "Access key ID,Secret access key\n{key},{secret}\n",
        "+ export AWS_SECRET_ACCESS_KEY={secret}\n+ export AWS_ACCESS_KEY_ID={key}\n",
        "aws configure set aws_access_key_id {key}\nwith the secret {secret} of course\n",
    ],
)
def test_aws_pair_in_other_forms(recognizer: Recognizer, text: str) -> None:
    key, secret = pair(3)
    found = recognizer.find(as_log(text.format(key=key, secret=secret)))
    assert [(hit.id, hit.value, hit.complete) for hit in found if hit.kind == "aws-access-key"] == [(key, secret, True)]


def test_two_pairs_are_told_apart_by_name_and_not_only_by_distance(recognizer: Recognizer) -> None:
    (one, of_one), (two, of_two) = pair(1), pair(2)
    text = (
        f"PROD_AWS_ACCESS_KEY_ID={one}\nSTAGING_AWS_ACCESS_KEY_ID={two}\n"
        f"PROD_AWS_SECRET_ACCESS_KEY={of_one}\nSTAGING_AWS_SECRET_ACCESS_KEY={of_two}\n"
    )
    assert {(hit.id, hit.value) for hit in recognizer.find(text)} == {(one, of_one), (two, of_two)}


def test_halves_in_different_encodings_are_paired(recognizer: Recognizer) -> None:
    key, secret = pair()
    text = f"AWS_ACCESS_KEY_ID: {key}\nAWS_SECRET_ACCESS_KEY: ***\n" + base64.b64encode(secret.encode()).decode() + "\n"
    (hit,) = recognizer.find(as_log(text))
    assert (hit.id, hit.value, hit.complete, hit.encoding) == (key, secret, True, "base64")


def test_id_alone_is_found_and_is_not_complete(recognizer: Recognizer) -> None:
    key, _ = pair()
    for text in (f"AWS_ACCESS_KEY_ID: {key}\nAWS_SECRET_ACCESS_KEY: ***", key, wrapped(f"key {key}")):
        (hit,) = recognizer.find(text)
        assert (hit.kind, hit.id, hit.value, hit.complete) == ("aws-access-key", key, "", False)


def test_a_hash_beside_an_id_is_not_its_secret(recognizer: Recognizer) -> None:
    key, _ = pair()
    (hit,) = recognizer.find(f"AWS_ACCESS_KEY_ID={key}\ncommit {chars(Random(4), 40, HEX)}\n")
    assert (hit.id, hit.value) == (key, "")


def test_secret_without_its_id_is_found(recognizer: Recognizer) -> None:
    _, secret = pair()
    found = recognizer.find(f"AWS_SECRET_ACCESS_KEY={secret}")
    assert [(hit.kind, hit.id, hit.value, hit.complete) for hit in found] == [("aws-access-key", "", secret, False)]


def test_example_of_the_documents_is_no_credential(recognizer: Recognizer) -> None:
    assert recognizer.find("AWS_ACCESS_KEY_ID=AKIAIOSFODNN7" + "EXAMPLE") == ()


def test_session_needs_its_token_to_be_complete(recognizer: Recognizer) -> None:
    key, secret = pair(start="ASIA")
    token = "IQoJ" + "b3JpZ2lu" + chars(Random(5), 300, ALNUM + "+/")
    half = recognizer.find(environment(key, secret))
    whole = recognizer.find(wrapped(environment(key, secret) + f"AWS_SESSION_TOKEN={token}\n"))
    assert [(h.kind, h.id, h.complete) for h in half] == [("aws-session", key, False)]
    assert [(h.kind, h.id, h.value, h.session_token, h.complete) for h in whole] == [
        ("aws-session", key, secret, token, True)
    ]


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("surrounding", ["raw", "log", "base64, in a log", "base64 twice, one line", "hex"])
def test_every_rule_finds_its_examples(recognizer: Recognizer, kind: str, surrounding: str) -> None:
    wrap, encoding = SURROUNDINGS[surrounding]
    for example in RULES[kind].examples(Random(kind)):
        found = recognizer.find(wrap(f"some words\nTOKEN={example}\nmore words\n"))
        assert [(hit.kind, hit.encoding) for hit in found] == [("generic" if kind == "jwt" else kind, encoding)]
        assert found[0].value in json.loads(example).values() if example[0] == "{" else found[0].value in example
        assert found[0].fingerprint == PRINTS.of(found[0].value)


@pytest.mark.parametrize("kind", RULES)
def test_no_rule_finds_its_near_misses(recognizer: Recognizer, kind: str) -> None:
    for near in RULES[kind].near(Random(kind)):
        assert [hit.kind for hit in recognizer.find(f"some words\n{near}\nmore words\n") if hit.kind != "generic"] == []


def test_line_is_where_it_stands(recognizer: Recognizer) -> None:
    key, secret = pair()
    token = "npm_" + chars(Random(6), 36)
    text = as_log("one\ntwo\n" + token + "\n" + wrapped("x" * 200 + "\n" + environment(key, secret)))
    hits = {hit.kind: hit for hit in recognizer.find(text)}
    assert hits["npm-token"].line == 3
    dump = text.splitlines()[3:]
    at = base64.b64decode("".join(line.split(" ")[1] for line in dump)).decode().index(key)
    assert hits["aws-access-key"].line == 4 + at * 4 // 3 // 76


def test_one_place_is_one_finding_and_two_are_two(recognizer: Recognizer) -> None:
    token = "npm_" + chars(Random(6), 36)
    found = recognizer.find(f"{token}\n{token} {token}\n{wrapped('x ' + token)}")
    assert [(hit.line, hit.encoding) for hit in found] == [(1, "raw"), (2, "raw"), (3, "base64")]


def test_long_tail_is_kingfishers(recognizer: Recognizer) -> None:
    token = "glp" + "at-" + chars(Random(8), 20, ALNUM)
    (hit,) = recognizer.find(as_log(wrapped(f"export GITLAB_TOKEN={token}\n")))
    assert (hit.kind, hit.value, hit.encoding) == ("other-gitlab-pat", token, "base64")
    assert "gitlab" in hit.provider


def test_a_value_that_several_rules_know_is_one_credential(recognizer: Recognizer) -> None:
    """DigitalOcean's token is known to two rules: the one that can revoke it counts."""
    token = "dop" + "_v1_" + chars(Random(9), 64, HEX)
    (hit,) = recognizer.find(f"export DIGITALOCEAN_TOKEN={token}\n")
    assert hit.kind == "other-digitaloceanapikey"
    assert hit.around == "", "its rule needs no surroundings"


def test_of_a_rule_that_needs_its_surroundings_they_are_kept_beside_the_value(recognizer: Recognizer) -> None:
    value = chars(Random(10), 32, HEX)
    (hit,) = recognizer.find(f"one\ntwo\ndatadog_api_key = {value}\nlast\n")
    assert (hit.kind, hit.provider) == ("other-datadog-api-key", "datadog")
    assert value in base64.b64decode(hit.around).decode()
    assert recognizer.find(base64.b64decode(hit.around).decode())[0].key == hit.key
    assert value not in repr(hit) and hit.around not in repr(hit)


def test_what_other_scanners_call_a_kind_is_known_by_its_rule(recognizer: Recognizer) -> None:
    assert recognizer.called("gitlab-pat") == recognizer.called("betterleaks.gitlab-pat") == "other-gitlab-pat"
    assert recognizer.called("generic-api-key") == recognizer.called("jwt") == recognizer.called("") == ""


def test_a_comment_cannot_hide_a_leak(recognizer: Recognizer) -> None:
    token = "glp" + "at-" + chars(Random(8), 20, ALNUM)
    assert recognizer.find(f"export GITLAB_TOKEN={token} # kingfisher:ignore gitleaks:allow\n")


def test_ordinary_log_holds_nothing(recognizer: Recognizer) -> None:
    text = (
        "##[group]Run actions/checkout@v4\nwith:\n  repository: harbor-lights/ferry\n  token: ***\n##[endgroup]\n"
        f"HEAD is now at {chars(Random(1), 40, HEX)}\nDigest: sha256:{chars(Random(2), 64, HEX)}\n"
        f"integrity sha512-{base64.b64encode(Random(3).randbytes(64)).decode()}\nAWS_SECRET_ACCESS_KEY: ***\n"
    )
    assert recognizer.find(as_log(text)) == ()


# -- what is read offline --------------------------------------------------------------------------------------------


def test_checksum_of_a_published_sample_token() -> None:
    token = "gh" + "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" + "0mLq17"  # the sample of GitHub's own announcement
    assert rules.github_checksum(token) == "good"
    assert rules.github_checksum(token[:-1] + "8") == "bad"
    assert rules.github_checksum("gh" + "s_12_eyJ") == ""


def test_app_id_of_a_new_installation_token(recognizer: Recognizer) -> None:
    (hit,) = recognizer.find("ghs_" + "424242_" + example_jwt(Random(1), iss="demo"))
    assert (hit.account, hit.id) == ("424242", "")


def test_pypi_token_names_its_id(recognizer: Recognizer) -> None:
    (example,) = RULES["pypi-token"].examples(Random(2))
    (hit,) = recognizer.find(example)
    raw = base64.urlsafe_b64decode(example[5:] + "=" * (-len(example[5:]) % 4))
    assert hit.account == "pypi.org"
    assert len(hit.id) == 36
    assert hit.id.encode() in raw


@pytest.mark.parametrize(
    ("claims", "kind", "provider", "name", "account"),
    [
        ({"iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:prod:ferry", "jti": "j1"},
         "kubernetes-token", "kubernetes", "j1", "system:serviceaccount:prod:ferry"),
        ({"iss": "jfac@01h", "sub": "jfac@01h/users/ferry", "scp": "applied-permissions/user", "jti": "j2"},
         "artifactory-token", "artifactory", "j2", "jfac@01h/users/ferry"),
        ({"iss": rules.GITHUB_OIDC, "sub": "repo:harbor-lights/ferry:ref:refs/heads/main", "jti": "j3",
          "repository": "harbor-lights/ferry"}, "generic", "github", "j3", "harbor-lights/ferry"),
        ({"sub": "nobody"}, "generic", "unknown", "", ""),
    ],
)  # fmt: skip
def test_claims_tell_whose_a_jwt_is(
    recognizer: Recognizer, claims: dict[str, str], kind: str, provider: str, name: str, account: str
) -> None:
    (hit,) = recognizer.find("Authorization: Bearer " + example_jwt(Random(1), **claims))
    assert (hit.kind, hit.provider, hit.id, hit.account) == (kind, provider, name, account)


def test_private_key_is_named_as_ssh_keygen_does(recognizer: Recognizer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        listed = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        pytest.skip("no ssh-keygen on this machine")
    for text in (key.read_text(), as_log(key.read_text()), json.dumps(key.read_text())):
        assert [hit.id for hit in recognizer.find(text)] == [listed.split()[1]]


def test_damaged_private_key_is_found_without_an_id(recognizer: Recognizer) -> None:
    lines = example_private_key().splitlines()
    (hit,) = recognizer.find("\n".join([lines[0], *lines[2:]]))
    assert (hit.kind, hit.id) == ("ssh-private-key", "")


def test_google_key_file_names_itself(recognizer: Recognizer) -> None:
    (example,) = RULES["gcp-service-account-key"].examples(Random(2))
    (hit,) = recognizer.find(example)
    file = json.loads(example)
    assert hit.id == f"projects/harbor-demo/serviceAccounts/{file['client_email']}/keys/{file['private_key_id']}"
    assert (hit.account, hit.value) == ("harbor-demo", file["private_key"])


# -- no value gets out -----------------------------------------------------------------------------------------------


def test_found_neither_shows_nor_pickles_its_value(recognizer: Recognizer) -> None:
    key, secret = pair()
    (hit,) = recognizer.find(environment(key, secret))
    assert secret not in repr(hit) + str(hit) + f"{hit}" + repr(hit.credential)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(hit)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300))
def test_any_text_is_read(recognizer: Recognizer, text: str) -> None:
    assert all(isinstance(hit, Found) for hit in recognizer.find(text))


def test_what_is_found_is_what_the_scrubber_takes_out(recognizer: Recognizer) -> None:
    key, secret = pair()
    text = as_log(wrapped(environment(key, secret)))
    scrub = Scrubber(PRINTS)
    scrub.add(*(PRINTS.secret(hit.value) for hit in recognizer.find(text)))
    assert [hit for hit in recognizer.find(scrub(text)) if hit.value] == []


def test_many_threads_share_one_recognizer() -> None:
    shared, answers = Recognizer(PRINTS), []
    key, secret = pair()
    threads = [threading.Thread(target=lambda: answers.append(shared.find(environment(key, secret)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert {answer[0].id for answer in answers} == {key}
