"""The figures of benchmarks/oidc.py: each count can be other than zero, and the checks find what is wrong."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks import oidc as bench
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from tests.oidc.test_cases import BEFORE, CASES, REFUSED

ACTION = CASES / "aws" / "action.before.yml"
FILE = f"{FOLDER}action.yml"


def made() -> Plan:
    return plan(Repository.of({FILE: ACTION.read_bytes()}))


def spoiled(old: bytes, new: bytes) -> Plan:
    """A migration whose result somebody changed afterwards."""
    done = made()
    data = done.after.files[FILE]
    assert old in data
    return replace(done, after=done.after.after({FILE: data.replace(old, new)}))


def test_the_cases_are_counted_and_nothing_is_wrong(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for path in (*BEFORE, *REFUSED):
        shutil.copy(path, corpus / f"{path.parent.name}-{path.name}")
    figures = bench.measure(corpus, out=tmp_path / "out")
    assert figures["wrong"] == figures["outside_bytes"] == 0
    assert figures["files"] == len(BEFORE) + len(REFUSED)
    assert figures["migrated"] + sum(figures["refused"].values()) == figures["found"]
    assert figures["refused"]["reached-by-forks"] >= 3
    assert len(list((tmp_path / "out").iterdir())) == figures["files_changed"] == len(BEFORE) - 1  # one needs answers
    assert "new errors" in bench.told(figures)


def test_a_list_beside_the_corpus_brings_callers_and_callees_together(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in ("one", "two"):
        shutil.copy(ACTION, tmp_path / "c" / f"{name}.yml")
    rows = [f"acme/shop\t{FOLDER}{name}.yml\tabc\tc/{name}.yml" for name in ("one", "two")]
    (tmp_path / "c.tsv").write_text("\n".join(["repo\tpath\tcommit\tfile", *rows]) + "\n")
    found = list(bench.repositories(tmp_path / "c"))
    assert [(name, sorted(repository.workflows)) for name, repository, _ in found] == [
        ("acme/shop@abc", [f"{FOLDER}one.yml", f"{FOLDER}two.yml"])
    ]


def test_a_good_migration_has_no_fault() -> None:
    assert bench.wrong(made()) == []
    assert bench.outside(made()) == 0


def test_each_fault_is_found() -> None:
    for old, new, said in [
        (b"id-token: write", b"id-token: none", "no identity was granted"),
        (b"aws-region: eu-west-1", b"aws-region: ${{ secrets.AWS_ACCESS_KEY_ID }}", "is left"),
        (b"role-to-assume:", b"aws-access-key-id: x\n          role-to-assume:", "a key stands beside the role"),
        (b" # v6.2.3", b"", "is not pinned"),
    ]:
        assert any(said in fault for fault in bench.wrong(spoiled(old, new))), said


def test_bytes_that_moved_beside_the_edits_are_counted() -> None:
    assert bench.outside(spoiled(b"# Ireland", b"# Eire")) > 0
