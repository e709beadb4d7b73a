"""The documents say what is there: the reference is what the code makes, and names in prose lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import botocore
import botocore.session
import pytest

from bot.action import Action
from bot.actions import CATALOGUE
from bot.model import Effect, Exposure, Grade, Liveness, Machine, RowState, Verdict
from docs import generate, identities

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PROSE = [page for page in PAGES if page != REFERENCE]
ROOMS = {"bot", "playbooks", "tests", "docs", "benchmarks", ".ci"}
CODE = re.compile(r"`([^`\n]+)`|^    (.+)$", re.MULTILINE)  # in backticks, or an indented line
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
each_prose = pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)


def snippets(page: Path) -> list[str]:
    """All that a page sets as code."""
    return [one or two for one, two in CODE.findall(page.read_text(encoding="utf-8"))]


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def paths(snippet: str) -> set[str]:
    """The words of a snippet that are paths of this repository."""
    words = re.findall(r"[\w.*/-]+", snippet)
    return {word for word in words if "/" in word and word.split("/")[0] in ROOMS}


def test_the_reference_is_what_the_code_makes() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == generate.render(), "run `make docs`"


def test_the_page_of_permissions_is_what_the_catalogue_makes() -> None:
    assert identities.TARGET.read_text(encoding="utf-8") == identities.render(generate.playbooks()), "run `make docs`"


def test_every_action_that_changes_a_provider_says_what_it_must_be_allowed() -> None:
    for action in CATALOGUE.values():
        assert action.permissions or action.person or action.effect is Effect.READ, action.name


def test_what_triage_reads_at_aws_is_what_the_page_says() -> None:
    """Every call of boto3 in triage by its name, and those that are paged by the name they are asked for."""
    known = {
        botocore.xform_name(name)
        for service in ("iam", "sts", "cloudtrail")
        for name in botocore.session.get_session().get_service_model(service).operation_names
    }
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bot" / "triage").glob("*.py"))
    assert set(re.findall(r"[a-z_]+", text)) & known == set(identities.AWS_READS)


def test_every_action_setting_command_playbook_and_event_has_its_heading() -> None:
    wanted = {*CATALOGUE, *generate.variables(), *generate.commands(), *generate.playbooks(), *generate.EVENTS}
    assert wanted - set(headings(REFERENCE)) == set()


def test_the_events_that_are_explained_are_those_that_the_code_writes() -> None:
    assert generate.written_kinds() == set(generate.EVENTS)


@pytest.mark.parametrize("action", CATALOGUE.values(), ids=lambda action: action.name)
def test_the_reference_finds_how_an_action_is_proven(action: Action[object, object, object]) -> None:
    assert generate.grades(action.prove, set())


def test_the_grades_are_read_from_what_a_proof_calls() -> None:
    assert generate.grades(CATALOGUE["aws.deactivate_access_key"].prove, set()) == {Grade.REFUSED, Grade.STATE}
    assert generate.grades(CATALOGUE["people.ask"].prove, set()) == {Grade.WORD}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@each_prose
def test_paths_that_are_named_are_there(page: Path) -> None:
    for path in {path for snippet in snippets(page) for path in paths(snippet)}:
        assert list(ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"


@each_prose
def test_files_that_are_named_by_their_name_are_there(page: Path) -> None:
    known = {path.name for room in ROOMS for path in (ROOT / room).rglob("*.*")}
    known |= {path.name for path in ROOT.iterdir()}
    for word in {word for snippet in snippets(page) for word in re.findall(r"[\w.-]+\.(?:py|yaml|toml|md)\b", snippet)}:
        assert word in known, f"{page.name} names {word}"


@each_prose
def test_make_targets_and_commands_that_are_named_are_there(page: Path) -> None:
    commands = generate.commands()
    groups = {"bulkhead", *(name.rsplit(" ", 1)[0] for name in commands)}
    for snippet in snippets(page):
        for target in re.findall(r"\bmake ([a-z-]+)", snippet):
            assert target in targets(), f"{page.name}: make {target}"
        for typed in re.findall(r"^(?:[A-Z_]+=\w+ )?bulkhead((?: [a-z]+)*)", snippet):
            words = ["bulkhead", *typed.split()]
            whole = groups if len(words) < 3 else set()  # a group by itself is fine, an unknown command in it is not
            assert {" ".join(words[:n]) for n in (2, 3, 4)} & (set(commands) | whole), f"{page.name}: {typed}"


@each_prose
def test_options_that_are_named_are_there(page: Path) -> None:
    commands = generate.commands()
    for snippet in snippets(page):
        for name, command in commands.items():
            known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
            for rest in re.findall(rf"{name}\b([^#|]*)", snippet):
                for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest):
                    assert option in known, f"{page.name}: {name} {option}"


@each_prose
def test_variables_that_are_named_are_read(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"BULKHEAD_[A-Z_]+", text):
        assert name in generate.variables(), f"{page.name}: {name}"


def test_the_readme_names_every_room() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = {path.name + ("/" if path.is_dir() else "") for path in (ROOT / "bot").iterdir()}
    rooms -= {"__init__.py", "__pycache__/"}
    assert {room for room in rooms if not re.search(rf"(?<![\w/]){re.escape(room)}(?!\w)", text)} == set()


def test_the_glossary_has_every_word_that_a_row_a_proof_or_an_action_can_carry() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    kinds = (RowState, Grade, Verdict, Effect, Exposure, Liveness, Machine)
    words = {each.value for kind in kinds for each in kind}
    assert {word for word in words if f"`{word}`" not in text} == set()


def test_every_threat_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", tests, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named <= there, named - there
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| They " not in line]
    assert all("`test" in row.rsplit("|", 2)[1] for row in rows), "a threat without a test is a hope"
