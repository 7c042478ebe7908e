"""What `touchstone index --engine` refuses, and how."""

import socket
import sys
import threading

import pytest

from tests.support.world import World


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--engine", "dask"], "no engine 'dask'. Known: local, ray"),
        (["--engine", "ray", "--verify"], "leave --engine out"),
        (["--workers", "2"], "--workers are those of --engine ray"),
        (["--corpus", "s3://bucket/documents"], "add --engine ray"),
        (["--engine", "ray", "-s", "index.store.name=memory"], "'memory' takes one writer"),
        (["--engine", "ray", "--corpus", "nowhere"], "No corpus 'nowhere'"),
        (["--engine", "ray", "--corpus", "s3://"], "names no bucket. Write s3://bucket/prefix."),
    ],
)
def test_options_that_do_not_go_together_are_one_line_and_exit_code_2(world: World, options: list[str], words: str) -> None:
    said = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", *options)
    assert said.code == 2, said.err
    assert words in said.err
    assert len(said.err.splitlines()) == 1


def test_without_ray_the_mend_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("harness.ray", "harness.index_build.ray"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    said = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", "--engine", "ray")
    assert said.code == 2, said.err
    assert "Run: uv sync --extra ray" in said.err


def test_a_cluster_that_is_not_there_is_one_line_and_exit_code_3(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    said = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", "--engine", "ray")
    assert said.code == 3, said.err
    assert "touchstone: The Ray cluster at 127.0.0.1:9 cannot be reached: " in said.err
    assert not (world.root / ".touchstone/indexes").exists() or not list((world.root / ".touchstone/indexes").glob("[0-9a-f]*"))


def test_the_address_of_a_dashboard_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    said = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", "--engine", "ray")
    assert said.code == 2, said.err
    assert said.err.splitlines()[-1].endswith("is that of a dashboard. Give host:6379, ray://host:10001 or auto.")


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_something_else_that_listens_there_is_found_out_at_once(world: World, monkeypatch: pytest.MonkeyPatch, reply: bytes) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(reply)

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        said = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", "--engine", "ray")
    assert said.code == 3, said.err
    assert "cannot be reached: what listens there is no Ray. Its port is 6379" in said.err
