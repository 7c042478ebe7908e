"""One question to a configuration, a release or an app."""

from harness.evaluation.context import EvaluationContext
from harness.evaluation.subjects.reading import BadAnswer
from harness.project.narrowing import refuse_unknown_narrowing
from harness.resolve import NamedApp, NamedConfig, Resolved, config_of
from harness.settings import HarnessSettings
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.build import build_pipeline
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.index.build import open_index
from serving.pipeline.types import Query, Trace
from serving.release.bundle import load_release, open_releases


async def ask_release(
    named: NamedConfig, query: Query, settings: HarnessSettings, emit: Emit | None, placeholders: Placeholders | None = None
) -> Trace:
    """The answer of a release, over the index that it was proven on."""
    release = load_release(open_releases(settings.releases, settings), named.release, evidence=named.evidence)
    index = await open_index(release.config, release.index.corpus_digest, settings=settings)
    artefacts = BundledArtefacts(release.artefacts, release.place)
    pipeline = build_pipeline(release.config, index, release.prompts, settings, release_digest=release.digest, artefacts=artefacts)
    try:
        return await pipeline.answer(query, emit=emit, placeholders=placeholders)
    finally:
        await pipeline.aclose()


async def ask(
    resolved: Resolved, query: Query, context: EvaluationContext, emit: Emit | None, placeholders: Placeholders | None = None
) -> Trace:
    """The answer of a configuration over a corpus, or of an app."""
    if isinstance(resolved, NamedApp):
        try:
            return await resolved.subject.answer(query)
        except BadAnswer as error:
            raise ConfigError(f"{resolved.label}: {error}.") from None
    refuse_unknown_narrowing(query, context.corpus)
    pipeline = await context.factory.pipeline(config_of(resolved, context.settings).config)
    return await pipeline.answer(query, emit=emit, placeholders=placeholders)
