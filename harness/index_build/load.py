"""A worker's first task: read some files or lines of a corpus, and keep their documents."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.index_build.orders import LoadOrder
from harness.index_build.plan import rules_digest_of, stamp_of
from harness.index_build.state import LoadedParts, building_storage
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import CorpusPart, load_files, load_lines
from serving.pipeline.index.facts import CorpusRules, corpus_rules
from serving.pipeline.settings import PipelineSettings
from serving.storage.open import open_storage

CHANGED = "was changed while the index was built. Run the command again when nothing writes to it."


def load_part(order: LoadOrder, settings: PipelineSettings) -> None:
    """Carry out the order; a part that is there is not read again."""
    loads = LoadedParts(building_storage(settings), order.corpus)
    if loads.has(order.part):
        return
    loads.write(order.part, _read(order, settings))


def _read(order: LoadOrder, settings: PipelineSettings) -> CorpusPart:
    if order.kind == "bucket":
        with _fetched(order, settings) as folder:
            return load_files(folder, [folder / one.name for one in order.files], _rules(folder, order))
    place = Path(order.place)
    if not place.exists():
        raise DataError(f"{place} is not there for a worker: every worker must see the corpus. Or give s3://bucket/prefix.")
    if order.lines is not None:
        return load_lines(place, order.lines, _rules(place.parent, order))
    for stamp in order.files:
        if stamp_of(place, place / stamp.name) != stamp:
            raise DataError(f"{place / stamp.name}: {CHANGED}")
    return load_files(place, [place / one.name for one in order.files], _rules(place, order))


@contextmanager
def _fetched(order: LoadOrder, settings: PipelineSettings) -> Iterator[Path]:
    """The part's objects as files; what is said of them names the bucket."""
    storage = open_storage(order.place, settings, purpose="corpus", setting="--corpus")
    sizes = {one.name: one.size for one in order.files}
    with TemporaryDirectory(prefix="touchstone-part-") as folder:
        for name in (*order.rule_files, *sizes):
            blob = storage.get(name)
            if blob is None or len(blob.data) != sizes.get(name, len(blob.data)):
                raise DataError(f"{order.place}/{name}: {CHANGED}")
            path = Path(folder) / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(blob.data)
            except OSError as error:  # a name of 300 letters, or one that is also a folder
                raise DataError(f"{order.place}/{name}: no file can be named so beside the others ({error.strerror}). Rename it.") from None
        try:
            yield Path(folder)
        except DataError as error:
            raise DataError(str(error).replace(folder, order.place)) from None


def _rules(folder: Path, order: LoadOrder) -> CorpusRules:
    if rules_digest_of(folder) != order.rules:
        raise DataError(f"{order.place}: its corpus.yaml or corpus.d {CHANGED}")
    return _read_rules(folder, order.place, order.rules)


@lru_cache(maxsize=4)
def _read_rules(folder: Path, place: str, digest: str) -> CorpusRules:
    """The rules, read once by a worker; the driver has looked for misplaced ones below."""
    return corpus_rules(folder, below=False)
