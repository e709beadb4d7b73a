"""detect-secrets' baseline. It holds no value: ``hashed_secret`` is the unsalted SHA-1 of one.

Of a GitHub token 1.5.0 hashes the prefix alone (its pattern has a group, and the group is what it takes), so every such
token has one digest: that is no name of a value, and what it marks is told apart by where it stands.

SHA-1 is good enough to see that two scanners found the same value, and a weak password can be guessed from it: it is
kept under our own key only, as the name ``sha1:…``. A baseline is a list of what is allowed too; what was audited as no
secret (``is_secret: false``) is passed over. Written by detect-secrets 1.5.0.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from bot.intake.delivery import Seen, number_at, text_at
from bot.intake.kinds import kind_of

_PREFIXES = ("ghp", "gho", "ghu", "ghs", "ghr", "ghp_", "gho_", "ghu_", "ghs_", "ghr_")
_NO_VALUE = {hashlib.sha1(one.encode(), usedforsecurity=False).hexdigest() for one in _PREFIXES}
_SHA1 = re.compile(r"[0-9a-f]{40}")


def fits(rows: list[Any]) -> bool:
    """Whether it is one baseline."""
    return len(rows) == 1 and isinstance(rows[0], dict) and {"plugins_used", "results"} <= rows[0].keys()


def read(rows: list[Any]) -> list[Seen]:
    """What is not audited away."""
    results = rows[0]["results"]
    files = results.items() if isinstance(results, dict) else ()
    found = [(file, one) for file, ones in files if isinstance(ones, list) for one in ones if isinstance(one, dict)]
    return [_seen(file, one) for file, one in found if one.get("is_secret") is not False]


def _seen(file: str, row: dict[str, Any]) -> Seen:
    called, hashed = text_at(row, "type", 100), text_at(row, "hashed_secret", 64).lower()
    where, line = text_at(row, "filename") or text_at({"file": file}, "file"), number_at(row, "line_number")
    whole = bool(_SHA1.fullmatch(hashed)) and hashed not in _NO_VALUE
    return Seen(
        called=called, kind=kind_of(called), hashed=hashed if whole else "", where=where, line=line,
        names=() if whole else (f"detect-secrets:{called}:{where}:{line}",),
        validity="live" if row.get("is_verified") is True else "", severity="low",
    )  # fmt: skip
