"""Every error of ours. The message is for people and says what to do next; ``reason`` is for machines.

* BulkheadError
  x InputError              what somebody typed or wrote is wrong; exit status 2
    + PlaybookError         every mistake in one file, each with its line
    + SettingsError         every problem of the environment, together
  x ProviderError           a provider said no, or nothing
    + Refused               it does not accept the credential (401, InvalidClientTokenId)
    + Forbidden             it knows us and we may not; names the missing permission
      - Unmapped            we have no way into that account: a person does it there
    + NotFound
    + RateLimited           come back after ``retry_after`` seconds
    + Unavailable           5xx, time-out, no connection: whether a write happened is unknown
    + Rejected              any other 4xx
  x Conflict                the state is no longer what we wrote down; carries the difference
  x Undeliverable           a delivery that is not taken: the HTTP status, and a word for the counter
  x DecisionRefused         wrong person, late, for another plan; the person gets the answer
  x EngineError             an invariant of ours does not hold
    + FencedOut             another worker owns this incident now
    + StoreAway             the database does not answer, or takes nothing: the same works when it does
  x ActionBroke             a fault of ours in one action: its step has failed, the others go on
  x VaultError              sealed with another key, or no longer held

Foreign errors become these once, in the room that owns the library, ``from None``: their requests and
responses can hold secrets.
"""

from __future__ import annotations


class BulkheadError(Exception):
    """Base of ours."""

    reason = "error"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or type(self).reason


class InputError(BulkheadError):
    """What somebody typed or wrote is wrong."""

    reason = "input"


class PlaybookError(InputError):
    """Every mistake in one file. ``problems`` holds (line, sentence), lines counted from 1."""

    reason = "playbook"

    def __init__(self, source: str, problems: list[tuple[int, str]]) -> None:
        self.source = source
        self.problems = sorted(problems)
        super().__init__("\n".join(f"{source}:{line}: {text}" for line, text in self.problems))


class SettingsError(InputError):
    """Every problem of the environment, together."""

    reason = "settings"


class ProviderError(BulkheadError):
    """A provider said no, or nothing. ``code`` is the provider's own word for it."""

    reason = "provider"

    def __init__(self, message: str, *, provider: str, code: str = "", reason: str = "") -> None:
        super().__init__(message, reason=reason)
        self.provider = provider
        self.code = code


class Refused(ProviderError):
    """The credential is not accepted."""

    reason = "refused"


class Forbidden(ProviderError):
    """We are known and may not. ``permission`` is what is missing, when the provider says it."""

    reason = "forbidden"

    def __init__(self, message: str, *, provider: str, code: str = "", permission: str = "") -> None:
        super().__init__(message, provider=provider, code=code)
        self.permission = permission


class Unmapped(Forbidden):
    """We have no way into ``account``: a person does it there, or somebody adds it to the map."""

    reason = "unmapped"

    def __init__(self, message: str, *, provider: str, account: str) -> None:
        super().__init__(message, provider=provider, code="unmapped")
        self.account = account


class NotFound(ProviderError):
    """It is not there, or we may not see it."""

    reason = "not-found"


class RateLimited(ProviderError):
    """Come back after ``retry_after`` seconds."""

    reason = "rate-limited"

    def __init__(self, message: str, *, provider: str, code: str = "", retry_after: float = 60.0) -> None:
        super().__init__(message, provider=provider, code=code)
        self.retry_after = retry_after


class Unavailable(ProviderError):
    """5xx, time-out or no connection. Whether a write happened is unknown: look before trying again."""

    reason = "unavailable"


class Rejected(ProviderError):
    """Any other refusal of the request itself."""

    reason = "rejected"


class Conflict(BulkheadError):
    """The state is no longer ours. ``diff`` maps a field to (what we wrote down, what is there now)."""

    reason = "conflict"

    def __init__(self, message: str, diff: dict[str, tuple[object, object]] | None = None) -> None:
        self.diff = diff or {}
        shown = "; ".join(f"{k}: expected {a!r}, found {b!r}" for k, (a, b) in self.diff.items())
        super().__init__(f"{message} ({shown})" if shown else message)


class Undeliverable(BulkheadError):
    """A delivery that is not taken. ``status`` is HTTP's; the sender reads the message, the counter the reason."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message, reason=reason)
        self.status = status


class DecisionRefused(BulkheadError):
    """A decision that does not count, and why: wrong-person, late, other-plan, requester, unknown-step."""

    reason = "decision"


class EngineError(BulkheadError):
    """An invariant of ours does not hold."""

    reason = "engine"


class FencedOut(EngineError):
    """Another worker owns this incident now; nothing was written."""

    reason = "fenced"


class StoreAway(EngineError):
    """The database does not answer, or takes nothing (locked, its disk full). The same works when it does again."""

    reason = "store-away"


class ActionBroke(BulkheadError):
    """A fault of ours in one action. Its step has failed; the incident's others go on."""

    reason = "action-broke"


class VaultError(BulkheadError):
    """Sealed with another key, or no longer held."""

    reason = "vault"
