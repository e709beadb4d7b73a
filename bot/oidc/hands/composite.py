"""Composite actions of the repository that are handed a credential by an input: they move with all their callers.

An action knows neither secrets nor variables, so what takes a key's place is handed to it by its callers, by an input
too. Source: docs.github.com/actions/reference/workflows-and-actions/metadata-syntax ("inputs", "runs for composite
actions") and /contexts (which contexts an action may read). Other repositories may use an action as well: one that lies
at the top is there for them and is refused; of one below a folder it is listed that none does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bot.oidc.draft import Draft
from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import EXPRESSION, Job, Step, Workflow, walk
from bot.oidc.source import Path, Source
from bot.oidc.work import OWN_PULLS, Work, operand

_FILES = ("action.yml", "action.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One place of an action that reads an input. ``whole``: the text is that input and nothing else."""

    input: str  # as it is declared
    path: Path
    kind: str  # input, step-env, run or other
    name: str  # of the inner action's input or of the variable
    step: Step | None
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """An action of this repository as it is called in one step, and where it reads the inputs that hold the credential.

    ``taken`` are these inputs as they are declared.
    """

    action: Workflow
    caller: Step
    taken: tuple[str, ...]
    uses: tuple[Use, ...]

    @property
    def path(self) -> str:
        return self.action.path

    def draft(self, work: Work) -> Draft:
        """The draft of the action's file."""
        if self.path not in work.drafts:
            work.drafts[self.path] = Draft(self.action.source)
            work.drafts[self.path].mention(*self.taken)
        return work.drafts[self.path]

    def swap(self, work: Work, given: dict[str, tuple[str, str]]) -> None:
        """Declare inputs in the place of those taken, and let the caller give them: name -> (description, value)."""
        draft = self.draft(work)
        near = self.taken[0]
        for name, (what, value) in given.items():
            if not draft.has(("inputs", name)):
                draft.insert(("inputs",), name, {"description": what, "required": "true"}, near=near)
            work.set_input(self.caller, name, value, near=next(iter(self.caller.inputs)))
        self.forget(work)

    def forget(self, work: Work) -> None:
        """Take the inputs out of the action and of the call."""
        for name in self.taken:
            self.draft(work).delete(("inputs", name))
        work.drop_input(self.caller, *(name.lower() for name in self.taken))

    def offered(self, work: Work, value: str, asked: str) -> str:
        """What the caller gives: nothing in pull requests of forks, where the action's steps that need it are skipped.

        ``asked``: the input that is empty then, which the steps of the action that read it have to ask for.
        """
        if not work.pulled(self.caller):
            return value
        draft = self.draft(work)
        for step in {use.step.index: use.step for use in self.uses if use.step is not None}.values():
            if step.condition:
                raise Refusal("reached-by-forks", f"pull requests come to {self.path}, whose login has a condition")
            if not draft.has((*step.path, "if")):
                draft.insert(step.path, "if", f"inputs.{asked} != ''", near=step.node.entries[0].key.value)
        return f"${{{{ (github.event_name != 'pull_request' || ({OWN_PULLS})) && {operand(value)} || '' }}}}"

    def once(self, work: Work, step: Step, name: str, value: str) -> None:
        """Give an input of an inner step a value, however many callers bring one here."""
        if step.input(name) or not self.draft(work).has((*step.path, "with", name)):
            work.set_input(step, name, value, near=next((key for key in step.inputs), ""))

    def read_as(self, names: Iterable[str]) -> None:
        """Refuse an action that does more with its input than to give it to a script under one of these names."""
        for use in self.uses:
            if not use.whole or use.kind != "step-env" or use.name.upper() not in names:
                raise self.refuse(use)

    def refuse(self, use: Use) -> Refusal:
        """The refusal of a use that no recipe knows."""
        return Refusal(
            "forwarded", f"{self.path} hands its input {use.input} on where that cannot be followed",
            "Let the action read the provider's own variables or log in by its own step, then plan again.",
        )  # fmt: skip


def called(work: Work, step: Step, carriers: Iterable[Carrier]) -> Composite | None:
    """The composite action that a step hands the credential to by inputs; None when it is no action of this repository.

    Raises Refusal when its file was not given, when others may call it, or when its callers do not agree.
    """
    folder = work.repository.called_action(step.uses)
    given = {c.name.lower() for c in carriers if c.kind == "input"}
    if not given or not step.uses.startswith(("./", "$/")):
        return None
    if not folder:
        raise Refusal(
            "callers-unknown", "the action at the top of the repository takes the key, and is there for others to use",
            "Give it an input for what takes the key's place, and keep the old one for its users.",
        )  # fmt: skip
    path = next(iter(files(work, step)), "")
    if not path:
        raise Refusal("callee-missing", f"{step.uses} is handed the secret, and its file was not given",
                      lacks=f"{folder}action.yml")  # fmt: skip
    action = Workflow(path, Source(work.repository.files[path]))
    runs = action.source.root.get("runs")
    if runs is None or runs.real.kind != "map" or runs.get("steps") is None:
        raise Refusal("forwarded", f"{path} is no composite action; what its program does with the key cannot be seen")
    declared = action.source.root.get("inputs")
    names = [entry.key.value for entry in declared.real.entries] if declared is not None else []
    taken = tuple(name for name in names if name.lower() in given)
    if len(taken) < len(given):
        raise Refusal("forwarded", f"{path} declares no input {', '.join(sorted(given - {t.lower() for t in taken}))}")
    _callers(work, path, folder, taken)
    work.assumed.append(f"{path}: no other repository uses this action; it takes other inputs from now on")
    inner = Job(action, "", runs.real)
    return Composite(action=action, caller=step, taken=taken, uses=tuple(_uses(action, inner, taken)))


def files(work: Work, step: Step) -> list[str]:
    """The file of the repository's action that a step uses, where it is one and the file is given."""
    folder = work.repository.called_action(step.uses)
    return [folder + name for name in _FILES if folder and folder + name in work.repository.files]


def _callers(work: Work, path: str, folder: str, taken: tuple[str, ...]) -> None:
    """Every caller hands on this credential, and no other action calls this one."""
    names = {name.lower() for name in taken}
    own = {(c.file, c.job, c.step) for c in work.credential.carriers}
    for job in work.repository.jobs():
        for step in job.steps:
            if work.repository.called_action(step.uses) != folder:
                continue
            if names & set(map(str.lower, step.inputs)) and (job.workflow.path, job.id, step.index) not in own:
                raise Refusal("half", f"job {job.id} of {job.workflow.path} hands {path} another credential")
    mark = folder.rstrip("/").encode()
    for other in work.repository.files:
        if other.endswith(_FILES) and other != path and re.search(
            rb"uses:\s*['\"]?(\./|\$/)" + re.escape(mark) + rb"['\"]?\s", work.repository.files[other]
        ):  # fmt: skip
            raise Refusal("forwarded", f"{other} calls {path} too, so the credential goes further than one action")


def _uses(action: Workflow, inner: Job, taken: tuple[str, ...]) -> Iterable[Use]:
    steps = {step.index: step for step in inner.steps}
    for path, node in walk(action.source.root):
        for name in taken:
            word = rf"inputs\s*(?:\.\s*{re.escape(name)}(?![\w-])|\[\s*'{re.escape(name)}'\s*\])"
            inside = any(re.search(word, each, re.IGNORECASE) for each in EXPRESSION.findall(node.value))
            if not inside and not (path[-1] == "if" and re.search(word, node.value, re.IGNORECASE)):
                continue
            step, kind = None, "other"
            if path[:2] == ("runs", "steps") and isinstance(path[2], int):
                step = steps.get(path[2])
                kinds = {"with": "input", "env": "step-env", "run": "run"}
                kind = kinds.get(str(path[3]), "other") if len(path) == (4 if path[3] == "run" else 5) else "other"
            whole = re.fullmatch(rf"\s*\$\{{\{{\s*{word}\s*\}}\}}\s*", node.value, re.IGNORECASE) is not None
            yield Use(input=name, path=path, kind=kind, name=str(path[-1]), step=step, whole=whole)
