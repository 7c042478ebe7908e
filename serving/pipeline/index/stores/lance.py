"""Chunks in LanceDB, in a folder or on S3: vectors, full text and filters in one table."""

import json
import re
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from serving.pipeline.errors import IntegrityError, StoreError
from serving.pipeline.index.base import Filter, ScoredChunk, StoredRow, Vectors, metadata_entries
from serving.pipeline.index.checked_vectors import checked_vectors
from serving.pipeline.index.rank import ranked, top_k
from serving.pipeline.index.stores.sql_filter import sql_condition, sql_literal, storable
from serving.pipeline.index.stores.storage_options import storage_options
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk
from serving.storage.place import absolute, is_remote

if TYPE_CHECKING:
    from lancedb.table import AsyncTable

TABLE = "chunks"
EXTRA_HITS = 16  # hits fetched beyond k, to see all of a tie at the end
SOURCE_LINE = re.compile(r",? /\S+\.rs:\d+:\d+")  # where in LanceDB's own source an error arose
ROWS_AT_A_TIME = 1024  # in one batch of a full read
IDS_PER_QUERY = 500  # ids in one condition
CHUNK_COLUMNS = [
    "id",
    "document_id",
    "start",
    "end",
    "ordinal",
    "text",
    "title",
    "heading",
    "domain",
    "source",
    "version",
    "tenant",
    "instruction_score",
]
COLUMNS = [*CHUNK_COLUMNS, "groups", "metadata"]


class LanceStore:
    """One table, the store of record; a large one is searched through an HNSW graph, a small one by its resident searcher.

    Asked itself, it finds in a small table what the resident searcher finds.

    LanceDB must not be used on both sides of a fork: start workers by spawning, and open tables in them.
    """

    version: ClassVar[str] = "2"

    class Params(PlugInParams):
        """When and how the vector index is used; `bench/ann.py` measures what they cost."""

        ann_above: int = Field(default=200_000, ge=1)  # rows up to which every vector is compared
        refine: int = Field(default=10, ge=1, le=100)  # times k candidates of the graph that are compared exactly
        stop_words: Literal["keep", "drop"] = "drop"  # "the", "and" in full-text search

    def __init__(self, params: Params, *, uri: str, dimensions: int, settings: PipelineSettings) -> None:
        self.params = params
        self._uri = absolute(uri)
        self._dimensions = dimensions
        self._settings = settings
        self._open_table: AsyncTable | None = None
        self._approximate = False

    @property
    def resident_up_to(self) -> int:
        """Chunks up to which every one is compared."""
        return self.params.ann_above

    @property
    def counted_stop_words(self) -> Literal["keep", "drop"]:
        """Whether full-text search counts stop words."""
        return self.params.stop_words

    async def add(self, chunks: Sequence[Chunk], texts: Sequence[str], vectors: Vectors) -> None:
        """Append a batch; the first one makes the table."""
        import pyarrow as pa

        rows = checked_vectors(vectors, self._dimensions)
        if not len(chunks) == len(texts) == len(rows):
            raise StoreError(f"A batch needs one text and one vector for each chunk, not {len(chunks)}, {len(texts)} and {len(rows)}.")
        with self._lance_errors("written"):
            table = self._open_table or await self._create()
            columns = {name: [getattr(chunk, name) for chunk in chunks] for name in CHUNK_COLUMNS}
            columns |= {
                "groups": [list(chunk.groups) for chunk in chunks],
                "open": [not chunk.groups for chunk in chunks],
                "metadata": [json.dumps(dict(chunk.metadata), ensure_ascii=False, sort_keys=True) for chunk in chunks],
                "facts": [metadata_entries(chunk.metadata) for chunk in chunks],
                "indexed": list(texts),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), self._dimensions),
            }
            await table.add(pa.table(columns, schema=self._schema()))

    async def finish(self) -> str:
        """Compact the table and build its indexes; returns LanceDB's version of it."""
        from lancedb.index import FTS, BTree, HnswSq

        table = await self._table()
        with self._lance_errors("indexed"):
            await table.optimize()
            drop = self.params.stop_words == "drop"
            await table.create_index("indexed", config=FTS(remove_stop_words=drop, num_workers=1), replace=True)
            for column in ("id", "document_id"):
                await table.create_index(column, config=BTree(), replace=True)
            await self._choose_search(table)
            if self._approximate:
                await table.create_index("vector", config=HnswSq(distance_type="cosine", num_partitions=1), replace=True)
            return str(await table.version())

    async def remove(self, document_ids: Iterable[str]) -> None:
        """Remove the rows of documents; a document without rows is no error."""
        table = await self._table()
        for condition in _documents(document_ids):
            with self._lance_errors("written"):
                await table.delete(condition)

    async def count_of(self, document_ids: Iterable[str]) -> int:
        """How many rows documents have, now."""
        table = await self._table()
        with self._lance_errors("read"):
            await table.checkout_latest()  # type: ignore[no-untyped-call]  # LanceDB forgot its annotation
            return sum([int(await table.count_rows(condition)) for condition in _documents(document_ids)])

    async def forget_versions(self) -> str:
        """Remove the files of all versions but the newest, whose number is returned, and those that killed writers left.

        Only while nobody else reads or writes.
        """
        table = await self._table()
        with self._lance_errors("tidied"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimize.cleanup_older_than=0. removes every version", UserWarning)
            await table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
            return str(await table.version())

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity; exact in a small table, and nearly so in a large one."""
        query = checked_vectors(np.asarray(vector).reshape(1, -1), self._dimensions)[0]
        condition = sql_condition(where)
        table = await self._table()

        def build_query(limit: int) -> Any:
            search = table.query().nearest_to(query).distance_type("cosine").where(condition).limit(limit)
            search = search.refine_factor(self.params.refine) if self._approximate else search.bypass_vector_index()
            return search.select([*COLUMNS, "_distance"])

        return await self._top(build_query, k, lambda row: 1.0 - row["_distance"])

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25 over the indexed texts; words are looked up as they are, so that no text is a syntax error."""
        from lancedb.query import MatchQuery

        words = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
        if not words.strip():
            return []
        condition = sql_condition(where)
        match: Any = MatchQuery  # its pydantic dataclass hides its defaults from type checkers
        table = await self._table()

        def build_query(limit: int) -> Any:
            search = table.query().nearest_to_text(match(words, "indexed"))
            return search.where(condition).limit(limit).select([*COLUMNS, "_score"])

        return await self._top(build_query, k, lambda row: row["_score"])

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        """A document's chunks with ordinals first..last, in order."""
        if not storable(document_id):
            return []
        condition = (
            f"document_id = {sql_literal(document_id)} AND ordinal >= {int(first)} AND ordinal <= {int(last)} AND {sql_condition(where)}"
        )
        table = await self._table()
        with self._lance_errors("read"):
            rows = await table.query().where(condition).select(COLUMNS).to_list()
        return sorted((_chunk(row) for row in rows), key=lambda chunk: chunk.ordinal)

    async def vectors(self, ids: Iterable[str]) -> dict[str, Vectors]:
        """The stored vectors of chunks; an unknown id has none."""
        wanted = sorted({chunk_id for chunk_id in ids if storable(chunk_id)})
        vectors_by_id: dict[str, Vectors] = {}
        table = await self._table()
        for start in range(0, len(wanted), IDS_PER_QUERY):
            condition = f"id IN ({', '.join(sql_literal(chunk_id) for chunk_id in wanted[start : start + IDS_PER_QUERY])})"
            with self._lance_errors("read"):
                rows = await table.query().where(condition).select(["id", "vector"]).to_arrow()
            values = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, self._dimensions)
            vectors_by_id |= {name: np.array(row, dtype=np.float32) for name, row in zip(rows["id"].to_pylist(), values, strict=True)}
        return {chunk_id: vectors_by_id[chunk_id] for chunk_id in wanted if chunk_id in vectors_by_id}

    async def count(self) -> int:
        """How many chunks there are."""
        table = await self._table()
        with self._lance_errors("read"):
            return int(await table.count_rows())

    async def rows(self, limit: int | None = None) -> AsyncIterator[Sequence[StoredRow]]:
        """Every row as it is stored, or the first few."""
        table = await self._table()
        query = table.query().select([*COLUMNS, "open", "facts", "indexed", "vector"])
        with self._lance_errors("read"):
            batches = aiter(await (query if limit is None else query.limit(limit)).to_batches(max_batch_length=ROWS_AT_A_TIME))
        while True:
            with self._lance_errors("read"):
                batch = await anext(batches, None)
            if batch is None:
                return
            with self._lance_errors("read"):
                stored = _stored_rows(batch, self._dimensions)
            yield stored

    async def data_version(self) -> str:
        """LanceDB's version of the table."""
        table = await self._table()
        with self._lance_errors("read"):
            return str(await table.version())

    def close(self) -> None:
        """Let go of the table; the next use opens it again."""
        if self._open_table is not None:
            self._open_table.close()  # type: ignore[no-untyped-call]  # LanceDB forgot its annotation
            self._open_table = None

    async def _top(self, build_query: Callable[[int], Any], k: int, score: Callable[[Any], float]) -> list[ScoredChunk]:
        if k <= 0:
            return []
        limit = k + EXTRA_HITS
        while True:
            with self._lance_errors("searched"):
                rows = await build_query(limit).to_list()
            top = top_k(ranked(ScoredChunk(_chunk(row), score(row)) for row in rows), k, limit)
            if top is not None:
                return top
            limit *= 4

    async def _table(self) -> "AsyncTable":
        if self._open_table is None:
            with self._lance_errors("opened"):
                database = await self._connect()
                table = await database.open_table(TABLE)
                await self._choose_search(table)
                self._open_table = table
        return self._open_table

    async def _create(self) -> "AsyncTable":
        database = await self._connect()
        self._open_table = await database.create_table(TABLE, schema=self._schema(), exist_ok=True)
        return self._open_table

    async def _connect(self) -> Any:
        import lancedb

        return await lancedb.connect_async(self._uri, storage_options=storage_options(self._uri, self._settings) or None)

    async def _choose_search(self, table: "AsyncTable") -> None:
        self._approximate = await table.count_rows() > self.params.ann_above

    def _schema(self) -> Any:
        import pyarrow as pa

        types: dict[str, Any] = dict.fromkeys(CHUNK_COLUMNS, pa.string()) | dict.fromkeys(["start", "end", "ordinal"], pa.int64())
        types["instruction_score"] = pa.float64()
        types |= {"groups": pa.list_(pa.string()), "open": pa.bool_(), "metadata": pa.string(), "facts": pa.list_(pa.string())}
        return pa.schema([*types.items(), ("indexed", pa.string()), ("vector", pa.list_(pa.float32(), self._dimensions))])

    @contextmanager
    def _lance_errors(self, verb: str) -> Iterator[None]:
        """Turns the exceptions of LanceDB into a `StoreError`, and a panic of its Rust code into an `IntegrityError`."""
        try:
            yield
        except BaseException as error:
            if "Panic" in type(error).__name__:  # pyo3's PanicException is a BaseException that no module exports
                text = " ".join(str(error).split())[:200]
                raise IntegrityError(f"The index in {self._uri} is damaged: LanceDB gave up on it ({text}). {self._mend()}") from error
            if not isinstance(error, OSError | RuntimeError | ValueError):
                raise
            reason = SOURCE_LINE.sub("", " ".join(str(error).split()))[:300]
            local = verb in ("opened", "read", "searched") and not is_remote(self._uri)
            mend = f" If it is damaged: {self._mend()}" if local else ""
            raise StoreError(f"The index in {self._uri} could not be {verb}: {reason.rstrip('.')}.{mend}") from error

    def _mend(self) -> str:
        place = self._uri.rpartition("/")[0]
        return f"Remove {place} and run: touchstone index"


def _documents(ids: Iterable[str]) -> Iterator[str]:
    """Conditions that together hold for the rows of documents."""
    wanted = sorted({name for name in ids if storable(name)})
    for start in range(0, len(wanted), IDS_PER_QUERY):
        yield f"document_id IN ({', '.join(sql_literal(name) for name in wanted[start : start + IDS_PER_QUERY])})"


def _chunk(row: dict[str, Any]) -> Chunk:
    plain = {name: row[name] for name in CHUNK_COLUMNS}
    return Chunk(**plain, groups=tuple(row["groups"]), metadata=MappingProxyType(json.loads(row["metadata"])))


def _stored_rows(batch: Any, dimensions: int) -> list[StoredRow]:
    """The rows of an Arrow batch."""
    vectors = batch.column("vector").flatten().to_numpy(zero_copy_only=False).reshape(-1, dimensions)
    rows = batch.drop_columns(["vector"]).to_pylist()
    return [
        StoredRow(_chunk(row), row["indexed"], vector, row["open"], tuple(row["facts"])) for row, vector in zip(rows, vectors, strict=True)
    ]
