"""Prompt files: loaded by name and version, validated, rendered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from serving.pipeline.config import PromptChoice, RagConfig
from serving.pipeline.digest import digest_text
from serving.pipeline.errors import PromptError
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.registry import near

_VARIABLE: Final = re.compile(r"\{\{ ([a-z][a-z0-9_]*) \}\}")
_BRACES: Final = re.compile(r"\{\{[^{}]{0,40}\}{0,2}|[^{}]{0,40}\}\}")
_REQUIRED: Final = ("purpose", "changes", "owner", "variables")
_PARTS: Final = re.compile(r"\A\s*# System\n(?P<system>.*?)^# User\n(?P<user>.*)\Z", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with its variables filled in, as the model reads it."""

    system: str
    user: str

    @property
    def text(self) -> str:
        """Both messages in one text, for traces."""
        return f"{self.system}\n\n{self.user}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One checked prompt file; `digest` is that of all the model can read of it."""

    id: str  # answer/general/v3
    text: str  # the body: all below the front matter
    digest: str
    meta: Mapping[str, Any]
    variables: tuple[str, ...]
    system: str = field(repr=False)
    user: str = field(repr=False)

    @property
    def refusal(self) -> str:
        """The exact sentence the prompt asks for when the passages do not answer; empty where it has no such rule."""
        return str(self.meta.get("refusal", ""))

    def render(self, **variables: str) -> Rendered:
        """Both messages with every variable filled in; values are inserted verbatim and never expanded again."""
        for name in variables:
            if name not in self.variables:
                raise PromptError(f"{self.id}: no variable {name!r}.{near(name, list(self.variables))} It takes: {_list(self.variables)}.")
        missing = [name for name in self.variables if name not in variables]
        if missing:
            raise PromptError(f"{self.id}: no value for {_list(missing)}. It takes: {_list(self.variables)}.")

        def fill(part: str) -> str:
            return _VARIABLE.sub(lambda match: variables[match[1]], part)  # one pass: values are not searched again

        return Rendered(fill(self.system), fill(self.user))


class PromptLibrary:
    """The prompts of one kind in a folder, `<folder>/<kind>/<name>/v<version>.md`; each is looked for and read once."""

    def __init__(self, folder: Path, kind: str = "answer", *, files: Mapping[str, bytes] | None = None) -> None:
        self.folder = folder
        self._kind = kind
        self._files = files
        self._prompts: dict[tuple[str, int], Prompt] = {}

    @classmethod
    def of_files(cls, files: Mapping[str, bytes], place: str, kind: str = "answer") -> Self:
        """The prompts in files that were read already, by their paths below a place: `answer/general/v3.md`."""
        return cls(Path(place), kind, files=files)

    def names(self) -> list[str]:
        """Every family, sorted."""
        return list(self._known)

    def versions(self, name: str) -> list[int]:
        """The versions of a family, ascending; none for an unknown family."""
        return list(self._known.get(name, ()))

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        """Every family with its versions; the folder is listed once, since each query needs it."""
        root = self.folder / self._kind
        if self._files is None and not root.is_dir():
            raise PromptError(f"No folder {str(root)!r} of prompts. Name another with TOUCHSTONE_PROMPTS.")
        versions_by_name: dict[str, list[int]] = {}
        for path in sorted(root.glob("*/v*.md") if self._files is None else (self.folder / name for name in self._files)):
            if path.parent.parent != root:
                continue
            if match := re.fullmatch(r"v([1-9]\d*)\.md", path.name):
                versions_by_name.setdefault(path.parent.name, []).append(int(match[1]))
        return {name: sorted(versions) for name, versions in versions_by_name.items()}

    def get(self, name: str, version: int) -> Prompt:
        """The prompt of a name and version, or a `PromptError` that lists those known."""
        if (name, version) not in self._prompts:
            names = self.names()
            if name not in names:
                raise PromptError(f"No {self._kind} prompt {name!r}.{near(name, names)} Known: {_list(names)}.")
            known = self.versions(name)
            if version not in known:
                raise PromptError(f"No version {version!r} of the prompt {self._kind}/{name}. Known: {_list(known)}.")
            prompt_id = f"{self._kind}/{name}/v{version}"
            self._prompts[name, version] = parse_prompt(self.source(prompt_id), self.folder / f"{prompt_id}.md", prompt_id)
        return self._prompts[name, version]

    def source(self, prompt_id: str) -> bytes:
        """The file of a prompt, byte for byte."""
        if self._files is not None:
            return self._files[f"{prompt_id}.md"]
        path = self.folder / f"{prompt_id}.md"
        try:
            return path.read_bytes()
        except OSError as error:
            raise PromptError(f"{path}: cannot be read: {error}") from None

    def by_id(self, prompt_id: str) -> Prompt:
        """The prompt of an id, of whatever kind: `rewrite/follow-up/v1`."""
        kind, name, version = prompt_id.split("/")
        library = self if kind == self._kind else type(self)(self.folder, kind, files=self._files)
        return library.get(name, int(version.removeprefix("v")))

    def texts_of(self, config: RagConfig) -> dict[str, str]:
        """The text of every prompt that a configuration can use, by id: those of answers, and those that its parts name."""
        named = {prompt.id: prompt.text for prompt in map(self.by_id, config.named_prompts())}
        return self.texts(config.answer.prompt) | named

    def texts(self, choice: PromptChoice) -> dict[str, str]:
        """The text of every prompt that a choice can select, by id, for the digest of the configuration."""
        reach = {choice.name}
        if choice.by_domain:
            reach |= {name for name in self.names() if choice.version in self.versions(name)}
        prompts = [self.get(name, choice.version) for name in sorted(reach)]
        return {prompt.id: f"refusal: {prompt.refusal}\n{prompt.text}" for prompt in prompts}


def parse_prompt(data: bytes, path: Path, prompt_id: str) -> Prompt:
    """Check one prompt file; whatever is wrong is named with its line."""
    try:
        source = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: cannot be read: {error}") from None
    head, body = _split(path, source)
    first_line = head.count("\n") + 3  # the body's first line in the file
    meta = _meta(path, head)
    variables = tuple(str(name) for name in meta["variables"])
    _check_variables(path, body, first_line, variables)
    parts = _PARTS.match(body)
    if parts is None:
        raise PromptError(f"{path}:{first_line}: the body needs the two parts '# System' and '# User', in this order.")
    refusal = meta.get("refusal")
    if refusal is not None and str(refusal) not in body:
        raise PromptError(f"{path}: the front matter's refusal {refusal!r} does not stand in the body, so no model would say it.")
    system, user = parts["system"].strip(), parts["user"].strip()
    return Prompt(prompt_id, body, digest_text(body), MappingProxyType(meta), variables, system, user)


def _split(path: Path, source: str) -> tuple[str, str]:
    """Front matter and body."""
    match = re.match(r"---\n(.*?\n)---\n(.*)\Z", source, re.DOTALL)
    if match is None:
        raise PromptError(f"{path}:1: front matter between two lines '---' is needed, with the keys {_list(_REQUIRED)}.")
    return match[1], match[2]


def _meta(path: Path, head: str) -> dict[str, Any]:
    """The front matter, with every required key."""
    try:
        meta = load_plain(head, first_line=2)
    except YamlError as error:
        raise PromptError(f"{path}:{error.line}: front matter is not YAML: {error}") from None
    if not isinstance(meta, dict):
        raise PromptError(f"{path}:2: front matter must be keys and values, not {meta!r}.")
    missing = [key for key in _REQUIRED if not meta.get(key)]
    if missing:
        raise PromptError(f"{path}:1: front matter lacks {_list(missing)}. Needed: {_list(_REQUIRED)}.")
    if not isinstance(meta["variables"], list):
        raise PromptError(f"{path}:{_line(head, 'variables') + 1}: variables must be a list of names, not {meta['variables']!r}.")
    return meta


def _check_variables(path: Path, body: str, first: int, declared: tuple[str, ...]) -> None:
    """Variables of the body are exactly the declared ones, in the one form allowed."""
    used = set[str]()
    for number, line in enumerate(body.split("\n"), start=first):
        for match in _VARIABLE.finditer(line):
            name = match[1]
            if name not in declared:
                raise PromptError(
                    f"{path}:{number}: variable {name!r} is not declared.{near(name, list(declared))} Declared: {_list(declared)}."
                )
            used.add(name)
        stray = _BRACES.search(_VARIABLE.sub("", line))
        if stray:
            raise PromptError(f"{path}:{number}: {stray[0].strip()!r} is not a variable. The only form is '{{{{ name }}}}', lower case.")
    unused = [name for name in declared if name not in used]
    if unused:
        raise PromptError(f"{path}:1: declared but not used: {_list(unused)}.{near(unused[0], sorted(used))}")


def _line(head: str, key: str) -> int:
    """The line of a key in the front matter, from 1."""
    return next((number for number, line in enumerate(head.split("\n"), start=1) if line.startswith(f"{key}:")), 1)


def _list(names: Any) -> str:
    return ", ".join(str(name) for name in names) or "nothing"
