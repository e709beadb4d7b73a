"""Collectors: a source's files or answers in, facts out. Each format has one file; ``read`` knows them all by shape.

Nothing here concludes anything, and no provider is asked: ``bot.actions.signal_facts`` does that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bot.errors import InputError
from bot.signals.collect import audit, codeartifact, crates, github, images, npm, pypi, rubygems
from bot.signals.facts import Fact, Origin

Reader = Callable[[Any, Origin, str], Iterator[Fact]]
MOST_BYTES = 512 * 1024 * 1024

# Whether a document is of a format, and who reads it. The third argument is the repository or package that a document
# without a name of its own belongs to.
FORMATS: tuple[tuple[str, Callable[[Any], bool], Reader], ...] = (
    ("npm packument", npm.is_packument, npm.packument),
    ("npm attestations", npm.is_attestations, npm.attestations),
    ("npm keys", npm.is_keys, npm.keys),
    ("attestations at GitHub", images.is_attested, images.attested),
    ("PyPI simple index", pypi.is_simple, pypi.simple),
    ("PyPI provenance", pypi.is_provenance, pypi.provenance),
    ("crates.io crate", crates.is_crate, crates.crate),
    ("RubyGems versions", rubygems.is_versions, rubygems.versions),
    ("images at GitHub Packages", images.is_ghcr, images.ghcr),
    ("images of ECR", images.is_ecr, images.ecr),
    ("tags of Docker Hub", images.is_hub, images.hub),
    ("activity log of Docker Hub", images.is_hub_log, images.hub_log),
    ("version in CodeArtifact", codeartifact.is_version, codeartifact.version),
    ("GitHub audit log", audit.is_log, audit.log),
    ("GitHub API", github.is_answer, github.answer),
)


def documents(path: Path) -> Iterator[Any]:
    """Every JSON document of a file: one, several after another (``gh api --paginate``), or one a line.

    Raises InputError for what cannot be read.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is larger than {MOST_BYTES // 2**20} MB; split it")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        said = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise InputError(f"{path} cannot be read: {said}") from None
    decoder, at, found = json.JSONDecoder(), 0, 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, at) + 1
            raise InputError(f"{path} is not JSON: line {line}") from None
        found += 1
        yield value
    if not found:
        raise InputError(f"{path} is empty")


def read(path: Path, belongs_to: str = "") -> list[Fact]:
    """All facts of a JSON file, or of every ``*.json`` and ``*.jsonl`` of a folder. Raises InputError."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.suffix in (".json", ".jsonl") and each.is_file())
        if not files:
            raise InputError(f"{path} holds no *.json and no *.jsonl")
        return [fact for each in files for fact in read(each, belongs_to)]
    facts: list[Fact] = []
    for number, document in enumerate(documents(path)):
        where = Origin("", f"{path}" + (f"#{number}" if number else ""))
        facts += told(document, where, belongs_to or path.stem)
    return facts


def told(document: Any, where: Origin, belongs_to: str) -> list[Fact]:
    """All facts of one document, known by its shape. Raises InputError, naming where it came from."""
    name, reader = _format(where.where, document)
    try:
        return list(reader(document, where, belongs_to))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as exc:
        raise InputError(
            f"{where.where} looks like {name} and cannot be read as it: {type(exc).__name__} {str(exc)[:80]}; "
            "give the provider's answer as it came"
        ) from None


def _format(path: str, document: Any) -> tuple[str, Reader]:
    if document in ([], {}):
        return "nothing", lambda *_: iter(())
    for name, fits, reader in FORMATS:
        if fits(document):
            return name, reader
    known = ", ".join(name for name, _, _ in FORMATS)
    raise InputError(f"{path} is JSON of no form that is known here; known are: {known}")
