import asyncio
import json
from pathlib import Path

import pytest

from serving.pipeline import artefacts
from serving.pipeline.artefacts import BundledArtefacts, FolderArtefacts, collect_artefacts, keep_artefact
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_bytes
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.route import ROUTERS
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Query
from tests.support.fitted import WEIGHTS
from tests.support.pipelines import small_index, small_pipeline

SAFETENSORS = (header := json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()) and (
    len(header).to_bytes(8, "little") + header + b"\0\0\0\0"
)


@pytest.fixture(autouse=True)
def fitted_router(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROUTERS._table, "fitted", "tests.support.fitted:FittedRouter")  # a table of strings takes any module's class


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    return small_index(tmp_path_factory.mktemp("home"))


def naming(digest: str, **params: object) -> RagConfig:
    return RagConfig.parse({"route": {"router": {"name": "fitted", "fitted": digest, **params}}})


def test_what_is_kept_is_read_back_by_its_digest(tmp_path: Path) -> None:
    digest = keep_artefact(tmp_path, WEIGHTS)
    data = FolderArtefacts(tmp_path).read(digest)
    assert json.loads(data) == WEIGHTS
    assert digest_bytes(data) == digest
    assert keep_artefact(tmp_path, dict(reversed(WEIGHTS.items()))) == digest  # the order of keys is no content
    tensors = keep_artefact(tmp_path, SAFETENSORS)
    assert FolderArtefacts(tmp_path).read(tensors) == SAFETENSORS
    assert {path.name for path in tmp_path.iterdir()} == {f"{digest}.json", f"{tensors}.safetensors"}


@pytest.mark.parametrize("data", [b"", b"\x80\x04\x95pickled", b"{not json", b"\xff" * 20, b"[" * 100_000])
def test_only_json_and_safetensors_are_artefacts(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="JSON object or list, or a safetensors file"):
        keep_artefact(tmp_path, data)
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_not_those_of_the_digest_are_refused(tmp_path: Path) -> None:
    digest = keep_artefact(tmp_path, WEIGHTS)
    (tmp_path / f"{digest}.json").write_text('{"threshold": 0.9}')
    with pytest.raises(IntegrityError, match=rf"{digest}\.json hashes to .*altered"):
        FolderArtefacts(tmp_path).read(digest)
    with pytest.raises(IntegrityError, match="altered"):
        BundledArtefacts({f"{digest}.json": b"{}"}).read(digest)


def test_a_file_that_is_too_large_is_refused_before_it_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = keep_artefact(tmp_path, WEIGHTS)
    monkeypatch.setattr(artefacts, "MOST_BYTES", 10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        FolderArtefacts(tmp_path).read(digest)


def test_a_configuration_lists_the_artefacts_it_names_by_their_paths() -> None:
    a, b, c = "a" * 16, "b" * 16, "c" * 16
    assert naming(a, more=[b, c]).artefacts() == {
        "route.router.fitted": a,
        "route.router.more.0": b,
        "route.router.more.1": c,
    }
    assert RagConfig.parse({}).artefacts() == {}
    assert naming(a).digest("route") != naming(b).digest("route")


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "ABCDEF0123456789", "a" * 15])
def test_what_is_no_digest_is_no_artefact(digest: str) -> None:
    with pytest.raises(ConfigError, match="fitted"):
        naming(digest)


def test_a_tier_in_a_list_must_be_known_as_well() -> None:
    with pytest.raises(ConfigError, match=r"route\.router\.tiers\.1: no tier 'max' in answer\.models\. Known: lite, pro\."):
        naming("a" * 16, tiers=["lite", "max"])


def test_a_release_carries_what_its_configuration_names(tmp_path: Path) -> None:
    digest, tensors = keep_artefact(tmp_path, WEIGHTS), keep_artefact(tmp_path, SAFETENSORS)
    keep_artefact(tmp_path, {"of": "another"})
    carried = collect_artefacts(naming(digest, more=[tensors]), FolderArtefacts(tmp_path))
    assert set(carried) == {f"{digest}.json", f"{tensors}.safetensors"}
    assert BundledArtefacts(carried).read(tensors) == SAFETENSORS
    assert collect_artefacts(RagConfig.parse({}), BundledArtefacts({})) == {}


def test_a_part_reads_its_artefact_from_home_or_from_a_release(tmp_path: Path, index: OpenIndex) -> None:
    settings = PipelineSettings(home=tmp_path, _env_file=None)
    digest = keep_artefact(settings.artefact_folder, WEIGHTS)
    changes = {"route.router.name": "fitted", "route.router.fitted": digest}
    for source in (None, BundledArtefacts(collect_artefacts(naming(digest), FolderArtefacts(settings.artefact_folder)))):
        router = small_pipeline(index, changes, settings=settings, artefacts=source).router
        assert [asyncio.run(router.route(Query("x" * length), [])).tier for length in (20, 30)] == ["lite", "pro"]


def test_a_pipeline_without_an_artefact_it_needs_is_not_built(tmp_path: Path, index: OpenIndex) -> None:
    changes = {"route.router.name": "fitted", "route.router.fitted": "a" * 16}
    with pytest.raises(DataError, match=r"route\.router\.fitted: No artefact 'aaaaaaaaaaaaaaaa' in .*artefacts\. Fit it again"):
        small_pipeline(index, changes, settings=PipelineSettings(home=tmp_path, _env_file=None))
