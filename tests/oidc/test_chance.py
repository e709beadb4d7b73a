"""Workflows drawn at random, in every style of YAML: the promises about bytes and trees hold."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.oidc.find import carriers
from bot.oidc.permissions import effective, mints
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.splice import restored

PATH = f"{FOLDER}w.yml"
KEY = {
    "AWS_ACCESS_KEY_ID": "${{ secrets.AWS_ACCESS_KEY_ID }}",
    "AWS_SECRET_ACCESS_KEY": "${{secrets.AWS_SECRET_ACCESS_KEY}}",
}
NPM = {"NODE_AUTH_TOKEN": "${{ secrets.NPM_TOKEN }}"}
ODD = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\u0085\ufeff"),
    max_size=12,
)


@dataclass
class Style:
    """How one file is written."""

    unit: int
    dash: int  # how far a list stands in from its key
    gap: int  # from the dash to the first key
    newline: str
    bom: bool
    final: bool
    quote: str
    comments: list[str]
    blank: bool
    flow: bool

    def scalar(self, text: str) -> str:
        if self.quote == "'" or (
            self.quote == "" and not text.replace("_", "").replace("-", "").isalnum() and "${{" not in text
        ):
            return "'" + text.replace("'", "''") + "'"
        return f'"{text}"' if self.quote == '"' and '"' not in text and "\\" not in text else text

    def comment(self, depth: int) -> list[str]:
        said = self.comments.pop() if self.comments else ""
        return [" " * depth + "# " + said] if said else []


def table(style: Style, entries: dict[str, object], depth: int) -> list[str]:
    """A block of keys and values as lines."""
    lines: list[str] = []
    for key, value in entries.items():
        lines += style.comment(depth)
        head = " " * depth + key + ":"
        if isinstance(value, dict) and (not value or (style.flow and all(isinstance(v, str) for v in value.values()))):
            lines.append(head + " {" + ", ".join(f"{k}: '{v}'" for k, v in value.items()) + "}")
        elif isinstance(value, dict):
            lines += [head, *table(style, value, depth + style.unit)]
        elif isinstance(value, list):
            lines.append(head)
            for item in value:
                inner = table(style, item, depth + style.dash + style.gap)
                first = next(n for n, line in enumerate(inner) if not line.lstrip().startswith("#"))
                inner[first] = " " * (depth + style.dash) + "-" + inner[first][depth + style.dash + 1 :]
                lines += ([""] if style.blank else []) + inner
        elif "\n" in str(value):
            lines += [head + " |", *(" " * (depth + style.unit) + line for line in str(value).split("\n"))]
        else:
            lines.append(f"{head} {style.scalar(str(value))}")
    return lines


styles = st.builds(
    Style, unit=st.integers(1, 4), dash=st.integers(0, 4), gap=st.integers(2, 4),
    newline=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(), final=st.booleans(), quote=st.sampled_from(["", "'", '"']), comments=st.lists(ODD, max_size=30),
    blank=st.booleans(), flow=st.booleans(),
)  # fmt: skip
names = ODD.filter(lambda text: text.strip() == text and text)


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, object]]:
    """Steps around one that carries a credential."""
    filler: list[dict[str, object]] = [
        {"uses": "actions/checkout@v4"}, {"name": draw(names), "run": "echo hello\necho again"}, {"run": "true"},
        {"uses": "actions/cache@v4", "with": {"path": "x", "key": draw(names)}},
    ]  # fmt: skip
    extra = {"OTHER": draw(names)} if draw(st.booleans()) else {}
    carrying: dict[str, object] = draw(
        st.sampled_from([
            {"name": "x", "env": {**KEY, **extra}, "run": "aws s3 ls"},
            {"env": {**extra, **KEY}, "run": "aws s3 ls\naws s3 cp a s3://b"},
            {"run": "aws s3 ls", "env": KEY},
            {"uses": "aws-actions/configure-aws-credentials@v4",
             "with": {"aws-access-key-id": KEY["AWS_ACCESS_KEY_ID"],
                      "aws-secret-access-key": KEY["AWS_SECRET_ACCESS_KEY"], "aws-region": "eu-west-1"}},
            {"run": "aws configure set aws_access_key_id ${{ secrets.AWS_ACCESS_KEY_ID }}\n"
                    "aws configure set aws_secret_access_key ${{ secrets.AWS_SECRET_ACCESS_KEY }}\naws s3 ls"},
            {"name": "publish", "run": "npm publish", "env": {**NPM, **extra}},
            {"env": {"CARGO_REGISTRY_TOKEN": "${{ secrets.CRATES_TOKEN }}"}, "run": "cargo publish"},
            {"uses": "pypa/gh-action-pypi-publish@release/v1",
             "with": {"password": "${{ secrets.PYPI_TOKEN }}", **extra}},
        ])
    )  # fmt: skip
    found = draw(st.lists(st.sampled_from(filler), max_size=3))
    found.insert(draw(st.integers(0, len(found))), carrying)
    return found


@st.composite
def workflows(draw: st.DrawFn) -> bytes:
    """A workflow file as bytes."""
    style = draw(styles)
    job: dict[str, object] = {"runs-on": "ubuntu-latest"}
    if draw(st.booleans()):
        job["permissions"] = draw(
            st.sampled_from([{"contents": "read"}, {}, "read-all", "write-all", {"id-token": "none"}])
        )
    if draw(st.booleans()):
        job["env"] = {"STAGE": draw(names)}
    job["steps"] = draw(steps())
    tree: dict[str, object] = {"name": draw(names), "on": {"push": {"branches": "main"}}}
    if draw(st.booleans()):
        tree["permissions"] = draw(st.sampled_from([{"contents": "write", "issues": "write"}, "read-all", {}]))
    tree["jobs"] = {"other": {"runs-on": "x", "steps": [{"run": "true"}]}, "job": job}
    lines = table(style, tree, 0)
    text = style.newline.join(lines) + (style.newline if style.final else "")
    return ("\ufeff" if style.bom else "").encode() + text.encode()


def undone(made: Plan) -> bytes:
    """The file with every edit taken back, the last credential first."""
    mark = b"\xef\xbb\xbf"
    data = made.after.files[PATH]
    text = data.removeprefix(mark).decode()
    for outcome in reversed(made.outcomes):
        text = restored(text, outcome.splices.get(PATH, ()))
    return (mark if data.startswith(mark) else b"") + text.encode()


@settings(max_examples=80, deadline=None)
@given(workflows())
def test_a_file_is_migrated_whole_or_left_alone_and_no_other_byte_moves(data: bytes) -> None:
    before = Repository.of({PATH: data})
    made = plan(before)
    if PATH in before.unreadable:
        assert made.changed == {}
        return
    assert made.outcomes
    assert undone(made) == data
    for outcome in made.outcomes:
        left = [c for c in carriers(made.after.workflows[PATH]) if set(c.secrets) & set(outcome.credential.secrets)]
        assert (left == []) is (outcome.refusal is None)
    if made.migrated:
        job = made.after.workflows[PATH].jobs["job"]
        assert mints(effective(job))
        old, new = effective(before.workflows[PATH].jobs["job"]) or {}, effective(job) or {}
        assert all(
            new.get(scope, new.get("*")) == level for scope, level in old.items() if scope not in {"*", "id-token"}
        )
        assert made.after.workflows[PATH].jobs["other"].node.plain == before.workflows[PATH].jobs["other"].node.plain
    assert plan(made.after).changed == {}


@settings(max_examples=30, deadline=None)
@given(workflows())
def test_most_of_what_is_drawn_is_migrated_so_that_the_promises_are_about_something(data: bytes) -> None:
    made = plan(Repository.of({PATH: data}))
    for outcome in made.refused:
        assert outcome.refusal is not None
        assert outcome.refusal.code in {"write-in-place", "flow-style", "not-only-publish"}, str(outcome.refusal)
