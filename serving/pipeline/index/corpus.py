"""The documents of a corpus: a folder of files, or one JSONL file."""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from serving.pipeline.digest import digest_all
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus_files import LINES_FILE, known_suffixes, list_beside_lines, list_files, read_each
from serving.pipeline.index.corpus_lines import LineRange, read_lines
from serving.pipeline.index.facts import SETTINGS_FILE, CorpusRules, check_all_stated, check_all_used, corpus_rules
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.reading import Bounds, CorpusFile, Loading, SkippedFile
from serving.pipeline.progress import Progress
from serving.pipeline.registry import Spec
from serving.pipeline.types import PUBLIC, Document


@dataclass(frozen=True, slots=True, repr=False)
class Corpus:
    """Documents sorted by id, under the digest of all they hold."""

    name: str
    documents: tuple[Document, ...]
    digest: str
    skipped: tuple[SkippedFile, ...] = ()
    unused_rules: tuple[str, ...] = ()  # entries of corpus.yaml and corpus.d that matched no document
    loaders: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # version of the loader behind each suffix; raising one changes texts

    def __repr__(self) -> str:
        return f"<Corpus {self.name}: {len(self.documents)} documents, digest {self.digest}>"

    @property
    def public(self) -> int:
        """How many documents everyone may read."""
        return sum(1 for document in self.documents if document.tenant == PUBLIC and not document.groups)

    @classmethod
    def of(
        cls, name: str, documents: Iterable[Document], skipped: Iterable[SkippedFile] = (), unused_rules: Iterable[str] = ()
    ) -> "Corpus":
        """The corpus of some documents."""
        ordered = tuple(sorted(documents, key=lambda document: document.id))
        for before, after in pairwise(ordered):
            if before.id == after.id:
                raise DataError(f"{name}: two documents have the id {after.id!r}.")
        suffixes = sorted({PurePosixPath(document.id).suffix.lower() for document in ordered} & set(LOADERS.names()))
        versions = MappingProxyType({suffix: LOADERS.version(Spec(name=suffix)) for suffix in suffixes})
        return cls(name, ordered, digest_all(document.digest for document in ordered), tuple(skipped), tuple(unused_rules), versions)

    def get(self, ident: str) -> Document | None:
        """The document of an id, if there is one."""
        index = bisect_left(self.documents, ident, key=lambda document: document.id)
        candidates = self.documents[index : index + 1]
        return candidates[0] if candidates and candidates[0].id == ident else None


@dataclass(frozen=True, slots=True)
class CorpusPart:
    """What a part of a corpus' files or lines holds; rules that concern the whole are checked once all parts are known."""

    documents: tuple[Document, ...]
    skipped: tuple[SkippedFile, ...]
    silent: tuple[str, ...]  # documents of which nothing says who may read them


def load_corpus(folder: Path, *, progress: Progress | None = None, bounds: Bounds | None = None, trusted: bool = True) -> Corpus:
    """The documents of a folder (or of one `.jsonl` file); a file that is no document is listed in `skipped`.

    Files that are not trusted, such as uploads, have no say about their tenant, groups and domain: `corpus.yaml` or `corpus.d` must.
    """
    bounds = bounds or Bounds()
    if folder.suffix == ".jsonl" and not folder.is_dir():
        return load_jsonl_corpus(folder, progress=progress, bounds=bounds, trusted=trusted)
    if not folder.is_dir():
        raise DataError(f"No folder {str(folder)!r}. A corpus is a folder of {known_suffixes()} files, or one .jsonl file.")
    if os.path.lexists(folder / LINES_FILE):
        lines = load_jsonl_corpus(folder / LINES_FILE, progress=progress, bounds=bounds, trusted=trusted)
        return replace(lines, skipped=(*lines.skipped, *list_beside_lines(folder)))
    loading = Loading(corpus_rules(folder), bounds, trusted)
    documents: list[Document] = []
    skipped: list[SkippedFile] = []
    for one in _each_file(folder, loading, progress, lambda ident, data: False):
        if isinstance(one, SkippedFile):
            skipped.append(one)
        elif one.document is not None:
            documents.append(one.document)
    if not documents:
        raise DataError(f"{folder}: holds no document. Known suffixes: {known_suffixes()}.{_skipped_list(skipped)}")
    return _whole(loading, str(folder), folder.resolve().name, documents, sorted(skipped, key=lambda skip: skip.path))


def load_jsonl_corpus(path: Path, *, progress: Progress | None = None, bounds: Bounds | None = None, trusted: bool = True) -> Corpus:
    """The documents of a file with one `{"id", "title", "text", "metadata"}` (or BEIR's `_id`) per line, texts as they stand.

    The rules beside it hold for them.
    """
    loading = Loading(corpus_rules(path.parent, below=path.name == LINES_FILE), bounds or Bounds(), trusted)
    documents: dict[str, Document] = {}
    lines: dict[str, int] = {}
    skipped: list[SkippedFile] = []
    for number, document in read_lines(path, loading):
        if document.id in lines:
            raise DataError(f"{path}:{number}: id {document.id!r} is already that of line {lines[document.id]}.")
        lines[document.id] = number
        if document.text.strip():
            documents[document.id] = document
        else:
            skipped.append(SkippedFile(document.id, "empty"))
        if progress and number % 1000 == 0:
            progress(number, number)
    if not documents:
        raise DataError(f'{path}: holds no document. Each line is a document: {{"id": …, "title": …, "text": …, "metadata": {{…}}}}.')
    if progress:
        progress(len(lines), len(lines))
    named = path.name == LINES_FILE
    return _whole(loading, str(path), path.parent.name if named else path.stem, documents.values(), skipped, named=named)


def corpus_files(
    folder: Path, *, known: Callable[[str, bytes], bool], progress: Progress | None = None, bounds: Bounds | None = None
) -> Iterator[CorpusFile | SkippedFile]:
    """The files of a folder one by one, as `load_corpus` reads them; a file whose id and bytes are `known` is not read again.

    What `load_corpus` refuses at the end, such as rules that match no document, is refused at the end here too.
    """
    loading = Loading(corpus_rules(folder), bounds or Bounds(), True)
    seen: set[str] = set()
    for one in _each_file(folder, loading, progress, known):
        seen.add(one.path if isinstance(one, SkippedFile) else one.id)
        yield one
    check_all_used(loading.rules.facts, seen)
    if loading.rules.required:
        check_all_stated(str(folder), sorted(loading.silent), f"{SETTINGS_FILE} says `access: required`")


def load_files(folder: Path, files: Iterable[Path], rules: CorpusRules, bounds: Bounds | None = None) -> CorpusPart:
    """Some files of a folder, as `load_corpus` reads them."""
    loading = Loading(rules, bounds or Bounds(), True)
    documents: list[Document] = []
    skipped: list[SkippedFile] = []
    for one in read_each(list(files), folder, loading, None, lambda ident, data: False):
        if isinstance(one, SkippedFile):
            skipped.append(one)
        elif one.document is not None:
            documents.append(one.document)
    return CorpusPart(tuple(documents), tuple(skipped), tuple(loading.silent))


def load_lines(path: Path, lines: LineRange, rules: CorpusRules, bounds: Bounds | None = None) -> CorpusPart:
    """Some lines of a `.jsonl` file, as `load_corpus` reads them."""
    loading = Loading(rules, bounds or Bounds(), True)
    read = [document for _, document in read_lines(path, loading, lines)]
    documents = tuple(document for document in read if document.text.strip())
    empty = tuple(SkippedFile(document.id, "empty") for document in read if not document.text.strip())
    return CorpusPart(documents, empty, tuple(loading.silent))


def check_whole(where: str, rules: CorpusRules, ids: set[str], skipped: Iterable[str], silent: Iterable[str]) -> tuple[str, ...]:
    """The rules that matched no document of a whole corpus; a `DataError` where `load_corpus` would raise one."""
    check_all_used(rules.facts, ids | set(skipped))
    if rules.required:
        check_all_stated(where, sorted(ids & set(silent)), f"{SETTINGS_FILE} says `access: required`")
    return rules.unused(ids)


def _each_file(
    folder: Path, loading: Loading, progress: Progress | None, known: Callable[[str, bytes], bool]
) -> Iterator[CorpusFile | SkippedFile]:
    files, skipped = list_files(folder)
    yield from skipped
    yield from read_each(files, folder, loading, progress, known)


def _whole(
    loading: Loading, where: str, name: str, documents: Iterable[Document], skipped: list[SkippedFile], *, named: bool = True
) -> Corpus:
    """The corpus of all documents, or a `DataError` where a rule matches none or a document lacks one."""
    read = list(documents)
    check_all_used(loading.rules.facts, {document.id for document in read} | {skip.path for skip in skipped})
    ids = {document.id for document in read}
    if loading.rules.required or not loading.trusted:
        why = f"{SETTINGS_FILE} says `access: required`" if loading.rules.required else "its files are not trusted to say it"
        check_all_stated(where, sorted(ids & set(loading.silent)), why)
    return Corpus.of((loading.rules.name if named else "") or name, read, skipped, loading.rules.unused(ids))


def _skipped_list(skipped: list[SkippedFile]) -> str:
    shown = "; ".join(f"{skip.path}: {skip.reason.rstrip('.')}" for skip in skipped[:5])
    return f" Skipped: {shown}{' …' if len(skipped) > 5 else ''}." if skipped else ""
