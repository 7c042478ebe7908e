"""Writes docs/configuration.md from the configuration's own classes: `make docs`."""

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serving.pipeline.config import STAGES, RagConfig
from serving.pipeline.registry import Registry, Spec
from serving.pipeline.section import Section

PAGE = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

Everything that decides an answer, by its dotted path: what `--set` changes, what an experiment's `space` sweeps, what digests
cover. A file needs only what differs from the defaults; `touchstone config show --config mine.yaml` writes all of it out. Places,
endpoints and patience are [settings](settings.md), which never change an answer. Made by `make docs`.

A field that names a part (`…name`) takes the parameters of that part beside it:

```yaml
index:
  chunker: {name: sentence, size: 500}
answer:
  models:
    lite: {name: "bedrock_converse:amazon.nova-lite-v1:0"}
```

Where a name ends in `*`, anything may stand for it: `bedrock_converse:*` is every model of that provider, `*` every provider
LangChain knows. Parts of other packages are named by their entry point or as `module:Class` ([extending](extending.md)).
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_section(stage, type(getattr(RagConfig(), stage))) for stage in STAGES)


def _section(stage: str, section: type[Section]) -> str:
    rows = "".join(_rows(section, f"{stage}."))
    says = (inspect.getdoc(section) or "").replace("\n", " ")
    parts = "".join(_parts(stage))
    return f"\n## {stage}\n\n{says}\n\n| path | default | may be | what it is |\n|---|---|---|---|\n{rows}{parts}"


def _rows(section: type[BaseModel], path: str) -> Iterator[str]:
    says = comments(section)
    for name, field in section.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            yield from _rows(type(value), f"{path}{name}.")
        elif isinstance(value, Spec):
            yield f"| `{path}{name}.name` | `{value.name}` | a name below | {says.get(name, '')} |\n"
        elif hasattr(value, "items"):
            for entry, spec in value.items():
                yield f"| `{path}{name}.{entry}.name` | `{spec.name}` | a name below | {says.get(name, '')} |\n"
        else:
            yield f"| `{path}{name}` | {_value(value)} | {_may_be(field)} | {says.get(name, '')} |\n"


def _parts(stage: str) -> Iterator[str]:
    """Every table of a stage once, with the parts it holds."""
    seen: dict[int, tuple[Registry[Any], list[str]]] = {}
    for path, (_, table) in RagConfig.parse({}).plugins().items():
        if path.startswith(f"{stage}."):
            seen.setdefault(id(table), (table, []))[1].append(f"`{path}`")
    for table, paths in seen.values():
        yield f"\n### {table.kind}\n\nWhat {' and '.join(paths)} may be.\n\n| name | what it does | parameters |\n|---|---|---|\n"
        for name in table.own_names():
            part: Any = table.load(name)
            first = (inspect.getdoc(part) or "").partition("\n\n")[0].replace("\n", " ")
            yield f"| `{name}` | {_cell(first)} | {_cell('; '.join(_parameters(part.Params)))} |\n"


def _parameters(params: type[BaseModel]) -> Iterator[str]:
    says = comments(params)
    for name, field in params.model_fields.items():
        default = " (needed)" if field.is_required() else f" = {_value(field.get_default(call_default_factory=True))}"
        limits = _may_be(field)
        about = ", ".join(part for part in (limits, says.get(name, "")) if part)
        yield f"`{name}`{default}{f' ({about})' if about else ''}"


def comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment at the end of each field's line, or its description: what the code itself says of it."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)) or kind is BaseModel:
            continue
        source = textwrap.dedent(inspect.getsource(kind))
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        beside = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
        for statement in body.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.end_lineno in beside:
                found[statement.target.id] = beside[statement.end_lineno]
    described = {name: field.description for name, field in model.model_fields.items() if field.description}
    return {name: _cell(text) for name, text in (found | described).items()}


def _may_be(field: FieldInfo) -> str:
    signs = {"Ge": "≥", "Gt": ">", "Le": "≤", "Lt": "<"}
    kinds = [(type(one).__name__, one) for one in field.metadata]
    limits = [f"{signs[kind]} {getattr(one, kind.lower())}" for kind, one in kinds if kind in signs]
    choices = _choices(field.annotation)
    return ", ".join([*([choices] if choices else []), *limits])


def _choices(annotation: Any) -> str:
    if annotation is bool:
        return "true, false"
    if str(get_origin(annotation)).endswith("Literal"):
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    return ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if value is None else f"`{value!r}`" if isinstance(value, str) and not value else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
