"""What a security linter would say of a line is either not there, or the line says why it may stand."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXCUSED = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d{3}[A-Z0-9, ]*(?P<why>.*)$")


def test_every_finding_of_ruffs_security_rules_that_stands_has_its_reason_on_its_line() -> None:
    """Ruff's S rules are bandit's; `make check` runs them over all of it."""
    found = {
        f"{path.relative_to(ROOT)}:{number}": said["why"]
        for folder in ("bot", "docs", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (said := EXCUSED.search(line))
    }  # fmt: skip
    assert len(found) > 20
    assert [where for where, why in found.items() if not re.search("[a-z]{4}", why)] == []


def test_the_rules_that_are_switched_off_for_all_of_it_are_these() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"S",' in text
    off = text.split("ignore = [", 1)[1].split("]", 1)[0]
    assert set(re.findall(r'"(S\d{3})"', off)) == {"S101", "S603"}, "no rule is switched off for everything unseen"
