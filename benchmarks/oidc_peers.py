"""What else moves workflows: people, by the pairs of files that they left behind, and a YAML library that dumps.

A folder of pairs has a list beside it (``DIR.tsv`` with the columns provider, before and after). The library is
ruamel.yaml at its best: quotes preserved, no line ever folded, each file's own indents and document mark detected.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PIN = re.compile(r"@[0-9a-f]{40}$")
SECRET = re.compile(r"secrets\.(?!GITHUB_TOKEN\b)(\w+)")


def pairs(corpus: Path) -> list[tuple[str, Path, Path]]:
    """Provider, file before and file after of each migration that somebody made."""
    with corpus.with_suffix(".tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(row["provider"], corpus.parent / row["before"], corpus.parent / row["after"]) for row in rows]


def habits(files: Iterable[tuple[str, bytes, bytes]]) -> dict[str, int]:
    """Of migrations (provider, before, after): where the id-token stands, how long it lives, what was left undone."""
    found: Counter[str] = Counter()
    for provider, old, new in files:
        found["files"] += 1
        try:
            was, now = (yaml.load(each, Loader=yaml.BaseLoader) for each in (old, new))  # noqa: S506 - strings only
            _habits(provider, was, now, new.decode(), found)
        except (yaml.YAMLError, KeyError, AttributeError, TypeError):
            found["unreadable"] += 1
    return dict(found)


def _habits(provider: str, was: dict[str, Any], now: dict[str, Any], text: str, found: Counter[str]) -> None:
    top = now.get("permissions")
    wide = isinstance(top, dict) and top.get("id-token") == "write"
    stated = [job for job in now["jobs"].values() if isinstance(job.get("permissions"), dict)]
    minting = [job for job in stated if job["permissions"].get("id-token") == "write"]
    found["id-token for every job"] += wide
    found["id-token on jobs alone"] += bool(minting) and not wide
    found["an environment on the job"] += any(job.get("environment") for job in minting)
    steps = [step for job in now["jobs"].values() for step in job.get("steps") or []]
    uses = [step["uses"] for step in steps if step.get("uses") and not step["uses"].startswith(("./", "docker:"))]
    before = {s.get("uses") for job in was["jobs"].values() for s in job.get("steps") or []}
    came = [each for each in uses if each not in before]
    found["wrote actions"] += bool(came)
    found["all that they wrote is pinned"] += bool(came) and all(PIN.search(each) for each in came)
    logins = [s for s in steps if str(s.get("uses", "")).lower().startswith("aws-actions/configure-aws-credentials@")
              and "role-to-assume" in (s.get("with") or {})]  # fmt: skip
    found["AWS logins"] += len(logins)
    found["AWS logins with an end of their own"] += sum("role-duration-seconds" in s["with"] for s in logins)
    found["AWS logins with the role written out"] += sum("arn:aws" in s["with"]["role-to-assume"] for s in logins)
    marks = {"pypi": "PYPI|TWINE", "npm": "NPM|NODE_AUTH", "aws": "AWS_(ACCESS|SECRET)", "crates": "CARGO|CRATES",
             "rubygems": "GEM", "gcp": "GCP|GOOGLE", "azure": "AZURE_CREDENTIALS|CLIENT_SECRET"}  # fmt: skip
    left = [name for name in SECRET.findall(text) if re.search(marks.get(provider, "(?!)"), name)]
    public = re.compile("ROLE|PROVIDER|ACCOUNT$|_ID$|REGION")
    found["a secret of the provider left"] += any(not public.search(name) for name in left)


def round_trip(data: bytes) -> bool:
    """Whether the tuned library gives a file back as it was."""
    text = data.decode()
    library = YAML()
    library.preserve_quotes = True
    library.width = 1_000_000
    library.explicit_start = text.startswith("---")
    mapping, sequence, offset = _indents(text)
    library.indent(mapping=mapping, sequence=sequence, offset=offset)
    into = io.BytesIO()
    try:
        library.dump(library.load(data), into)
    except (YAMLError, ValueError, AttributeError):
        return False
    return into.getvalue() == data


def _indents(text: str) -> tuple[int, int, int]:
    """How far the file indents tables and lists, by what it does most often."""
    tables, lists = Counter[int](), Counter[int]()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for one, two in pairwise(lines):
        depth = len(two) - len(two.lstrip()) - (len(one) - len(one.lstrip()))
        if one.rstrip().endswith(":") and two.lstrip().startswith("- "):
            lists[depth] += depth >= 0
        elif one.rstrip().endswith(":") and depth > 0:
            tables[depth] += 1
    mapping = tables.most_common(1)[0][0] if tables else 2
    offset = lists.most_common(1)[0][0] if lists else 2
    return mapping, offset + 2, offset
