"""Splices: each edit alone, in the styles that people write, and what is refused."""

from __future__ import annotations

import pytest

from bot.oidc.draft import Draft
from bot.oidc.refusal import Refusal
from bot.oidc.source import Source
from bot.oidc.splice import Said, restored, scalar

JOBS = "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n"


def edited(text: str, *edits: tuple[object, ...]) -> str:
    draft = Draft(Source(text.encode()))
    for name, *given in edits:
        getattr(draft, str(name))(*given)
    done = draft.finish()
    assert restored(done.text, done.changes) == Source(text.encode()).text
    return done.data.decode()


def inserted(text: str, path: tuple[str | int, ...], key: str, value: object, near: str) -> str:
    draft = Draft(Source(text.encode()))
    draft.insert(path, key, value, near=near)
    return draft.finish().data.decode()


def test_deleting_a_key_takes_its_line_and_no_other() -> None:
    text = "a: 1 # one\n\n# of c\nb: 2 # two\nc: 3\n"
    assert edited(text, ("delete", ("b",))) == "a: 1 # one\n\n# of c\nc: 3\n"


def test_a_comment_right_above_goes_with_its_key_only_when_it_speaks_of_it() -> None:
    text = "with:\n  # the TOKEN of ci\n  # about something else\n  token: x\n  # keep TOKEN\n\n  other: y\n"
    draft = Draft(Source(text.encode()))
    draft.mention("TOKEN")
    draft.delete(("with", "token"))
    assert draft.finish().text == "with:\n  # the TOKEN of ci\n  # about something else\n  # keep TOKEN\n\n  other: y\n"
    text = "with:\n  # the TOKEN of ci\n  token: x\n  other: y\n"
    draft = Draft(Source(text.encode()))
    draft.mention("TOKEN")
    draft.delete(("with", "token"))
    assert draft.finish().text == "with:\n  other: y\n"


def test_deleting_the_last_key_takes_the_table_with_it() -> None:
    assert edited(
        f"{JOBS}      - run: x\n        env:\n          A: 1\n", ("delete", ("jobs", "a", "steps", 0, "env", "A"))
    ) == (f"{JOBS}      - run: x\n")


@pytest.mark.parametrize("dash", ["- ", "-   ", "-\n        "])
def test_deleting_the_first_key_behind_a_dash_pulls_the_next_one_up(dash: str) -> None:
    column = " " * (8 if "\n" in dash else 6 + len(dash))
    text = f"{JOBS}      {dash}name: x\n{column}run: y\n"
    assert edited(text, ("delete", ("jobs", "a", "steps", 0, "name"))) == f"{JOBS}      {dash}run: y\n"


def test_a_comment_between_what_goes_and_what_is_pulled_up_is_refused() -> None:
    with pytest.raises(Refusal, match="comment stands between"):
        edited(f"{JOBS}      - name: x\n        # why\n        run: y\n", ("delete", ("jobs", "a", "steps", 0, "name")))


def test_every_line_keeps_its_own_ending_and_the_mark_at_the_beginning_stays() -> None:
    text = "\ufeffon: push\r\njobs:\r\n  a:\r\n    runs-on: x\r\n    name: y\n"
    assert inserted(text, ("jobs", "a"), "permissions", {"id-token": "write"}, "runs-on") == (
        "\ufeffon: push\r\njobs:\r\n  a:\r\n    runs-on: x\r\n"
        "    permissions:\r\n      id-token: write\r\n    name: y\n"
    )


def test_a_file_without_a_last_newline_gets_none() -> None:
    assert inserted("a:\n  b: 1", ("a",), "c", "2", "b") == "a:\n  b: 1\n  c: 2"


def test_flow_tables_are_edited_in_place() -> None:
    text = "permissions: { contents: read }\nempty: {}\n"
    assert inserted(text, ("permissions",), "id-token", "write", "contents") == (
        "permissions: { contents: read, id-token: write }\nempty: {}\n"
    )
    assert (
        inserted(text, ("empty",), "id-token", "write", "")
        == "permissions: { contents: read }\nempty: {id-token: write}\n"
    )
    assert edited("env: {A: 1, B: 2, C: 3}\n", ("delete", ("env", "B"))) == "env: {A: 1, C: 3}\n"
    assert edited("env: {A: 1, B: 2, C: 3}\n", ("delete", ("env", "A"))) == "env: {B: 2, C: 3}\n"


def test_a_flow_table_over_several_lines_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        inserted("permissions: {\n  contents: read }\n", ("permissions",), "id-token", "write", "contents")
    assert refused.value.code == "flow-style"


def test_a_step_goes_above_the_comments_of_the_step_it_precedes_and_keeps_the_blank_lines() -> None:
    text = f"{JOBS}      - run: one\n\n      # about two\n      - run: two\n"
    step = {"uses": Said("a/b@c", "v1"), "with": {"x": "1"}}
    draft = Draft(Source(text.encode()))
    draft.insert_step(("jobs", "a", "steps", 1), step)
    assert draft.finish().text == (
        f"{JOBS}      - run: one\n\n      - uses: a/b@c # v1\n        with:\n          x: 1\n\n"
        "      # about two\n      - run: two\n"
    )


def test_a_step_can_go_last_and_behind_a_block_of_text() -> None:
    text = f"{JOBS}      - run: |\n          one\n\n\n# the end"
    draft = Draft(Source(text.encode()))
    draft.insert_step(("jobs", "a", "steps", 1), {"run": "two"})
    assert draft.finish().text == f"{JOBS}      - run: |\n          one\n      - run: two\n\n\n# the end"


def test_a_block_that_keeps_its_last_blank_lines_is_not_cut_in_two() -> None:
    text = f"{JOBS}      - run: |+\n          one\n\n\n"
    draft = Draft(Source(text.encode()))
    draft.insert_step(("jobs", "a", "steps", 1), {"run": "two"})
    with pytest.raises(Refusal, match="did not read as it was meant"):
        draft.finish()


def test_a_version_in_a_comment_is_replaced_and_any_other_comment_stays() -> None:
    text = "a: x@v1 # v1.2\nb: x@v1   # zizmor: ignore[x]\nc: 'x@v1'\n"
    draft = Draft(Source(text.encode()))
    for key in "abc":
        draft.replace((key,), "x@sha", comment="v2.0.0")
    assert draft.finish().text == "a: x@sha # v2.0.0\nb: x@sha # v2.0.0   # zizmor: ignore[x]\nc: 'x@sha' # v2.0.0\n"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("run: |\n  keep\n  drop\n  keep\n", "run: |\n  keep\n  keep\n"),
        ("run: |-\r\n  drop\r\n\r\n  keep\r\n", "run: |-\r\n\r\n  keep\r\n"),
        ("run: swap this\n", "run: kept this\n"),
        ("run: 'swap it''s'\n", "run: 'kept it''s'\n"),
    ],
)
def test_lines_of_a_script(text: str, after: str) -> None:
    draft = Draft(Source(text.encode()))
    draft.edit_lines(("run",), lambda lines: [None if x == "drop" else x.replace("swap", "kept") for x in lines])
    assert draft.finish().data.decode() == after


@pytest.mark.parametrize("text", ["run: >\n  swap\n  drop\n", "run: &x drop\n", 'run: "dr\\x6fp"\n'])
def test_scripts_that_cannot_be_edited_exactly_are_refused(text: str) -> None:
    draft = Draft(Source(text.encode()))
    with pytest.raises(Refusal):
        draft.edit_lines(("run",), lambda lines: [x.replace("drop", "keep: this") for x in lines])
        draft.finish()


def test_what_an_anchor_shares_is_not_edited() -> None:
    text = "a: &x {b: 1, c: 2}\nd: *x\n"
    for path in (("a", "b"), ("d", "b")):
        draft = Draft(Source(text.encode()))
        draft.delete(path)
        with pytest.raises(Refusal) as refused:
            draft.finish()
        assert refused.value.code == "anchor"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe", b"a: 1\n---\nb: 2\n", b"a: 1\na: 2\n", "a: x\u2028y\n".encode(), b"a: 1\rb: 2\n", b"- a\n",
        b"a:\n\t- b\n", b"a: [\n", b"? [a]\n: b\n", b"a: {" * 200, b"x" * 1_000_001,
    ],
)  # fmt: skip
def test_what_cannot_be_read_with_certainty_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        Source(data)
    assert refused.value.code == "unreadable"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("write", "write"), ("900", "900"), ("true", "true"), ("yes", "'yes'"), ("1e3", "'1e3'"), ("a: b", "'a: b'"),
        ("a #b", "'a #b'"), ("*x", "'*x'"), ("it's", "it's"), ("${{ vars.A }}", "${{ vars.A }}"), ("", "''"),
        ("{a}", "'{a}'"), ("1:30", "'1:30'"), ("x:", "'x:'"), ("é", "'é'"),
    ],
)  # fmt: skip
def test_a_value_is_written_so_that_it_reads_as_the_same_text(value: str, written: str) -> None:
    assert scalar(value) == written
    assert Source(f"a: {written}\n".encode()).root.plain == {"a": value}


def test_what_looks_like_a_comment_at_the_end_of_a_script_is_none() -> None:
    text = "jobs:\n  a:\n    steps:\n      - run: |\n          make\n          # done\n      - run: ship\n"
    draft = Draft(Source(text.encode()))
    draft.insert_step(("jobs", "a", "steps", 1), {"uses": "x@v1"})
    assert draft.finish().text == text.replace("      - run: ship", "      - uses: x@v1\n      - run: ship")
