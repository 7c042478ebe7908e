"""A folder or a JSONL file becomes documents, and nothing is lost silently."""

import json
import os
from pathlib import Path

import pytest

from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import load_corpus, load_jsonl_corpus
from serving.pipeline.index.read_file import read_file
from serving.pipeline.index.reading import Bounds


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_documents_have_ids_domains_and_facts_from_wherever_they_are_told(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "acme",
        {
            "hr/leave.md": "---\ntitle: Leave\nversion: 1.10\ngroups: [b, a]\ntenant: acme\nstatus: current\nowner: Lund\n---\n# Heading\n",
            "hr/deep/faq.html": "<title>FAQ</title><p>Q</p>",
            "legal/nda.md": "---\ndomain: contracts\n---\n# NDA\n\ntext",
            "notes.txt": "just notes",
            "corpus.yaml": "name: Acme Ltd\ndomains: {hr: people}\ndefaults: {version: '1'}\n",
            "corpus.d/a.yaml": "notes.txt:\n  title: Notes\n  effective: 2026-01-01\n  groups: exec, board\n",
            "CARD.md": "about",
            "image.png": "x",
            "empty.txt": " \n",
            ".hidden/x.md": "x",
        },
    )
    seen: list[tuple[int, int]] = []
    corpus = load_corpus(folder, progress=lambda done, total: seen.append((done, total)))
    assert corpus.name == "Acme Ltd"
    told = {doc.id: (doc.title, doc.domain, doc.version, doc.tenant, doc.groups, dict(doc.metadata)) for doc in corpus.documents}
    assert told == {
        "hr/deep/faq.html": ("FAQ", "people", "1", "public", (), {}),
        "hr/leave.md": ("Leave", "people", "1.10", "acme", ("a", "b"), {"owner": "Lund", "status": "current"}),
        "legal/nda.md": ("NDA", "contracts", "1", "public", (), {}),
        "notes.txt": ("Notes", "general", "1", "public", ("board", "exec"), {"effective": "2026-01-01"}),
    }
    assert list(told) == sorted(told)
    assert [(skip.path, skip.reason) for skip in corpus.skipped] == [
        ("CARD.md", "about the corpus"), ("empty.txt", "empty"), ("image.png", "no loader for '.png'"),
    ]  # fmt: skip
    assert seen == [(place, 5) for place in range(1, 6)]
    assert corpus.loaders == {".html": "2", ".md": "2", ".txt": "2"}


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    files = {"a/x.md": "# X\n\ntext", "b/y.txt": "text"}
    first, second = load_corpus(write(tmp_path / "one", files)), load_corpus(write(tmp_path / "two", dict(reversed(files.items()))))
    assert first.digest == second.digest == "bfca58de680f3763"
    write(tmp_path / "two", {"a/x.md": "---\ngroups: hr\n---\n# X\n\ntext"})
    assert load_corpus(tmp_path / "two").digest != first.digest


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"holds no document. Known suffixes: \.txt, .*\.docx"),
        ({"a.png": "x"}, r"holds no document.* Skipped: a\.png"),
        ({"a.txt": "x", "corpus.d/x.yaml": "b.txt: {title: B}"}, r"describes 'b\.txt', which is not in the corpus. Did you mean 'a\.txt'"),
        ({"a.txt": "x", "corpus.yaml": "names: B"}, r"unknown key 'names'. Did you mean 'name'\?"),
        ({"a.txt": "x", "corpus.d/x.yaml": "a.txt: B"}, "a mapping of its title"),
        ({"a.md": "---\ngroups: {hr: legal}\n---\ntext"}, r"a\.md:2: groups: names of groups are needed"),
        ({"a.md": "---\ngroups: [[hr]]\n---\ntext"}, "groups: names of groups are needed"),
        ({"a.txt": "x" * 101}, "has 101 characters; at most 100"),
        ({"a.txt": "é" * 80}, r"at most 0\.00015 MB are read"),
        ({"a.pdf": "x"}, r"a\.pdf: is not a PDF"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_corpus(write(tmp_path, files), bounds=Bounds(file_bytes=150, characters=100))


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No folder .* A corpus is a folder of \.txt"):
        load_corpus(tmp_path / "none")
    with pytest.raises(DataError, match="No file"):
        load_corpus(tmp_path / "none.jsonl")


@pytest.mark.parametrize("target", ["secret.md", "."])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    write(tmp_path / "outside", {"secret.md": "secret"})
    folder = write(tmp_path / "corpus", {"a.md": "a"})
    (folder / "link.md").symlink_to(tmp_path / "outside" / target)
    with pytest.raises(DataError, match="outside the corpus"):
        load_corpus(folder)


def test_a_link_inside_the_folder_is_a_file_like_any(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus", {"x/a.md": "a"})
    (folder / "b.md").symlink_to(folder / "x" / "a.md")
    (folder / "y").symlink_to(folder / "x")
    corpus = load_corpus(folder)
    assert [document.id for document in corpus.documents] == ["b.md", "x/a.md"]
    assert [skip.path for skip in corpus.skipped] == ["y"]


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_a_jsonl_corpus_keeps_texts_as_they_stand(tmp_path: Path) -> None:
    rows = [
        {"_id": "2", "text": "b\r\n"},
        {"id": "1", "title": "T", "text": "a", "metadata": {"domain": "hr", "n": 1, "faq": False, "x": None}},
    ]
    corpus = load_corpus(jsonl(tmp_path / "set.jsonl", *rows, "", {"id": "3", "text": " "}))
    first, second = corpus.documents
    assert (corpus.name, first.id, first.title, first.domain, first.source) == ("set", "1", "T", "hr", "1")
    assert dict(first.metadata) == {"n": "1", "faq": "false"}
    assert (second.text, second.domain) == ("b\r\n", "general")
    assert [(skip.path, skip.reason) for skip in corpus.skipped] == [("3", "empty")]
    assert load_jsonl_corpus(jsonl(tmp_path / "other.jsonl", *reversed(rows))).digest == corpus.digest


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([1], "an object is needed"),
        ({"text": "a"}, "'id' must be a text, not None"),
        ({"id": 1, "text": "a"}, "'id' must be a text, not 1"),
        ({"id": "1"}, "'text' must be a text"),
        ({"id": "1", "text": "a", "metadata": []}, None),
        ({"id": "1", "text": "a", "metadata": [1]}, "'metadata' must be an object"),
        ({"id": "ok", "text": "a"}, "id 'ok' is already that of line 1"),
        ('{"id": "1", "text": "\\ud800"}', "holds half a surrogate pair"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: object, message: str | None) -> None:
    path = jsonl(tmp_path / "c.jsonl", {"id": "ok", "text": "a"}, row)
    if message is None:
        assert len(load_corpus(path).documents) == 2
        return
    with pytest.raises(DataError, match=rf"c\.jsonl:2: {message}"):
        load_corpus(path)


def hostile(folder: Path, name: str) -> None:
    """Put a file that is none into a folder."""
    path = folder / name
    match name:
        case "pipe.md" | "corpus.jsonl":
            os.mkfifo(path)
        case "itself.md":
            path.symlink_to(name)
        case "binary.md":
            path.write_bytes(b"\x7fELF\0\0")
        case "not.pdf":
            path.write_text("hello")
        case _:
            path.write_text("x")


@pytest.mark.slow
def test_what_cannot_be_read_is_skipped_by_name_and_the_others_are_read(tmp_path: Path) -> None:
    names = ["pipe.md", "itself.md", "binary.md", "not.pdf", "two\nlines\x1b[31m.md", "turned\u202egpj.md"]
    for name in names:
        hostile(tmp_path, name)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "loop").symlink_to("..")
    (tmp_path / "good.md").write_text("# Good")
    (tmp_path / "good.html").write_text("<p>page")
    corpus = load_corpus(tmp_path)
    assert [document.text for document in corpus.documents] == ["page", "# Good"]
    assert {skip.path: skip.reason.split(".")[0].split(" (")[0] for skip in corpus.skipped} == {
        "pipe.md": "not a file",
        "itself.md": "not a file",
        "binary.md": "is not text",
        "not.pdf": "is not a PDF",
        r"two\nlines\x1b[31m.md": "a name with control characters",
        r"turned\u202egpj.md": "a name with control characters",
        "sub/loop": "a link to another folder of the corpus",
    }


def test_a_pipe_in_place_of_the_lines_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    hostile(tmp_path, "corpus.jsonl")
    with pytest.raises(DataError, match=r"corpus\.jsonl: is not a regular file"):
        load_corpus(tmp_path)


@pytest.mark.parametrize("name", ["a.md", "corpus.yaml", "corpus.jsonl", "corpus.d/a.yaml"])
@pytest.mark.parametrize("target", ["/etc/passwd", "/dev/zero"])
def test_no_link_leads_out_of_the_folder_and_nothing_of_it_is_shown(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "good.md").write_text("text")
    (tmp_path / "corpus.d").mkdir()
    (tmp_path / name).symlink_to(target)
    with pytest.raises(DataError) as refused:
        load_corpus(tmp_path)
    assert "root:" not in str(refused.value)


def test_a_file_whose_size_is_not_what_it_said_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was changed while it was read"):  # it says 0 bytes, and holds some, as one that grows does
        read_file(Path("/proc/self/status"), most=1_000_000, inside=Path("/proc"))


def test_a_line_of_json_longer_than_any_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "text": "' + "x" * 1000 + '"}')
    with pytest.raises(DataError, match=r"corpus\.jsonl:1: has more than"):
        load_corpus(tmp_path, bounds=Bounds(characters=100))
