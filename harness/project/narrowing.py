"""What a question is narrowed to, checked against the documents: a slip of the pen would find nothing, and nobody would say why."""

from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import near
from serving.pipeline.types import Query

SHOWN = 10  # values named in a message


def refuse_unknown_narrowing(query: Query, corpus: Corpus) -> None:
    """A `ConfigError` where no document has a domain, a key or a value that is asked for; it names those that there are."""
    for domain in query.domains:
        _refuse(f"is of domain {domain!r}", domain, {document.domain for document in corpus.documents}, "Domains", corpus)
    for key, value in query.metadata.items():
        _refuse(f"has the key {key!r}", key, {key for document in corpus.documents for key in document.metadata}, "Keys", corpus)
        values = {document.metadata[key] for document in corpus.documents if key in document.metadata}
        _refuse(f"has {key}={value}", value, values, f"Values of {key!r}", corpus)


def _refuse(what: str, word: str, there: set[str], title: str, corpus: Corpus) -> None:
    if word in there:
        return
    known = sorted(there)
    listed = ", ".join(known[:SHOWN]) + (f" … and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
    raise ConfigError(f"No document of corpus {corpus.name!r} {what}.{near(word, known)} {title}: {listed or 'none'}.")
