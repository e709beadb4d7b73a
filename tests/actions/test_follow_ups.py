"""The machine checks of follow-ups against the range, and the issue that a follow-up becomes."""

from __future__ import annotations

import pytest

from bot.actions import github_issues
from bot.errors import Forbidden, InputError, ProviderError
from bot.learn.follow_up import CHECKS, Check
from bot.lessons.checks import look
from bot.range.company import DEPLOY, FERRY
from tests.actions.conftest import USER, Drill
from tests.actions.test_github_oidc import GIVEN, OPEN

SECRET = "AWS_ACCESS_KEY_ID"


def holds(drill: Drill, check: str) -> bool:
    written = len(drill.mutations())
    found = look(drill.world, Check.parse(check))
    assert len(drill.mutations()) == written, "a check only reads"
    assert found.detail
    return found.holds


def test_each_check_turns_when_its_thing_is_done_and_back_when_it_is_undone(drill: Drill) -> None:
    seen = set()

    def turns(check: str, do: object, undo: object) -> None:
        seen.add(Check.parse(check).kind)
        assert not holds(drill, check), check
        do()  # type: ignore[operator]
        assert holds(drill, check), check
        if undo is not None:
            undo()  # type: ignore[operator]
            assert not holds(drill, check), check

    gh, state = drill.world.github, drill.range.github.state
    turns(f"secret-gone {FERRY} {SECRET}", lambda: gh.send("DELETE", f"/repos/{FERRY}/actions/secrets/{SECRET}"),
          lambda: state.set_secret(FERRY, SECRET, "made-up"))  # fmt: skip
    turns(f"key-dead {drill.leaked}",
          lambda: drill.iam.update_access_key(UserName=USER, AccessKeyId=drill.leaked, Status="Inactive"),
          lambda: drill.iam.update_access_key(UserName=USER, AccessKeyId=drill.leaked, Status="Active"))  # fmt: skip
    permissions = f"/repos/{FERRY}/actions/permissions/workflow"
    write = {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": False}
    gh.send("PUT", permissions, write)
    read = write | {"default_workflow_permissions": "read"}
    turns(f"token-reads-only {FERRY}", lambda: gh.send("PUT", permissions, read),
          lambda: gh.send("PUT", permissions, write))  # fmt: skip
    workflow = f"/repos/{FERRY}/actions/workflows/{DEPLOY.rpartition('/')[2]}"
    turns(f"workflow-disabled {FERRY} {DEPLOY}", lambda: gh.send("PUT", f"{workflow}/disable"),
          lambda: gh.send("PUT", f"{workflow}/enable"))  # fmt: skip
    _, opened = drill.do(OPEN, GIVEN)
    assert "not merged" in look(drill.world, Check.parse(f"migration-merged {FERRY}")).detail
    turns(f"migration-merged {FERRY}", lambda: gh.send("PUT", f"/repos/{FERRY}/pulls/{opened.pull}/merge", {}), None)
    plain = dict.fromkeys(state.repos[FERRY].workflows, "on: push\njobs: {}\n")
    turns(f"no-static-secret {FERRY}", lambda: state.commit_files(FERRY, plain, "Plain", "mara", runs=False), None)
    assert seen == set(CHECKS), "every check is tried"


def test_old_secret_still_exists_is_what_it_says(drill: Drill) -> None:
    assert "old secret still exists" in look(drill.world, Check.parse(f"secret-gone {FERRY} {SECRET}")).detail
    drill.iam.delete_access_key(UserName=USER, AccessKeyId=drill.leaked)
    assert look(drill.world, Check.parse(f"key-dead {drill.leaked}")).holds, "deleted is dead too"


def test_a_provider_that_does_not_say_leaves_it_open_whether_it_holds(drill: Drill) -> None:
    fault = {"server": "github", "route": f"/repos/{FERRY}/actions/secrets/*", "status": 403, "times": 9}
    drill.range.switchboard.add([fault])
    with pytest.raises(Forbidden):
        look(drill.world, Check.parse(f"secret-gone {FERRY} {SECRET}"))
    drill.range.switchboard.clear_faults()
    with pytest.raises(ProviderError):
        look(drill.world, Check.parse("no-static-secret nobody/nowhere"))


def test_an_issue_is_found_by_its_mark_whatever_its_title_and_never_opened_twice(drill: Drill) -> None:
    given = github_issues.IssueIn(repository=FERRY, title="Take it out", body="By mara", mark="inc-1/follow-up:a1")
    _, first = drill.do("github.open_issue", given)
    path = f"/repos/{FERRY}/issues/{first.number}"
    drill.world.github.send("PATCH", path, {"title": "Renamed", "state": "closed"})
    before, again = drill.do("github.open_issue", given)
    assert not before.needed and before.number == again.number == first.number
    pages = list(drill.world.github.pages(f"/repos/{FERRY}/issues", state="all"))
    assert len(pages) == 1
    shown = drill.world.github.get(path)["body"]
    assert shown.endswith("<!-- bulkhead: inc-1/follow-up:a1 -->\n")
    with pytest.raises(InputError, match="cannot mark"):
        drill.do("github.open_issue", github_issues.IssueIn(repository=FERRY, title="x", body="", mark="a --> b"))
