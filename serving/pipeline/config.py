"""The configuration: pure data in six sections, one per stage word, complete before it is hashed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from serving.pipeline.checks.injection.version import detector_version
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.references import named_values
from serving.pipeline.registry import Spec, explain, near
from serving.pipeline.section import ByName, Entries, PluginTable, Section

Stage = Literal["index", "retrieve", "route", "answer", "guard", "cache"]
STAGES: tuple[Stage, ...] = ("index", "retrieve", "route", "answer", "guard", "cache")  # the order of dependence
# The version of the code of a stage around its plug-ins (packing, citing, removing repeats, …): raise it when the output changes.
SECTION_VERSIONS: Mapping[Stage, str] = {"index": "1", "retrieve": "1", "route": "2", "answer": "1", "guard": "2", "cache": "3"}


Chunker = Annotated[Spec, PluginTable("serving.pipeline.index:CHUNKERS")]
Store = Annotated[Spec, PluginTable("serving.pipeline.index:STORES")]
EmbeddingModel = Annotated[Spec, PluginTable("serving.pipeline.models:EMBEDDINGS")]
ChatModel = Annotated[Spec, PluginTable("serving.pipeline.models:CHAT_MODELS")]
Rewriter = Annotated[Spec, PluginTable("serving.pipeline.retrieve:REWRITERS")]
Narrowing = Annotated[Spec, PluginTable("serving.pipeline.retrieve:NARROWINGS")]
Searcher = Annotated[Spec, PluginTable("serving.pipeline.retrieve:SEARCHERS")]
Fusion = Annotated[Spec, PluginTable("serving.pipeline.retrieve:FUSIONS")]
Reranker = Annotated[Spec, PluginTable("serving.pipeline.retrieve:RERANKERS")]
Router = Annotated[Spec, PluginTable("serving.pipeline.route:ROUTERS")]
DomainChoice = Annotated[Spec, PluginTable("serving.pipeline.route:DOMAINS")]
Escalation = Annotated[Spec, PluginTable("serving.pipeline.route:ESCALATIONS")]
Check = Annotated[Spec, PluginTable("serving.pipeline.guard:CHECKS")]
Cache = Annotated[Spec, PluginTable("serving.pipeline.cache:CACHES")]


class IndexConfig(Section):
    """What retrieval stands on; a change here means a new index."""

    chunker: Chunker = Spec(name="recursive")
    context: Literal["none", "title", "heading"] = "heading"  # put before a chunk's text when it is indexed
    embedder: EmbeddingModel = Spec(name="local:minilm")
    store: Store = Spec(name="lancedb")


class RetrieveConfig(Section):
    """From a question to passages."""

    rewrite: Rewriter = Spec(name="carry_over")  # how a follow-up becomes a question that stands alone
    narrow: Narrowing = Spec(name="none")  # whether a question is looked for in its own domain alone
    search: Searcher = Spec(name="hybrid")
    fusion: Fusion = Spec(name="weighted")  # how hybrid search joins its two lists
    candidates: int = Field(default=40, ge=1, le=1000)  # hits fetched from each searcher
    reranker: Reranker = Spec(name="none")
    duplicate_similarity: float = Field(default=0.95, ge=0.0, le=1.0)  # word overlap from which a hit is a repeat; 1: exact copies only
    top_k: int = Field(default=6, ge=1, le=100)
    neighbours: int = Field(default=0, ge=0, le=5)  # chunks added on each side of a hit


class RouteConfig(Section):
    """Which tier answers."""

    router: Router = Spec(name="rules")
    domain: DomainChoice = Spec(name="hits")  # whose prompt family answers, where answer.prompt.by_domain is on
    escalate: Escalation = Spec(name="none")  # whether a cheap tier's answer is tried once more by a dearer one


TIERS = Entries({"lite": Spec(name="local:reader-lite"), "pro": Spec(name="local:reader-pro")})


class PromptChoice(Section):
    """A prompt family member: `prompts/answer/<name>/v<version>.md`."""

    name: str = "general"
    version: int = Field(default=3, ge=1)
    by_domain: bool = True  # use the family of the route's domain where one exists at this version


class AnswerConfig(Section):
    """From passages to an answer."""

    models: ByName[ChatModel] = Field(default=TIERS)  # by tier: what a router chooses from
    fallback: str = ""  # the tier that answers in a server where the routed one's model does not; empty: none
    prompt: PromptChoice = PromptChoice()
    context_tokens: int = Field(default=1500, ge=64, le=200_000)  # budget of all passages together
    max_tokens: int = Field(default=400, ge=16, le=8192)  # of the answer
    passages: Literal["delimited", "datamarked"] = Field(
        default="delimited", description="datamarked: with a mark for every space, so that a model can tell a document's words from yours"
    )


NO_CHECK = Spec(name="none")
INPUT_CHECKS = Entries({name: Spec(name=name) for name in ("encoding", "injection", "size")} | {"pii": NO_CHECK})  # pii needs a package
# its score was computed when the chunk was indexed
PASSAGE_CHECKS = Entries({"injection": Spec.model_validate({"name": "injection", "action": "cut"})})
OUTPUT_CHECKS = Entries(dict.fromkeys(("confidence", "groundedness", "leak", "pii", "toxicity"), NO_CHECK))  # named for sweeps


class GuardConfig(Section):
    """What is checked before, between and after; those of a side run in the order of their names, not in that of the file."""

    input: ByName[Check] = Field(default=INPUT_CHECKS)
    passages: ByName[Check] = Field(default=PASSAGE_CHECKS)  # of what was found: a passage that a check blocks is not read
    output: ByName[Check] = Field(default=OUTPUT_CHECKS)
    on_error: Literal["block", "allow"] = "block"  # when a check fails for another reason than an outage, or takes too long
    timeout_ms: int = Field(default=5000, ge=10, le=60_000)  # the longest that one check may take
    block_message: str = "I cannot help with that."  # answers in place of a blocked text
    guide_refusals: bool = True  # a refusal names the nearest documents and topics that its reader may see


class CacheConfig(Section):
    """Answers kept for questions that mean the same."""

    lookup: Cache = Spec(name="none")


class RagConfig(Section):
    """One whole configuration; equal configurations have equal digests on every machine."""

    STAGES: ClassVar[tuple[Stage, ...]] = STAGES

    index: IndexConfig = IndexConfig()
    retrieve: RetrieveConfig = RetrieveConfig()
    route: RouteConfig = RouteConfig()
    answer: AnswerConfig = AnswerConfig()
    guard: GuardConfig = GuardConfig()
    cache: CacheConfig = CacheConfig()

    @classmethod
    def parse(cls, data: object, source: str = "config") -> Self:
        """A complete configuration from plain data, or a `ConfigError` naming the first thing wrong."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"{source}: a mapping of the sections {', '.join(STAGES)} is needed, not {data!r}.")
        try:
            config = cls.model_validate(data).complete()
            config._check_tiers()
            return config
        except ValidationError as error:
            raise ConfigError(explain(error, source, _fields_at(cls, error))) from None
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}" if source not in str(error) else str(error)) from None

    def complete(self) -> Self:
        """The same configuration with every plug-in's defaults written out."""
        changes = {
            f"{path}.{key}": value for path, (spec, table) in self.plugins().items() for key, value in table.complete(spec).params.items()
        }
        return self._with(changes)

    def replace(self, values: Mapping[str, Any]) -> Self:
        """A complete copy with other values at dotted paths; a new plug-in name starts from that plug-in's defaults."""
        data = self.model_dump(mode="json")
        for path, value in sorted(values.items(), key=lambda item: not item[0].endswith(".name")):
            parent, _, key = path.rpartition(".")
            if key == "name" and self.takes_entries(parent.rpartition(".")[0]):
                self._node(data, parent).setdefault(parent.rpartition(".")[2], {})
            node = self._node(data, path)
            if key == "name" and node.get("name") != value and parent in self.plugins():
                node.clear()
            node[key] = value
        return self.parse(data)

    def at(self, path: str) -> Any:
        """The value at a dotted path, as plain data."""
        flat = self.flat()
        if path not in flat:
            raise ConfigError(f"No config field {path!r}.{near(path, list(flat))} See them all: touchstone config show")
        return flat[path]

    def flat(self) -> dict[str, Any]:
        """Every leaf by its dotted path."""
        return dict(_leaves(self.model_dump(mode="json")))

    def digest(self, upto: Stage = "cache", *, corpus: str = "", prompts: Mapping[str, str] | None = None) -> str:
        """Digest of the sections up to a stage, the code behind their plug-ins, the corpus and the prompts' texts."""
        stages: set[str] = set(STAGES[: STAGES.index(upto) + 1])
        versions = {path: table.version(spec) for path, (spec, table) in self.plugins().items() if path.split(".")[0] in stages}
        versions |= {stage: SECTION_VERSIONS[stage] for stage in STAGES if stage in stages}
        versions["index.instructions"] = detector_version()  # its scores are stored with the chunks
        facts = {"config": self.complete().model_dump(mode="json", include=stages), "versions": versions, "corpus": corpus}
        return digest_of(facts | ({"prompts": dict(prompts or {})} if "answer" in stages else {}))

    def tiers(self) -> dict[str, Spec]:
        """The chat models that may answer, by tier: those that router and escalation name; all of them where the router names none."""
        plugins = {path: plugin for path, plugin in self.plugins().items() if path.startswith("route.")}
        named = {path: [one.value for one in named_values(table.params(spec), "tier")] for path, (spec, table) in plugins.items()}
        chosen = dict.fromkeys(tier for tiers in named.values() for tier in tiers) if named["route.router"] else {}
        return {tier: self.answer.models[tier] for tier in chosen or self.answer.models}

    def named_prompts(self) -> tuple[str, ...]:
        """The id of every prompt that a plug-in names, each once."""
        named = [one.value for spec, table in self.plugins().values() for one in named_values(table.params(spec), "prompt")]
        return tuple(dict.fromkeys(named))

    def artefacts(self) -> dict[str, str]:
        """The digest of every artefact by the dotted path of the parameter that names it; `.0`, `.1`, … where it names several."""
        digests: dict[str, str] = {}
        for path, (spec, table) in self.plugins().items():
            for reference in named_values(table.params(spec), "artefact"):
                digests[f"{path}.{reference.path}"] = reference.value
        return digests

    def _check_tiers(self) -> None:
        known = list(self.answer.models)
        if self.answer.fallback not in ("", *known):
            raise ConfigError(
                f"answer.fallback: no tier {self.answer.fallback!r} in answer.models.{near(self.answer.fallback, known)} "
                f"Known: {', '.join(known)}."
            )
        for path, (spec, table) in self.plugins().items():
            for reference in named_values(table.params(spec), "tier"):
                if reference.value not in known:
                    suggestion = near(reference.value, known)
                    raise ConfigError(
                        f"{path}.{reference.path}: no tier {reference.value!r} in answer.models.{suggestion} Known: {', '.join(known)}."
                    )

    def _with(self, changes: Mapping[str, Any]) -> Self:
        data = self.model_dump(mode="json")
        for path, value in changes.items():
            self._node(data, path)[path.rpartition(".")[2]] = value
        return type(self).model_validate(data)

    def _node(self, data: dict[str, Any], path: str) -> dict[str, Any]:
        """The dict in which the last word of a dotted path stands."""
        node = data
        for parent in path.split(".")[:-1]:
            if not isinstance(node.get(parent), dict):
                raise ConfigError(f"No config field {path!r}.{near(path, list(self.flat()))}")
            node = node[parent]
        return node


def load_config(path: Path) -> RagConfig:
    """Read a configuration from a YAML file."""
    data = read_yaml(path)
    if data is None:
        example = "retrieve: {top_k: 8}"
        raise ConfigError(
            f"{path}: says nothing. Write what differs from the defaults, such as '{example}'; for all defaults name no file."
        )
    return RagConfig.parse(data, source=str(path))


def read_yaml(path: Path) -> Any:
    """The data in a YAML file, or a `ConfigError` with the line that is wrong."""
    try:
        return load_plain(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"No file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except YamlError as error:
        raise ConfigError(f"{path}:{error.line}: not YAML: {error}") from None


def _leaves(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in data.items():
        path = f"{prefix}{key}"
        leaves += _leaves(value, f"{path}.") if isinstance(value, dict) else [(path, value)]
    return leaves


def _fields_at(model: type[BaseModel], error: ValidationError) -> list[str]:
    """The field names allowed at the place of the first error."""
    for part in error.errors(include_url=False)[0]["loc"][:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        model = field.annotation
    return list(model.model_fields)
