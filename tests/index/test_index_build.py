"""An index is built whole or not at all, once per recipe, and opens wherever it lies."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from moto.server import ThreadedMotoServer

from serving.pipeline.config import RagConfig
from serving.pipeline.errors import DataError, IntegrityError, ModelError, StoreError
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import build_index, ensure_index, index_uri, open_index, open_index_at
from serving.pipeline.index.context import indexed_text
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.index.embed import embed
from serving.pipeline.index.manifest import index_storage, write_manifest
from serving.pipeline.index.sums import check_sums
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Document
from serving.storage.base import Blob, Entry, Storage
from serving.storage.draft import draft_folder, publish_folder

DOCUMENTS = [Document(f"hr/doc{n}.md", f"# Part {n}\n\n" + f"Leave rule {n} gives {n} weeks. " * 60, f"Doc {n}", "hr") for n in range(6)]
CORPUS = Corpus.of("acme", DOCUMENTS)


def config(store: str = "lancedb", size: int = 300) -> RagConfig:
    values = {"index.embedder.name": "local:hashing", "index.store.name": store, "index.chunker.size": size}
    return RagConfig().replace(values)


def here(folder: Path, **values: object) -> PipelineSettings:
    return PipelineSettings(indexes=str(folder), **values)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("store", ["lancedb", "memory"])
async def test_a_built_index_finds_its_chunks_and_tells_what_it_is(tmp_path: Path, store: str) -> None:
    seen: list[tuple[int, int]] = []
    index = await build_index(CORPUS, config(store), settings=here(tmp_path), progress=lambda done, total: seen.append((done, total)))
    manifest = index.manifest
    assert (
        index.digest
        == config(store).digest("index", corpus=CORPUS.digest)
        == Path(index_uri(config(store), CORPUS.digest, here(tmp_path))).name
    )
    assert (manifest.corpus, manifest.corpus_digest, manifest.documents, manifest.dimensions) == ("acme", CORPUS.digest, 6, 256)
    assert manifest.chunks == await index.store.count() == seen[-1][0] == seen[-1][1] > 30
    assert manifest.index == config(store).index
    [query] = await embed(index.embeddings, ["Leave rule 4"])
    for found in (await index.store.search_vector(query, 3, Filter()), await index.store.search_text("Doc 4", 3, Filter())):
        assert {hit.chunk.document_id for hit in found} == {"hr/doc4.md"}
    assert names(tmp_path) == [index.digest]


async def test_ensure_builds_once_and_then_opens(tmp_path: Path) -> None:
    first = await ensure_index(CORPUS, config(), settings=here(tmp_path))
    built: list[object] = []
    again = await ensure_index(CORPUS, config(), settings=here(tmp_path), progress=lambda *done: built.append(done))
    assert built == []
    assert again.manifest == first.manifest == (await open_index(config(), CORPUS.digest, settings=here(tmp_path))).manifest
    other = await ensure_index(CORPUS, config(size=400), settings=here(tmp_path))
    assert other.digest != first.digest


async def test_two_builds_of_one_recipe_give_the_same_chunks_and_hits(tmp_path: Path) -> None:
    indexes = [await build_index(CORPUS, config(), settings=here(tmp_path / name)) for name in "ab"]
    [query] = await embed(indexes[0].embeddings, ["weeks of leave"])
    first, second = [
        (await i.store.search_vector(query, 20, Filter()), await i.store.search_text("weeks leave 3", 20, Filter())) for i in indexes
    ]
    assert first == second
    assert indexes[0].digest == indexes[1].digest


async def test_an_index_copied_elsewhere_still_opens(tmp_path: Path) -> None:
    built = await build_index(CORPUS, config(), settings=here(tmp_path / "a"))
    shutil.copytree(tmp_path / "a" / built.digest, tmp_path / "copy")
    shutil.rmtree(tmp_path / "a")
    copied = await open_index_at(str(tmp_path / "copy"), here(tmp_path / "nowhere"))
    assert copied.manifest == built.manifest
    assert await copied.store.search_text("rule", 2, Filter())


@pytest.mark.parametrize("corpus", [Corpus.of("none", []), Corpus.of("blank", [Document("a", " \n ")])])
async def test_nothing_to_index_is_a_data_error_that_leaves_nothing_behind(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(DataError, match="has nothing to index"):
        await build_index(corpus, config(), settings=here(tmp_path))
    assert names(tmp_path) == []


async def test_a_missing_index_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No index in .* touchstone index"):
        await open_index(config(), "0" * 16, settings=here(tmp_path))


async def test_a_manifest_that_does_not_fit_its_data_is_an_integrity_error(tmp_path: Path) -> None:
    built = await build_index(CORPUS, config(), settings=here(tmp_path))
    path = tmp_path / built.digest / "index.json"
    for change, message in [
        ({"chunks": 1}, "its manifest says 1"),
        ({"embedder_version": "0"}, "embedding model"),
        ({"store_version": "0"}, "where its manifest says 0"),
    ]:
        write_manifest(str(path.parent), built.manifest.model_copy(update=change), here(tmp_path))
        with pytest.raises(IntegrityError, match=message):
            await open_index_at(str(path.parent), here(tmp_path))
    whole = json.loads(path.read_text())
    for change, message in [({"documents": 7}, "index.json is not what was written"), ({"x": 1}, "is not a manifest")]:
        path.write_text(json.dumps(whole | change))
        with pytest.raises(IntegrityError, match=message):
            await open_index_at(str(path.parent), here(tmp_path))
    path.write_text("{")
    with pytest.raises(IntegrityError, match="is not a manifest"):
        await ensure_index(CORPUS, config(), settings=here(tmp_path))


async def test_a_folder_without_a_manifest_is_no_index_and_is_built_anew(tmp_path: Path) -> None:
    built = await build_index(CORPUS, config(), settings=here(tmp_path))
    (tmp_path / built.digest / "index.json").unlink()
    again = await ensure_index(CORPUS, config(), settings=here(tmp_path))
    assert await again.store.count() == built.manifest.chunks
    assert names(tmp_path) == [built.digest]


class Failing(Embeddings):
    """Fails at the second batch."""

    calls = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("connection lost")
        return [[1.0, 0.0]] * len(texts)

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]


async def test_a_build_that_fails_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    many = Corpus.of("many", [Document(f"d{n}", "word " * 200) for n in range(80)])
    with pytest.raises(ModelError, match=r"Failing failed on .* texts: connection lost"):
        await build_index(many, config(), settings=here(tmp_path), embeddings=Failing())
    assert names(tmp_path) == []


async def test_a_disk_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        await build_index(CORPUS, config(), settings=here(tmp_path / "file"))


BUILDER = """
    import asyncio, sys
    from pathlib import Path
    from serving.pipeline.config import RagConfig
    from serving.pipeline.index.build import build_index
    from serving.pipeline.index.corpus import load_corpus
    from serving.pipeline.settings import PipelineSettings

    def progress(done, total):
        print(done, total, flush=True)
        sys.stdin.readline()

    config = RagConfig().replace({"index.embedder.name": "local:hashing", "index.chunker.size": 300})
    corpus = load_corpus(Path(sys.argv[1]))
    asyncio.run(build_index(corpus, config, settings=PipelineSettings(indexes=sys.argv[2]), progress=progress))
"""


@pytest.mark.slow
def test_a_builder_killed_half_way_leaves_no_index_and_the_next_starts_clean(tmp_path: Path) -> None:
    path, folder = tmp_path / "many.jsonl", tmp_path / "indexes"
    path.write_text("\n".join(json.dumps({"id": f"d{n:03}", "text": f"Rule {n}. " * 80}) for n in range(200)))
    command = [sys.executable, "-c", textwrap.dedent(BUILDER), str(path), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        done, total = map(int, killed.stdout.readline().split())
        os.kill(killed.pid, signal.SIGKILL)
    assert 0 < done < total
    assert names(folder)
    assert all(name.startswith(".") for name in names(folder))
    index = asyncio.run(ensure_index(load_corpus(path), config(), settings=here(folder)))
    assert index.manifest.chunks == total
    assert names(folder) == [index.digest]


def test_a_builder_leaves_another_living_one_in_peace(tmp_path: Path) -> None:
    target = tmp_path / "index"
    with draft_folder(target) as first:
        (first / "index.json").write_text("first")
        with draft_folder(target) as second:
            (second / "index.json").write_text("second")
            assert (first / "index.json").read_text() == "first"
            publish_folder(second, target, "index.json")
        publish_folder(first, target, "index.json")
    assert (target / "index.json").read_text() == "second"
    assert names(tmp_path) == ["index"]


def test_what_a_stopped_builder_wrote_after_its_lock_was_gone_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".index.0123456789ab"
    left.mkdir()
    with draft_folder(tmp_path / "index"):
        assert not left.exists()


async def test_an_index_that_lies_in_anothers_place_is_refused(tmp_path: Path) -> None:
    wanted = config(size=400)
    other = await build_index(CORPUS, config(), settings=here(tmp_path))
    wrong = tmp_path / wanted.digest("index", corpus=CORPUS.digest)
    (tmp_path / other.digest).rename(wrong)
    with pytest.raises(IntegrityError, match=f"holds the index {other.digest}, not {wrong.name}. Remove it"):
        await ensure_index(CORPUS, wanted, settings=here(tmp_path))


async def test_builders_at_the_same_time_all_succeed(tmp_path: Path) -> None:
    indexes = await asyncio.gather(*(build_index(CORPUS, config(), settings=here(tmp_path)) for _ in range(3)))
    assert len({index.manifest.created_at for index in indexes}) == 1
    assert [await index.store.count() for index in indexes] == [indexes[0].manifest.chunks] * 3
    assert names(tmp_path) == [indexes[0].digest]


@pytest.fixture
def on_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineSettings]:
    """Settings for a bucket of its own on a server that speaks S3's protocol."""
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    bucket = f"indexes-{uuid4().hex[:8]}"  # the server's memory outlives it
    settings = PipelineSettings(indexes=f"s3://{bucket}/below/here", s3_endpoint=f"http://{host}:{port}")
    with closing(s3(settings)) as client:
        client.create_bucket(Bucket=bucket)
    yield settings
    server.stop()


def s3(settings: PipelineSettings) -> Any:
    return boto3.client("s3", endpoint_url=settings.s3_endpoint, region_name="us-east-1")


@pytest.mark.parametrize("store", ["lancedb", "memory"])
@pytest.mark.slow
async def test_an_index_on_s3_is_built_opened_and_searched(on_s3: PipelineSettings, store: str) -> None:
    first = await build_index(CORPUS, config(store), settings=on_s3)
    second = await ensure_index(CORPUS, config(store), settings=on_s3)
    assert second.manifest == first.manifest
    [query] = await embed(second.embeddings, ["Leave rule 4"])
    assert {hit.chunk.document_id for hit in await second.store.search_vector(query, 3, Filter())} == {"hr/doc4.md"}
    assert {hit.chunk.document_id for hit in await second.store.search_text("Doc 4", 3, Filter())} == {"hr/doc4.md"}
    both = await asyncio.gather(*(build_index(CORPUS, config(store), settings=on_s3) for _ in range(2)))
    assert [await index.store.count() for index in both] == [first.manifest.chunks] * 2


@pytest.mark.slow
async def test_an_index_on_s3_whose_objects_changed_is_refused(on_s3: PipelineSettings) -> None:
    built = await build_index(CORPUS, config("memory"), settings=on_s3)
    uri = index_uri(config("memory"), CORPUS.digest, on_s3)
    assert (await open_index_at(uri, on_s3, whole=True)).manifest == built.manifest
    storage = index_storage(uri, on_s3)
    key = f"{built.manifest.data}/chunks.jsonl"
    blob = storage.get(key)
    assert blob
    storage.put(key, blob.data.replace(b"weeks", b"years", 1))
    with pytest.raises(IntegrityError, match=rf"{key} is not what was written. Remove it and run: touchstone index"):
        await open_index_at(uri, on_s3, whole=True)
    storage.put(key, blob.data + b" ")
    with pytest.raises(IntegrityError, match=r"chunks\.jsonl has \d+ bytes, not"):
        await open_index_at(uri, on_s3)
    storage.delete(key)
    with pytest.raises(IntegrityError, match=r"chunks\.jsonl is missing"):
        await open_index_at(uri, on_s3)


async def test_in_a_bucket_only_what_was_written_after_its_sums_is_fetched_to_be_checked() -> None:
    class Dated(Storage):
        """Three objects, of which one was written after the sums."""

        place, fetched = "s3://x", list[str]()

        def list(self, prefix: str = "") -> Iterator[Entry]:
            for minute, key in enumerate(["data/old", "data.files.json", "data/new"]):
                if key.startswith(prefix):
                    yield Entry(key, 1, datetime(2026, 1, 1, 0, minute, tzinfo=UTC))

        def get(self, key: str) -> Blob | None:
            self.fetched.append(key)
            return Blob(sums if key == "data.files.json" else b"x", "")

    files = [{"name": f"data/{name}", "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()} for name in ("old", "new")]
    sums = json.dumps({"files": files}).encode()
    storage: Any = Dated()
    check_sums("s3://x", "data", hashlib.sha256(sums).hexdigest(), storage)
    assert storage.fetched == ["data.files.json", "data/new"]


async def test_a_build_that_fails_on_s3_leaves_no_index(on_s3: PipelineSettings) -> None:
    many = Corpus.of("many", [Document(f"d{n}", "word " * 200) for n in range(80)])
    with pytest.raises(ModelError):
        await build_index(many, config(), settings=on_s3, embeddings=Failing())
    with pytest.raises(StoreError, match="No index in s3://indexes-"):
        await open_index(config(), many.digest, settings=on_s3)
    with closing(s3(on_s3)) as client:
        objects = client.list_objects_v2(Bucket=on_s3.indexes.split("/")[2]).get("Contents", [])
    assert [item["Key"] for item in objects if not item["Key"].endswith("/")] == []


async def test_s3_that_does_not_answer_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    settings = PipelineSettings(indexes="s3://indexes", s3_endpoint="http://127.0.0.1:9")
    with pytest.raises(StoreError, match="index s3://indexes/.* is out of reach"):
        await ensure_index(CORPUS, config(), settings=settings)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], "length 0.0 for text 1 of 2"),
        ([[1.0, 0.0], [float("nan"), 0.0]], "length nan for text 1"),
        ([[1.0, 0.0]], r"shape \(1, 2\) for 2 texts"),
        ([[1.0], [1.0, 2.0]], "different lengths"),
    ],
)
async def test_vectors_that_are_none_are_a_model_error(rows: list[list[float]], message: str) -> None:
    class Given(Failing):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return rows

    with pytest.raises(ModelError, match=message):
        await embed(Given(), ["a", "b"])


async def test_vectors_come_out_with_length_one_from_either_interface() -> None:
    class Direct(DeterministicFakeEmbedding):
        def vectors(self, texts: list[str]) -> np.ndarray:
            return np.array([[3.0, 4.0]] * len(texts))

    assert (await embed(Direct(size=2), ["a"])).tolist() == np.array([[0.6, 0.8]], np.float32).tolist()
    rows = await embed(DeterministicFakeEmbedding(size=5), ["a", "b"])
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1])


def test_the_indexed_text_says_what_a_passage_is_about() -> None:
    chunk = Chunk("c", "d", 0, 4, "text", title="Guide", heading="Guide > Leave")
    assert [indexed_text(chunk, mode) for mode in ("none", "title", "heading")] == ["text", "Guide\ntext", "Guide > Leave\ntext"]
    assert indexed_text(Chunk("c", "d", 0, 4, "text"), "heading") == "text"
