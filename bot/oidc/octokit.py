"""What a script of actions/github-script asks of GitHub's API, as scopes of the job's token.

Source: docs.github.com/rest, "Permissions required" of each endpoint, and the README of actions/github-script
(``github`` is a client whose methods are named after the endpoints; ``github.rest`` since version 5).
"""

from __future__ import annotations

import re

_CALL = re.compile(r"\bgithub\s*\.\s*(?:rest\s*\.\s*)?(\w+)\s*\.\s*(\w+)\b")
_PAGES = re.compile(r"\bgithub\s*\.\s*paginate(\.iterator)?\s*\(")
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_WORDS = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|(?<!:)//[^\n]*")
# The client is handed on, or something else speaks to the API.
_UNSEEN = re.compile(r"\bgithub\b|\boctokit\b|\brequire\s*\(|\bimport\b|getOctokit|\bfetch\s*\(|\bexec\b")
_READS = re.compile(r"(get|list|check|compare|download)([A-Z]|$)")
_OF_REPOSITORY = (
    (re.compile(r"Deployment"), "deployments"),
    (re.compile(r"Status"), "statuses"),
    (re.compile(r"Release|Content|Ref|Branch|Commit|Tag|Asset|DispatchEvent|^get$|^merge$"), "contents"),
)
_SCOPES = {
    "issues": ("issues", "pull-requests"),  # a pull request's comments and labels are those of its issue
    "reactions": ("issues", "pull-requests"),
    "pulls": ("pull-requests",), "git": ("contents",), "actions": ("actions",), "checks": ("checks",),
}  # fmt: skip
_OPEN = {"users", "search", "meta", "rateLimit"}  # what they tell needs no scope


def scopes(script: str) -> dict[str, str] | None:
    """The scopes of every call in a script; None where what it does cannot be told from its text."""
    text = _WORDS.sub("''", _EXPRESSION.sub("''", script))
    if _UNSEEN.search(_PAGES.sub("(", _CALL.sub("", text))):
        return None
    found: dict[str, str] = {}
    for area, method in _CALL.findall(text):
        named = _named(area, method)
        if named is None:
            return None
        level = "read" if _READS.match(method) else "write"
        for scope in named:
            found[scope] = "write" if "write" in {level, found.get(scope)} else "read"
    return found


def _named(area: str, method: str) -> tuple[str, ...] | None:
    if area in _OPEN or method == "getCollaboratorPermissionLevel":
        return () if _READS.match(method) or area == "search" else None
    if area == "repos":
        return next(((scope,) for pattern, scope in _OF_REPOSITORY if pattern.search(method)), None)
    if (area, method) == ("pulls", "merge"):
        return ("contents", "pull-requests")
    return _SCOPES.get(area)
