"""What a condition says of an event, as a table."""

from __future__ import annotations

import pytest

from bot.oidc.conditions import may_hold

PULLS = "pull_request"


@pytest.mark.parametrize(
    ("condition", "event", "may"),
    [
        ("", PULLS, True),
        ("github.event_name == 'push'", PULLS, False),
        ("github.event_name == 'push'", "push", True),
        ("${{ github.event_name != 'pull_request' }}", PULLS, False),
        ("github.event_name != 'pull_request' && (always())", PULLS, False),
        ("github.ref == 'refs/heads/main'", PULLS, False),
        ("'refs/heads/main' == github.ref", PULLS, False),
        ("github.ref == 'refs/heads/main'", "push", True),
        ("github.ref != 'refs/heads/main'", PULLS, True),
        ("startsWith(github.ref, 'refs/tags/')", PULLS, False),
        ("startsWith(github.ref, 'refs/pull/')", PULLS, True),
        ("startsWith(github.event.ref, 'refs/tags')", PULLS, False),
        ("startsWith(github.event.ref, 'refs/tags') || github.event_name == 'release'", PULLS, False),
        ("github.repository == 'a/b' && github.event_name == 'push'", PULLS, False),
        ("github.repository == 'a/b' || github.event_name == 'push'", PULLS, True),
        ("!(github.event_name == 'pull_request')", PULLS, False),
        ("contains('push release', github.event_name)", PULLS, False),
        ("steps.x.outputs.y == 'true'", PULLS, True),
        ("matrix['a'] == 'b' && false", PULLS, False),
        ("success()", PULLS, True),
        ("something ~ odd", PULLS, True),
        ("${{ a }} == ${{ b }}", PULLS, True),
        ("(github.event_name == 'push'", PULLS, True),
    ],
)
def test_what_may_hold(condition: str, event: str, may: bool) -> None:
    assert may_hold(condition, event) is may
