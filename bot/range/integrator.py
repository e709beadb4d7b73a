"""An integrator that people of the company have let in is broken into, and its tokens are used by somebody else.

The stories: tokens of two OAuth Apps, taken out of their makers' databases, list and clone private repositories; an
AWS key that lies in one of them is used, and so it is noticed (GitHub, 15 April 2022: Heroku, Travis CI). Tokens of a
chat integration read what customers had written down, and that is searched for AWS keys (Salesloft Drift, August 2025).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from bot.errors import InputError
from bot.range import company, history
from bot.range.account_theft import UNNOTICED_S, AccountTheft, Told
from bot.range.attacker import Attacker, key_in
from bot.range.pushed_code import put
from bot.range.scanners import Scanner, github
from bot.range.thief import FERRY, Thief, tried

if TYPE_CHECKING:
    from bot.range.server import Range

APP = "berth-board"  # the integrator's App: it shows what is deployed where
EXPORT = "deploy/export.env"  # a file of the private repository
PUSHED = "app/metrics.py"
LEDGER = f"/repos/{company.LEDGER}"


class IntegratorBreach(AccountTheft):
    """Mara and jonas have let an App in. Its maker's database is read; the tokens in it work for whoever has them."""

    moves = ("key",)
    found = f"read the database of {APP}'s maker, with a token for each person who has let it in"

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self._attacker = Attacker(range_.aws_url, range_.github_url, "")
        self._other = ""  # the token by the grant of jonas
        self._pushed = False

    def leak(self) -> Told:
        state = self._range.github.state
        history.deploys(self._range)
        key_id, secret = self._range.company.deploy_key
        held = f"# copied from the deploy job, until the export has a role\nAWS_ACCESS_KEY_ID={key_id}\n"
        files: dict[str, str | bytes | None] = {EXPORT: f"{held}AWS_SECRET_ACCESS_KEY={secret}\n"}
        commit = state.commit_files(company.LEDGER, files, "Export the books", "jonas", runs=False)
        state.add_alert(
            company.LEDGER, secret_type="amazon_aws_access_key_id", display_name="Amazon AWS Access Key ID",
            secret=key_id, locations=({"type": "commit", "path": EXPORT, "line": 2, "sha": commit.sha},),
            validity="active",
        )  # fmt: skip
        self._long_ago()
        self._thief.token = state.add_token("mara", scopes=("repo",), oauth=True)
        self._other = state.add_token("jonas", scopes=("repo",), oauth=True)
        self._range.collector.take(f"the database of {APP}'s maker", GITHUB_OAUTH_TOKEN=self._thief.token)
        said = (
            f"Mara and jonas have let {APP} into their accounts at GitHub, which shows what is deployed where. Its "
            "maker's database has been read: a token for each person who has let it in lies in there, in the clear."
        )
        return {"story": [said]}

    def abuse(self, where: str) -> list[Told]:
        """It looks around, reads the private repository, and keeps a session of the key that lies in there."""
        acts = super().abuse(where)
        answer = self._thief.call("GET", f"{LEDGER}/contents/{EXPORT}")
        loot = key_in(base64.b64decode(answer.json()["content"]).decode()) if answer.ok else None
        if loot is None:
            raise InputError(f"the token does not read {EXPORT} of {company.LEDGER}: {answer.status_code}")
        said = f"cloned the private {company.LEDGER}; an AWS key lies in its {EXPORT}"
        acts.append({"act": "github:Clone", "ok": True, "code": "", "made": company.LEDGER, "said": said})
        acts.append(self._attacker.saves(loot))
        self._range.clock.advance(UNNOTICED_S)
        return acts

    @property
    def happens(self) -> dict[str, Callable[[], Told]]:
        """What comes of a choice, by its name."""
        return {"use-the-other": self._use_the_other, "use-the-key": self._use_the_key}

    @property
    def people(self) -> dict[str, Callable[[], Told]]:
        """What people of the company do."""
        return {"end-the-grants": self._end_the_grants}

    @property
    def scanners(self) -> dict[str, Scanner]:
        """Who has seen something of it, and sends an alert."""
        return {"github": github(company.LEDGER)}

    def _use_the_other(self) -> Told:
        """The grant that the letter did not name pushes to main."""
        self._range.clock.advance(UNNOTICED_S)
        text = "# a backdoor of the drill: it does nothing\n"
        status = put(Thief(self._range, self._other), PUSHED, text, "main", "Fix")
        if status >= HTTPStatus.BAD_REQUEST:
            raise InputError(f"the other token is refused already: {status}")
        self._pushed = True
        said = f"Two hours later jonas's account pushes {PUSHED} to main. The letter did not name him, and {APP} has a"
        return {"story": [f"{said} token of his as well."]}

    def _use_the_key(self) -> Told:
        """What lay in the cloned repository is used."""
        self._range.clock.advance(UNNOTICED_S)
        user = self._attacker.comes_back()
        said = f"Two hours later the key of {EXPORT}, which only people of the company can read, makes an AWS user"
        return {"story": [f"{said}, {user}, with every right."]}

    def _end_the_grants(self) -> Told:
        """Mara and jonas take the App out of their accounts, which ends its tokens; jonas removes what he did not push.

        github.com/settings/applications, "Revoke": every token of the App that this person has let it have.
        """
        state = self._range.github.state
        with state.lock:
            state.tokens[self._thief.token].revoked = state.tokens[self._other].revoked = True
        if self._pushed:
            gone: dict[str, str | bytes | None] = {PUSHED: None}
            state.commit_files(company.FERRY, gone, "Not mine", "jonas", runs=False)
        return {"revoked": 2}

    def tries(self) -> list[Told]:
        """And the token of the other grant, with what it may have pushed; and the key out of the repository."""
        found = super().tries()
        if not found:
            return []
        status = Thief(self._range, self._other).call("GET", "/user").status_code
        dead = status == HTTPStatus.UNAUTHORIZED
        found.append(tried("other-grant", "the token that jonas has let it have", dead, str(int(status))))
        if self._pushed:
            there = self._thief.outside("GET", f"{FERRY}/contents/{PUSHED}").status_code
            found.append(tried("pushed-file", "its file on main", there == HTTPStatus.NOT_FOUND, str(int(there))))
        return [*found, *self._attacker.tries()]
