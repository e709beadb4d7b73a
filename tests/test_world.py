"""A drill's World can reach the range and nothing else, whatever the machine or the files say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bot import app, sites
from bot.drill import Range, range_up
from bot.errors import InputError, PlaybookError, Unavailable
from bot.scenario import load_drill
from bot.settings import Settings
from bot.world import RangeEndpoints

GOOD = RangeEndpoints(
    aws="http://127.0.0.1:1",
    github="http://127.0.0.1:2",
    control="http://127.0.0.1:3",
    aws_key_id="a",
    aws_secret="b",
    github_token="c",
)


OPTIONAL = ("registry", "npm", "gcp", "vault", "kubernetes")


@pytest.mark.parametrize("field", ["aws", "github", "control", *OPTIONAL])
@pytest.mark.parametrize("url", [
    "https://api.github.com", "http://api.github.com", "https://127.0.0.1:1", "http://10.0.0.1", "http://169.254.169.254",
    "http://localhost:1", "http://127.0.0.1.example.org", "http://user@example.org", "ftp://127.0.0.1", "127.0.0.1:1",
    "",
    "http://2130706433", "http://0.0.0.0:1", "http://[::]:1",
])  # fmt: skip
def test_an_address_outside_loopback_is_refused(field: str, url: str) -> None:
    if not url and field in OPTIONAL:  # the range may have none, and then nothing is asked
        assert getattr(replace(GOOD, **{field: url}), field) == ""
        return
    with pytest.raises(InputError, match="not a loopback address"):
        replace(GOOD, **{field: url})


def test_an_address_of_a_registry_outside_loopback_is_refused() -> None:
    assert replace(GOOD, registries={"pypi": "http://127.0.0.1:4"}).registries["pypi"]
    with pytest.raises(InputError, match="not a loopback address"):
        replace(GOOD, registries={"pypi": "http://127.0.0.1:4", "crates": "https://crates.io"})


def test_endpoints_print_without_their_credentials() -> None:
    more = {
        "github_app_key": "made-up-key", "npm_token": "made-up-npm", "gcp_key_file": "made-up-file",
        "registry_tokens": {"crates": "made-up"}, "vault_token": "made-up-vault", "kubernetes_token": "made-up-k8s",
    }  # fmt: skip
    shown = repr(replace(GOOD, aws_secret="made-up-secret", github_token="made-up-token", **more))
    assert "made-up" not in shown


def test_a_range_that_says_it_lives_elsewhere_is_refused() -> None:
    info = {"aws": "https://sts.amazonaws.com", "github": GOOD.github, "control": GOOD.control,
            "cast": {"aws": {"bulkhead-responder": {"key_id": "a", "secret": "b"}},
                "github": {"bulkhead-bot": "c"}}}  # fmt: skip
    with pytest.raises(InputError, match="not a loopback address"):
        _ = Range(info=info).endpoints


def test_whatever_its_file_of_stores_names_a_drill_asks_the_range_for_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("made-up-real-token")
    stores = f"""
stores:
  vault: {{kind: vault, url: "https://vault.example.org", token_file: {tmp_path / "token"}}}
  cluster: {{kind: kubernetes, kubeconfig: {tmp_path / "kubeconfig"}}}
copies: []
"""
    here = replace(GOOD, stores=stores, vault="http://127.0.0.1:4", kubernetes="http://127.0.0.1:5", vault_token="t")
    external = sites.range_site(here).external
    assert {name: store.kind for name, store in external.items()} == {"vault": "vault", "cluster": "kubernetes"}
    vault, cluster = (external[name]._store for name in ("vault", "cluster"))  # type: ignore[attr-defined]
    assert vault._url == here.vault
    assert cluster._configured().cluster.server == here.kubernetes
    with pytest.raises(Unavailable):
        external["vault"].read("ci/ferry")


def test_a_drills_bulkhead_has_no_real_site(tmp_path: Path) -> None:
    with app.opened(Settings(home=tmp_path), sites={"range": sites.range_site(GOOD)}) as bulkhead:
        assert set(bulkhead.worlds) == {"range"}
        world = bulkhead.worlds["range"]("inc-1")
        assert world.name == "range"
        for service in ("iam", "sts", "cloudtrail", "s3"):
            assert world.aws.client(service).meta.endpoint_url == GOOD.aws


@pytest.mark.parametrize("line", [
    "github: https://api.github.com", "world: real", "endpoints: {aws: https://sts.amazonaws.com}",
    "acts: [leak, abuse, rm]",
    "playbook: ../../etc/passwd", "responders: [mallory]", "report: {by: x, text: !!python/object:os.system ls}",
])  # fmt: skip
def test_a_hostile_drill_file_is_refused_with_its_line(line: str) -> None:
    shipped = (app.SHIPPED / "drills" / "aws-key-in-public-log.yaml").read_text()
    text = shipped + "\n" + line + "\n"
    with pytest.raises(PlaybookError) as refused:
        load_drill(text, "hostile.yaml")
    assert any(f"hostile.yaml:{n}:" in str(refused.value) for n in range(1, text.count("\n") + 1))


def test_the_machines_own_cloud_settings_reach_no_drill(tmp_path: Path) -> None:
    """A missing profile, a proxy that leads nowhere, an endpoint override: the range answers all the same."""
    hostile = {
        "AWS_PROFILE": "does-not-exist", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9", "AWS_CONFIG_FILE": str(tmp_path / "config"), "NO_PROXY": "", "no_proxy": "",
        "HOME": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "config").write_text("[default]\nregion = mars-1\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password made-up\n")
    code = (
        "import json, sys\nfrom bot import sites\nfrom bot.drill import Range\n"
        "range_ = Range(info=json.loads(sys.stdin.read()))\nsite = sites.range_site(range_.endpoints)\n"
        "arn = site.aws.client('sts').get_caller_identity()['Arn']\n"
        "print(arn, site.github.get('/user')['login'], bool(site.clock.now()))"
    )
    with range_up() as arena:
        done = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(arena.info), capture_output=True, text=True, timeout=60,
            env={**os.environ, **hostile, "PYTHONPATH": str(app.SHIPPED.parent)}, check=False,
        )  # fmt: skip
    assert done.stdout.split() == ["arn:aws:iam::123456789012:user/bulkhead-responder", "bulkhead-bot", "True"], (
        done.stderr[-2000:]
    )
