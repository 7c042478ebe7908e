"""The tasks of judges: a prompt file in `prompts/judge/` with its labels, their values, and its variables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError, PromptError
from serving.pipeline.prompts import Prompt, PromptLibrary, Rendered
from serving.pipeline.registry import near

KIND = "judge"
AGAIN = "again"  # the prompt that is no task: what a judge is told when its reply could not be read
NOTHING = "(none)"
NUMBER = re.compile(r"^\[\d+\] ", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """One kind of question, as its prompt file states it."""

    name: str
    prompt: Prompt
    labels: tuple[str, ...]  # in the order of their scale
    values: Mapping[str, float]  # label → score
    optional: tuple[str, ...] = ()  # variables that may be left out
    ordered: bool = False  # the labels are steps of a scale, and being two off is worse than one

    @cached_property
    def digest(self) -> str:
        """Digest of all that decides a verdict and its worth: the prompt's text, the labels, their values."""
        return digest_of([self.prompt.digest, list(self.labels), dict(self.values), list(self.optional), self.ordered])

    def check(self, values: Mapping[str, str]) -> None:
        """A `DataError` for a variable too many or too few."""
        known = list(self.prompt.variables)
        for name in values:
            if name not in known:
                raise DataError(f"The task {self.name!r} has no variable {name!r}.{near(name, known)} It takes: {', '.join(known)}.")
        if missing := [name for name in known if name not in values and name not in self.optional]:
            may = f" ({', '.join(self.optional)} may be left out)" if self.optional else ""
            raise DataError(f"The task {self.name!r} needs {', '.join(missing)}. It takes: {', '.join(known)}{may}.")

    def render(self, values: Mapping[str, str]) -> Rendered:
        """The prompt with its variables filled in, each unable to end its own tag or to begin another."""
        self.check(values)
        texts = {name: values.get(name, "").strip() or NOTHING for name in self.prompt.variables}
        return self.prompt.render(**{name: self._tags.sub("‹", text) for name, text in texts.items()})

    @cached_property
    def _tags(self) -> re.Pattern[str]:
        names = "|".join(re.escape(name) for name in self.prompt.variables)
        return re.compile(rf"<(?=[\s/]*+(?:{names})\b)", re.IGNORECASE)  # possessive: a run of spaces is read once


class Tasks:
    """The tasks of a folder of prompts, each in its newest version."""

    def __init__(self, folder: Path) -> None:
        self._library = PromptLibrary(folder, KIND)
        self._tasks: dict[str, Task] = {}

    def names(self) -> list[str]:
        """Every task, sorted."""
        return [name for name in self._library.names() if name != AGAIN]

    def get(self, name: str) -> Task:
        """A task by name, or a `PromptError` that lists those known."""
        if name not in self._tasks:
            known = self.names()
            if name not in known:
                raise PromptError(f"No judge task {name!r}.{near(name, known)} Known: {', '.join(known)}.")
            self._tasks[name] = _task(name, self._newest(name))
        return self._tasks[name]

    @cached_property
    def again(self) -> Prompt:
        """What is said to a judge whose reply could not be read."""
        return self._newest(AGAIN)

    @cached_property
    def digest(self) -> str:
        """Digest of all tasks together."""
        return digest_of({name: self.get(name).digest for name in self.names()})

    def _newest(self, name: str) -> Prompt:
        return self._library.get(name, self._library.versions(name)[-1])


def numbered(texts: Sequence[str]) -> str:
    """Several texts as the value of one variable."""
    return "\n\n".join(f"[{number}] {text.strip()}" for number, text in enumerate(texts, start=1))


def unnumbered(text: str) -> list[str]:
    """The texts that `numbered` put together; a text that is not numbered is the only one."""
    if not NUMBER.match(text):
        return [text.strip()] if text.strip() else []
    return [part.strip() for part in NUMBER.split(text) if part.strip()]


def _task(name: str, prompt: Prompt) -> Task:
    meta = prompt.meta
    labels = _names(prompt, meta.get("labels"), "labels")
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise PromptError(f"{prompt.id}: 'labels' needs two or more different names, not {list(labels)!r}.")
    values = meta.get("values")
    if not isinstance(values, dict) or set(values) != set(labels) or not all(_share(value) for value in values.values()):
        raise PromptError(f"{prompt.id}: 'values' needs a number from 0 to 1 for each of {', '.join(labels)}, not {values!r}.")
    optional = _names(prompt, meta.get("optional", []), "optional")
    if unknown := [variable for variable in optional if variable not in prompt.variables]:
        raise PromptError(f"{prompt.id}: 'optional' names {unknown[0]!r}, which is no variable. Variables: {', '.join(prompt.variables)}.")
    scale = meta.get("scale", "nominal")
    if scale not in ("nominal", "ordinal"):
        raise PromptError(f"{prompt.id}: 'scale' is nominal or ordinal, not {scale!r}.")
    label_values = MappingProxyType({label: float(values[label]) for label in labels})
    return Task(name, prompt, labels, label_values, optional, scale == "ordinal")


def _names(prompt: Prompt, value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise PromptError(f"{prompt.id}: {key!r} needs a list of names, not {value!r}.")
    return tuple(value)


def _share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
