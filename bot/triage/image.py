"""What stands in the layers of a public container image, those too whose files a later layer deletes.

A layer is public for whoever pulls the image, whatever its last state shows (the PyPI administrator's token of June
2024 stood in a compiled file of one). Layers are read in memory, recognised, and forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from bot.errors import InputError, ProviderError
from bot.images import Image
from bot.triage.identify import Found, Recognizer
from bot.triage.rules import RULES
from bot.world import World

SOURCE = "org.opencontainers.image.source"  # OCI image-spec, annotations.md
URL_LINE, AUTHOR = 85, 40  # how much each says of the owner, on the scale of bot.triage.owner
# A large image holds a hundred thousand files. One is read when a secret of a known form may stand in it as it is, or
# when its name says that secrets are kept in it, encoded or not.
_HINTS = tuple({hint.encode() for rule in RULES.values() for hint in rule.shape.hints} | {b"AKIA", b"ASIA"})
_KEEPS = re.compile(r"(^|/)(\.env[^/]*|\.npmrc|\.pypirc|\.netrc|\.git-credentials|credentials|config\.json)$")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")

Claim = tuple[str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLeak:
    """An image and what stands in it. ``repository`` is what its label, or else its name, says: to be checked."""

    ref: str
    found: tuple[Found, ...]
    created_at: str
    repository: str
    claims: tuple[Claim, ...]  # who may own what was found
    unknown: tuple[str, ...]


def find_in_image(world: World, recognizer: Recognizer, ref: str) -> tuple[Found, ...]:
    """Every credential in an image. Raises InputError and bot.errors when it cannot be pulled."""
    return read_image(world, recognizer, ref).found


def read_image(world: World, recognizer: Recognizer, ref: str) -> ImageLeak:
    """Pull an image and read it. Raises InputError when no registry may be asked, and bot.errors."""
    if world.images is None:
        raise InputError("images cannot be pulled here; give the secret itself instead (bulkhead report --secret)")
    found: list[Found] = []
    claims: list[Claim] = []
    unknown: list[str] = []
    images = world.images.describe(ref)
    for image in images:
        try:
            for where, text in _texts(world, image):
                hits = recognizer.find(text)
                found += [replace(hit, where=f"image {ref}: {where}") for hit in hits]
                claims += [claim for hit in hits for claim in _named(hit, text, where)]
        except ProviderError as exc:
            unknown.append(f"The layers of {ref} were not all read: {exc}")
    author = images[0].author.strip()
    if found and re.fullmatch(r"[\w-]{1,39}", author):
        claims.append((author, AUTHOR, f"the author of the image {ref}, as it says itself"))
    return ImageLeak(
        ref=ref, found=_once(found), created_at=min((i.created for i in images if i.created), default=""),
        repository=_repository(images[0]), claims=tuple(dict.fromkeys(claims)), unknown=tuple(unknown),
    )  # fmt: skip


def _once(found: list[Found]) -> tuple[Found, ...]:
    """Two platforms of one image often hold the same file."""
    return tuple({(hit.key, hit.where, hit.line): hit for hit in reversed(found)}.values())[::-1]


def _texts(world: World, image: Image) -> Iterator[tuple[str, str]]:
    yield from image.texts.items()
    assert world.images is not None
    for file in world.images.files(image):
        if _KEEPS.search(file.path) or any(hint in file.data for hint in _HINTS):
            # as many characters as bytes: a token in a compiled file is plain text between others
            yield f"layer {file.layer}, {file.path[:300]}", file.data.decode("utf-8", errors="replace")


def _named(hit: Found, text: str, where: str) -> Iterator[Claim]:
    """The account before the token in an address, as git stores it: https://ACCOUNT:TOKEN@github.com."""
    if hit.value:
        for match in re.finditer(rf"https?://([\w-]{{1,39}}):{re.escape(hit.value)}@", text):
            yield match[1], URL_LINE, f"the account that stands with it in {where}"


def _repository(image: Image) -> str:
    said = urlsplit(image.labels.get(SOURCE, "")).path.strip("/").removesuffix(".git")
    name = said or image.name
    return name if _REPOSITORY.fullmatch(name) else ""
