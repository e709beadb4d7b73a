"""The bank of questions: the shipped one is good, and a wrong file is refused with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import InputError, PlaybookError
from bot.learn.bank import FEEDBACK, MODEL, OPTION, Bank, load_bank, load_file
from bot.learn.lint import lint, of_question

SHIPPED = Path(__file__).parent.parent.parent / "playbooks" / "quiz"
BANK = load_bank([SHIPPED])
TEXT = (SHIPPED / "durable-fix.yaml").read_text()
COACH = (
    "rotation and private logs shrink the window, but a long-lived secret still leaves one open. The durable move is "
    "to stop having a stealable standing credential at all."
)


def test_the_shipped_bank_has_nothing_to_mend() -> None:
    assert lint(BANK) == []
    assert len(BANK.questions) >= 40


def test_everybody_begins_with_the_model_question_and_its_note_word_for_word() -> None:
    model = next(iter(BANK.questions.values()))
    assert model.id == MODEL
    assert model.ask == (
        "Your CI deploy token was printed in a public build log. Beyond rotating it right now, "
        "what's the best durable fix?"
    )
    assert model.coach == COACH
    assert "OIDC" in model.options[model.best]


@pytest.mark.parametrize("name", BANK.questions)
def test_each_wrong_option_has_feedback_and_everything_fits_into_slack(name: str) -> None:
    one = BANK.questions[name]
    assert set(one.feedback) == set(one.options) - {one.best}
    assert all(20 <= len(text) <= FEEDBACK for text in one.feedback.values())
    assert all(len(text) <= OPTION for text in one.options.values())
    assert one.coach and one.source and one.tag
    assert not one.incident


FAULTS = [
    ("ask: Which follow-up", "ask: Which follow-up is never", "says 'never'"),
    ("is worth most?", "is worth most", "asks nothing"),
    ("a: A reminder", "a: None of these reminders", ""),
    ("c: A reminder to be careful with echo in deploy scripts", "c: All of the above", "stands for itself"),
    ("c: A reminder to be careful with echo in deploy scripts", "c: Just be careful with echo", "gives it away"),
    ("c: A reminder to be careful with echo in deploy scripts", "c: Be careful with echo in scripts.", "full stop"),
    ("c: A reminder to be careful with echo in deploy scripts", "c: Care", "make them alike"),
    ("c: It works until somebody slips, which is how the last one happened.", "c: It fails.", "too short"),
]


@pytest.mark.parametrize(("old", "new", "said"), [one for one in FAULTS if one[2]], ids=lambda one: one[:20])
def test_the_linter_sees(old: str, new: str, said: str) -> None:
    assert old in TEXT
    found = load_file(TEXT.replace(old, new, 1), "x.yaml")["worth-of-an-action-item"][0]
    assert any(said in text for text in of_question(found)), list(of_question(found))


def test_the_linter_sees_an_unbalanced_key_a_small_bank_and_a_best_option_that_stands_out() -> None:
    few = Bank(questions=dict(list(BANK.questions.items())[1:9]))
    assert any("need 40" in text for text in lint(few)) and any("model question" in text for text in lint(few))
    leaning = {}
    for name, one in BANK.questions.items():
        turn = dict(zip("abcd", (one.best, *(key for key in "abcd" if key != one.best)), strict=True))
        options = {new: one.options[old] for new, old in turn.items()}
        feedback = {new: one.feedback[old] for new, old in turn.items() if old != one.best}
        leaning[name] = replace(one, options=options, best="a", feedback=feedback)
    assert any("balanced key" in text for text in lint(Bank(questions=leaning)))
    for word, cut in (("longest", 0), ("shortest", 60)):
        told = {
            name: replace(one, options={
                key: text + " and more than that of it all" * (key == one.best) if not cut else
                (text[:9] if key == one.best else text.ljust(cut, "x")) for key, text in one.options.items()
            }) for name, one in BANK.questions.items()
        }  # fmt: skip
        assert any(f"the best option is the {word}" in text for text in lint(Bank(questions=told)))


WRONG = [
    ("best: b", "best: e", "must be one of a, b, c, d"),
    ("      c: Worth having", "      b: Worth having", "has no key 'b'"),
    (
        "d: Teach the log masking to recognise this token",
        "d: Have the job mint a short-lived OIDC credential",
        "as another",
    ),
    ("      d: Teach", "      D: Teach", "a letter from a to e"),
    ("    tag: durable-fix", "    tags: durable-fix", "did you mean 'tag'"),
    ("    source: The lesson", "    sauce: The lesson", "needs 'source'"),
    ("  - id: worth-of-an-action-item", "  - id: public-log-durable-fix", "is there already"),
    ("theme: durable-fix", "theme: !!python/name:os.system x", "tags are not allowed"),
    ("Fewer people read it", "F" * 201, "longer than 200"),
    ("Rotate the token on a schedule", "R" * 76, "longer than 75"),
    ("questions:", "questionz:", "needs 'questions'"),
]


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[one[2][:20] for one in WRONG])
def test_a_wrong_file_is_refused_with_its_line(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(PlaybookError) as caught:
        load_file(TEXT.replace(old, new, 1), "mine.yaml")
    assert any(said in text for _line, text in caught.value.problems), caught.value.problems
    assert all(line >= 1 for line, _text in caught.value.problems)


def test_a_later_folder_stands_over_an_earlier_one_and_one_folder_has_a_question_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "a.yaml").write_text(TEXT)
    (two / "a.yaml").write_text(TEXT.replace("Have the job mint", "Let the job mint"))
    model = load_bank([one, two]).questions[MODEL]
    assert model.options["b"].startswith("Let the job")
    (one / "b.yaml").write_text(TEXT)
    with pytest.raises(PlaybookError, match=r"is in a\.yaml already"):
        load_bank([one])
    with pytest.raises(InputError, match="there is no folder"):
        load_bank([tmp_path / "three"])
