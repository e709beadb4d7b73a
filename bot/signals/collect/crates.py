"""crates.io: ``/api/v1/crates/NAME``. It names who published with a token, or the run that did as trusted publisher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bot.signals.facts import Fact, Origin, Version, utc


def is_crate(document: Any) -> bool:
    """Whether it is a crate with its versions."""
    return isinstance(document, dict) and "crate" in document and isinstance(document.get("versions"), list)


def crate(document: Any, origin: Origin, _name: str) -> Iterator[Fact]:
    """Every version. crates.io holds no signed provenance; what trusted publishing says is its own record."""
    for row in document["versions"]:
        trusted, by = row.get("trustpub_data") or {}, row.get("published_by") or {}
        yield Version(
            at=utc(row["created_at"]), origin=Origin("crates", f"{origin.where} {row['num']}"), registry="crates",
            package=str(document["crate"]["name"]), name=str(row["num"]), uploader=str(by.get("login") or ""),
            means="trusted" if trusted else "token" if by else "", built_by=str(trusted.get("repository") or ""),
            run=int(trusted.get("run_id") or 0), commit=str(trusted.get("sha") or ""),
            digests=(str(row["checksum"]),) if row.get("checksum") else (), yanked=bool(row.get("yanked")),
        )  # fmt: skip
