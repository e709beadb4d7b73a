"""What tools of others say of a migrated file: a finding that the original did not have stops the pull request.

Three readers that share nothing with us and ask no network: zizmor's auditor (``pip install zizmor``), the JSON schema
of workflows (``pip install check-jsonschema``), and GitHub's own parser, pinned by its lock (set-up installs it into
``bot/oidc/parser`` where there is Node 20.6 or newer with npm). One that is not installed is named and not counted as a
reader.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

PARSER = Path(__file__).parent / "parser"
READERS = ("zizmor", "schema", "parser")
SECONDS = 300  # of a reader that hangs
_PLACE = re.compile(r"^\S+ \(Line: \d+, Col: \d+\): ")
_Found = dict[Path, Counter[str]]


def tool(name: str) -> str:
    """A program beside this Python, or on the path; '' when there is none."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else shutil.which(name) or ""


def installed(parser: Path = PARSER) -> dict[str, Callable[[list[Path]], _Found]]:
    """The readers that are here. ``parser``: the folder with GitHub's parser in its ``node_modules``."""
    package = parser / "node_modules" / "@actions" / "workflow-parser"
    there: dict[str, Callable[[list[Path]], _Found] | None] = {
        "zizmor": zizmor if tool("zizmor") else None,
        "schema": schema if tool("check-jsonschema") else None,
        "parser": partial(parsed, parser) if tool("node") and package.is_dir() else None,
    }
    return {name: reader for name, reader in there.items() if reader is not None}


def zizmor(files: list[Path]) -> _Found:
    """Findings of the auditor's persona, by file and rule. A file that it cannot audit is a finding.

    All files in one go, then each without a finding by itself: of many it leaves out in silence what it cannot read.
    """
    found: _Found = {file: Counter() for file in files}
    for one in _audited(files) or ():
        keys = [each["symbolic"]["key"]["Local"] for each in one["locations"] if each["symbolic"]["kind"] == "Primary"]
        found[Path(keys[0]["verbatim_path"])][one["ident"]] += 1
    for file in (each for each, counts in found.items() if not counts):
        alone = _audited([file])
        found[file] = Counter({"not audited": 1} if alone is None else (one["ident"] for one in alone))
    return found


def _audited(files: list[Path]) -> list[dict[str, Any]] | None:
    """Every finding; None where zizmor could read none of the files."""
    command = [tool("zizmor"), "--offline", "--no-progress", "-q", "--format", "json-v1", "--persona", "auditor"]
    done = _run([*command, *map(str, files)])
    audited = done.returncode == 0 or 10 <= done.returncode <= 14
    return json.loads(done.stdout) if audited else None


def schema(files: list[Path]) -> _Found:
    """Whether each file fits the JSON schema that check-jsonschema ships."""
    found: _Found = {file: Counter() for file in files}
    done = _run([tool("check-jsonschema"), "-o", "json", "--builtin-schema", "vendor.github-workflows",
                 *map(str, files)])  # fmt: skip
    said = json.loads(done.stdout)
    for error in [*said.get("errors", []), *said.get("parse_errors", [])]:
        found[Path(error["filename"])]["schema"] += 1
    return found


def parsed(folder: Path, files: list[Path]) -> _Found:
    """Errors of GitHub's own parser, without the place that an edit moves."""
    done = _run([tool("node"), str(folder / "parse.mjs"), *map(str, files)])
    if done.returncode:
        raise RuntimeError(f"GitHub's parser did not run: {done.stderr.strip()[-300:]}")
    said: dict[str, list[str]] = json.loads(done.stdout)
    return {Path(name): Counter(_PLACE.sub("", each) for each in messages) for name, messages in said.items()}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def new_errors(
    pairs: Iterable[tuple[bytes, bytes]], parser: Path = PARSER
) -> tuple[Counter[str], list[str]]:
    """What the readers find after a migration and did not before, by reader and rule; and the readers not installed."""
    found: Counter[str] = Counter()
    readers = installed(parser)
    missing = [name for name in READERS if name not in readers]
    with tempfile.TemporaryDirectory() as folder:
        olds: list[Path] = []
        news: list[Path] = []
        for number, (old, new) in enumerate(pairs):
            for name, data, into in (("old", old, olds), ("new", new, news)):
                file = Path(folder, f"{number}-{name}", ".github", "workflows", "w.yml")
                file.parent.mkdir(parents=True)
                file.write_bytes(data)
                into.append(file)
        for name, reader in readers.items() if olds else ():
            read = reader([*olds, *news])
            for old_file, new_file in zip(olds, news, strict=True):
                for rule, count in (read.get(new_file, Counter()) - read.get(old_file, Counter())).items():
                    found[f"{name}: {rule}"] += count
    return found, missing


def said(found: Mapping[str, int], missing: Iterable[str]) -> str:
    """One sentence for people."""
    names = {"zizmor": "zizmor's auditor", "schema": "the JSON schema", "parser": "GitHub's own parser"}
    absent = set(missing)
    read = [names[each] for each in READERS if each not in absent]
    not_read = [names[each] for each in READERS if each in absent]
    rest = f"; not installed here: {', '.join(not_read)}" if not_read else ""
    if not read:
        return f"No other tool has read the files{rest}."
    if found:
        return f"New findings by other tools: {', '.join(f'{rule} ({count})' for rule, count in found.items())}{rest}."
    return f"Read before and after by {', '.join(read)}: no new finding{rest}."
