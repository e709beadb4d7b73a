"""Whether a bank of questions teaches: what a machine can see of the rules for good multiple-choice questions.

After Haladyna, Downing and Rodriguez (2002): one best answer, options alike in length, no negatives in the stem, no
"all of the above"; a balanced key, so that no letter is worth guessing; and feedback for each wrong option, since
wrong options without it are learnt (Butler and Roediger 2008).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from bot.learn.bank import MODEL, Bank, Question

LEAST = 40  # questions of a bank that is asked from for months
SHARE, SLACK = 0.25, 0.06  # in so many questions the best answer may be the longest, or the shortest: as chance has it
LEAN = 2.2  # the longest option is at most so many times as long as the shortest
_NEGATIVE = re.compile(r"\b(?:not|never|except|neither|nor|least|without)\b|n't\b", re.IGNORECASE)
_CATCH_ALL = re.compile(r"\b(?:all|none|both|any|neither) of (?:the|these|those|them)\b|\babove\b", re.IGNORECASE)
_GIVES_AWAY = re.compile(r"\b(?:always|obviously|of course|simply|just)\b", re.IGNORECASE)


def lint(bank: Bank) -> list[str]:
    """What is wrong with the bank, in sentences; each question's with its place. Empty when it is good."""
    wrong = [f"{_place(bank, one.id)}{text}" for one in bank.questions.values() for text in of_question(one)]
    return [*wrong, *_of_all(list(bank.questions.values()))]


def of_question(one: Question) -> Iterator[str]:
    """What is wrong with one question by itself."""
    if found := _NEGATIVE.search(_unquoted(one.ask)):
        yield f"the stem says {found[0]!r}; ask for what is, so that nobody trips over a word"
    if not one.ask.rstrip().endswith(("?", ":", "So?")):
        yield "the stem asks nothing"
    for key, text in one.options.items():
        if found := _CATCH_ALL.search(text):
            yield f"option {key} says {found[0]!r}; each option stands for itself"
        if key != one.best and (found := _GIVES_AWAY.search(text)):
            yield f"option {key} says {found[0]!r}, which gives it away"
        if text.rstrip().endswith("."):
            yield f"option {key} ends with a full stop, the others do not"
    lengths = sorted(len(text) for text in one.options.values())
    if lengths[-1] > LEAN * lengths[0]:
        yield f"its longest option has {lengths[-1]} characters and its shortest {lengths[0]}; make them alike"
    if len(one.options[one.best]) == lengths[-1] and lengths[-1] > 1.3 * lengths[-2]:
        yield "the best option stands out by its length"
    for key, text in one.feedback.items():
        if len(text) < 20:
            yield f"the feedback on {key} is too short to say why it tempts and what it misses"


def _of_all(questions: list[Question]) -> Iterator[str]:
    if len(questions) < LEAST:
        yield f"there are {len(questions)} questions; people who are asked every week need {LEAST}"
    if questions and questions[0].id != MODEL:
        yield f"the model question {MODEL} is missing, with which everybody begins"
    keys = Counter(one.best for one in questions)
    four = [one for one in questions if len(one.options) == 4]
    for key in "abcd":
        if four and abs(keys[key] - len(four) / 4) > max(2, len(four) / 16):
            yield f"{keys[key]} of {len(questions)} best answers are {key!r}; a balanced key has about {len(four) // 4}"
    for word, better in (("longest", 1), ("shortest", -1)):
        found = [one.id for one in questions if _stands_out(one, better)]
        if len(found) > (SHARE + SLACK) * len(questions):
            yield f"in {len(found)} of {len(questions)} questions the best option is the {word}: {', '.join(found)}"
    for text, count in Counter(one.ask for one in questions).items():
        if count > 1:
            yield f"asked twice: {text}"


def _stands_out(one: Question, better: int) -> bool:
    """Whether the best option alone is the longest (1) or the shortest (-1)."""
    best = better * len(one.options[one.best])
    return all(best > better * len(text) for key, text in one.options.items() if key != one.best)


def _unquoted(text: str) -> str:
    """The stem without what it quotes: a colleague's words may say no."""
    return re.sub(r'"[^"]*"', "", text)


def _place(bank: Bank, name: str) -> str:
    source, line = bank.lines.get(name, ("", 0))
    return f"{source}:{line}: {name}: " if source else f"{name}: "
