"""What tools of others say of the migrated files: zizmor's auditor and the JSON schema find nothing new."""

from __future__ import annotations

from benchmarks.oidc import new_errors
from tests.oidc.test_cases import BEFORE


def test_no_tool_finds_anything_new_in_a_migrated_file() -> None:
    pairs = [(p.read_bytes(), p.with_name(p.name.replace(".before.", ".after.")).read_bytes()) for p in BEFORE]
    errors, missing = new_errors(pairs, None)
    assert dict(errors) == {}
    assert missing == ["parser"]  # GitHub's own comes from npm: benchmarks/oidc.py --parser


def test_a_finding_that_was_not_there_is_found() -> None:
    good = b"on: push\npermissions: {}\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n"
    bad = good.replace(b"permissions: {}", b"permissions: write-all").replace(b"runs-on", b"run-on")
    errors, _ = new_errors([(good, bad)], None)
    assert any(name.startswith("zizmor") for name in errors)
    assert any(name.startswith("schema") for name in errors)
    assert not new_errors([(good, good)], None)[0]
