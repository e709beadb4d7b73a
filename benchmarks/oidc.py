"""Migrate the workflow files of a folder and count: what was found, migrated, refused by reason, and what went wrong.

    python benchmarks/oidc.py --corpus DIR [--json] [--out DIR] [--config FILE]

A folder with a list beside it (``DIR.tsv`` with the columns repo, path, commit and file) is read as repositories at a
commit, so that callers and callees meet; with the columns before and after it holds what people did by hand, which is
measured beside ours; otherwise each file is a repository of its own. ``--config`` are answers as ``bulkhead oidc plan``
takes them. One job that carries one credential counts one. ``wrong`` is judged by ``oidc_judge``, a second reading that
shares no code with the migration. ``outside_bytes`` are bytes that differ from the original once the edits are taken
back. ``new_errors`` are findings of zizmor, the JSON schema and GitHub's own parser that the original did not
have (``bot/oidc/verify.py``); a reader that is not installed is named in ``not_checked``.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import oidc_peers
from benchmarks.oidc_judge import judge
from bot.cli.oidc import configured
from bot.oidc.plan import Outcome, Plan, plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.splice import restored
from bot.oidc.verify import new_errors
from bot.oidc.work import Answers

MAIN = ("aws", "npm", "pypi", "crates", "gcp", "rubygems")  # those of which most jobs should be migrated
DECIDED = (
    "every job but those whose refusal names what lies in the repository and was not given: a called workflow or "
    "action, the callers of a workflow, a Compose file, or the setting for the permissions of GITHUB_TOKEN (`lacks`)"
)
PINNED = re.compile(r"[^@\s]+@[0-9a-f]{40}")


def repositories(corpus: Path) -> Iterator[tuple[str, Repository, dict[str, Path]]]:
    """Name, repository and the file of the corpus behind each path."""
    files = sorted(p for p in corpus.rglob("*") if p.suffix in {".yml", ".yaml"} and p.is_file())
    groups: dict[tuple[str, str], dict[str, Path]] = {}
    listed = corpus.with_suffix(".tsv")
    rows = {row["file"].split("/")[-1]: row for row in _rows(listed) if "file" in row} if listed.is_file() else {}
    by_hand = {after for _, _, after in oidc_peers.pairs(corpus)} if listed.is_file() and not rows else set()
    for file in files:
        if file in by_hand:
            continue
        row = rows.get(file.name)
        if row is not None and "commit" in row:
            groups.setdefault((row["repo"], row["commit"]), {})[row["path"]] = file
        elif ".github" in file.parts:
            top = file.parts.index(".github")
            groups.setdefault(("/".join(file.parts[:top]), ""), {})["/".join(file.parts[top:])] = file
        else:
            groups[str(file), ""] = {f"{FOLDER}{file.name}": file}
    for (name, commit), found in groups.items():
        moved = {
            path if path.startswith(FOLDER) else f"{FOLDER}{path.replace('/', '__')}": f for path, f in found.items()
        }
        yield f"{name}@{commit}", Repository.of({p: f.read_bytes() for p, f in moved.items()}, whole=False), moved


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


# what went wrong ------------------------------------------------------------------------------------------------------


def wrong(made: Plan) -> list[str]:
    """What a reader who trusts nothing finds at fault."""
    paths = list(made.after.workflows)
    before, after = ({p: each.files[p].decode(errors="replace") for p in paths} for each in (made.before, made.after))
    found = judge(before, after, {name for outcome in made.migrated for name in outcome.credential.secrets})
    for outcome in made.migrated:
        found += [f"{p}/{job}: no identity was granted" for p, job in outcome.granted if not _granted(after[p], job)]
    for path in made.changed:
        old, new = (_uses(each.files[path].decode(errors="replace")) for each in (made.before, made.after))
        for line in new - old:
            if not PINNED.match(line[0]) or not re.match(r"# v\d+\.\d+\.\d+", line[1]):
                found.append(f"{path}: {line[0]} is not pinned")
    if plan(made.after).changed:
        found.append("a second run changes something")
    return found


def _granted(text: str, name: str) -> bool:
    tree = yaml.load(text.removeprefix("\ufeff"), Loader=yaml.BaseLoader)  # noqa: S506 - strings only
    found = tree["jobs"][name].get("permissions", tree.get("permissions"))
    scopes = {"*": str(found).removesuffix("-all")} if isinstance(found, str) else found or {}
    return "write" in {scopes.get("id-token"), scopes.get("packages"), scopes.get("*")}


def _uses(text: str) -> set[tuple[str, str]]:
    found = re.findall(r"(?m)^\s*-?\s*uses:\s*['\"]?([^\s'\"#]+)['\"]?[ \t]*(#.*)?$", text)
    return {(uses, comment) for uses, comment in found if not uses.startswith(("./", "docker://"))}


def outside(made: Plan) -> int:
    """Bytes that are different from the original once every edit is taken back."""
    total = 0
    for path in made.changed:
        mark = b"\xef\xbb\xbf"
        data, original = made.after.files[path], made.before.files[path]
        text = data.removeprefix(mark).decode()
        for outcome in reversed(made.outcomes):
            text = restored(text, outcome.splices.get(path, ()))
        back = (mark if data.startswith(mark) else b"") + text.encode()
        total += sum(a != b for a, b in zip(back, original, strict=False)) + abs(len(back) - len(original))
    return total


# figures --------------------------------------------------------------------------------------------------------------


def measure(
    corpus: Path, out: Path | None = None, answers: Answers | None = None
) -> dict[str, Any]:
    """Migrate a corpus and count."""
    found, migrated, refused = Counter[str](), Counter[str](), Counter[str]()
    by_provider: dict[str, Counter[str]] = {}
    left: list[dict[str, Any]] = []
    faults: list[str] = []
    bytes_outside = files = 0
    pairs: list[tuple[bytes, bytes]] = []
    originals: list[bytes] = []
    spent = 0.0
    for name, repository, where in repositories(corpus):
        started = time.perf_counter()
        made = plan(repository, answers)
        spent += time.perf_counter() - started
        files += len(repository.files)
        originals += repository.files.values()
        for outcome in made.outcomes:
            _count(outcome, found, migrated, refused, by_provider)
            if outcome.refusal and outcome.credential.provider in MAIN:
                left.append(_left(name, outcome))
        faults += [f"{name} {fault}" for fault in wrong(made)]
        bytes_outside += outside(made)
        for path, data in made.changed.items():
            pairs.append((repository.files[path], data))
            if out is not None:
                target = out / where[path].relative_to(corpus)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    errors, missing = new_errors(pairs)
    listed = corpus.with_suffix(".tsv")
    hands = oidc_peers.pairs(corpus) if listed.is_file() and "before" in listed.read_text().split("\n")[0] else []
    people = [(provider, old.read_bytes(), new.read_bytes()) for provider, old, new in hands]
    same = sum(map(oidc_peers.round_trip, originals))
    total = sum(found.values())
    wanted = sum(found[p] for p in MAIN)
    return {
        "files": files, "found": total, "migrated": sum(migrated.values()), "refused": dict(refused.most_common()),
        "wrong": len(faults), "wrong_said": faults[:20], "outside_bytes": bytes_outside,
        "new_errors": sum(errors.values()),
        "new_errors_said": dict(errors.most_common(20)), "not_checked": missing, "files_changed": len(pairs),
        "files_per_s": round(files / spent, 1) if spent else 0,
        "other_share": round(refused["other"] / max(total, 1), 4),
        "main_found": wanted, "main_migrated": sum(migrated[p] for p in MAIN),
        "main_undecided": sum(each["jobs"] for each in left if each["lacks"]), "decided_means": DECIDED,
        "main_refusals": left,
        "people": _people(people),
        "ours": oidc_peers.habits([("", old, new) for old, new in pairs]),
        "round_trip": {"files": len(originals), "identical": same},
        "by_provider": {p: dict(c.most_common()) for p, c in sorted(by_provider.items())},
    }  # fmt: skip


def _people(people: list[tuple[str, bytes, bytes]]) -> dict[str, int]:
    if not people:
        return {}
    errors, _ = new_errors([(old, new) for _, old, new in people])
    return oidc_peers.habits(people) | {"new errors": sum(errors.values())}


def _count(
    outcome: Outcome, found: Counter[str], migrated: Counter[str], refused: Counter[str],
    by_provider: dict[str, Counter[str]],
) -> None:  # fmt: skip
    provider, jobs = outcome.credential.provider, len(outcome.jobs)
    found[provider] += jobs
    code = outcome.refusal.code if outcome.refusal else "migrated"
    by_provider.setdefault(provider, Counter())[code] += jobs
    (refused if outcome.refusal else migrated)[code if outcome.refusal else provider] += jobs


def _left(name: str, outcome: Outcome) -> dict[str, Any]:
    """One refusal: why, and the file or setting without which the corpus does not decide it."""
    refusal, credential = outcome.refusal, outcome.credential
    assert refusal is not None, "only what was refused is left"
    return {
        "code": refusal.code, "provider": credential.provider, "jobs": len(outcome.jobs), "where": name,
        "secrets": list(credential.secrets), "why": refusal.why, "lacks": refusal.lacks,
    }  # fmt: skip


def _rates(figures: dict[str, Any]) -> str:
    """The rate over all jobs, and over those that the corpus decides, each under its own name."""
    found, done = figures["main_found"], figures["main_migrated"]
    decided = found - figures["main_undecided"]
    return (
        f"of {', '.join(MAIN)}: {done} of all {found} jobs ({done / max(found, 1):.1%}), and of the {decided} that are "
        f"decided {done / max(decided, 1):.1%}\ndecided is {DECIDED}"
    )


def told(figures: dict[str, Any]) -> str:
    """The figures for people."""
    unchecked = f" (not checked by {', '.join(figures['not_checked'])})" if figures["not_checked"] else ""
    lines = [
        f"{figures['files']} files, {figures['files_per_s']} a second",
        f"{figures['found']} jobs with a static credential, {figures['migrated']} migrated",
        _rates(figures),
        f"wrong {figures['wrong']}, bytes outside the edits {figures['outside_bytes']}",
        f"new errors {figures['new_errors']}{unchecked}",
        "refused: " + ", ".join(f"{code} {count}" for code, count in figures["refused"].items()),
    ]
    trip = figures["round_trip"]
    lines.append(f"a tuned ruamel round trip leaves {trip['identical']} of {trip['files']} files as they were")
    for who in ("ours", "people"):
        lines += [f"{who}: " + ", ".join(f"{k} {v}" for k, v in figures[who].items())] if figures[who] else []
    lines += [f"  {provider}: {counts}" for provider, counts in figures["by_provider"].items()]
    for each in sorted(figures["main_refusals"], key=lambda row: (not row["lacks"], row["code"])):
        lacks = f" [undecided, lacks {each['lacks']}]" if each["lacks"] else ""
        jobs = f"{each['jobs']} job{'s' * (each['jobs'] != 1)}"
        lines.append(f"  left, {each['code']}: {each['provider']}, {jobs} of {each['where']}: {each['why']}{lacks}")
    return "\n".join([*lines, *figures["wrong_said"], *map(str, figures["new_errors_said"].items())])


def main() -> None:
    """The command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--corpus", type=Path, required=True)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--out", type=Path, help="write the migrated files here")
    arguments.add_argument("--config", type=Path, help="answers, as `bulkhead oidc plan --config` takes them")
    given = arguments.parse_args()
    figures = measure(given.corpus, given.out, configured(given.config) if given.config else None)
    print(json.dumps(figures, indent=2) if given.json else told(figures))


if __name__ == "__main__":
    main()
