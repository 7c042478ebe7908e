"""A restriction holds, or indexing is refused with the file and the line: no document becomes public without a word."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pipeline.errors import DataError
from serving.pipeline.index.access import FIELDS, Access, AccessRule, is_slip, slips, sounds_like
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.types import PUBLIC, Document

BODY = "# Pay\n\nThe bands are secret."


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def front(*lines: str) -> str:
    return "\n".join(["---", *lines, "---", BODY])


def entry(*lines: str) -> str:
    return "\n".join(["pay.txt:", *(f"  {line}" for line in lines)])


def row(**fields: object) -> str:
    return json.dumps({"id": "pay.txt", "text": BODY, **fields})


HELD = "defaults: {groups: [hr]}"
NEARLY: dict[str, tuple[dict[str, str], str]] = {  # files, and where the message points
    "Groups": ({"pay.md": front("title: Pay", "Groups: [hr]")}, "pay.md:3"),
    "group": ({"pay.md": front("group: hr")}, "pay.md:2"),
    "acl": ({"pay.md": front("acl: [hr]")}, "pay.md:2"),
    "Tenant": ({"pay.md": front("Tenant: acme")}, "pay.md:2"),
    "groups without a value": ({"pay.md": front("groups:")}, "pay.md:2"),
    "groups []": ({"pay.md": front("groups: []")}, "pay.md:2"),
    "groups null": ({"pay.md": front("groups: null")}, "pay.md:2"),
    "tenant ~": ({"pay.md": front("tenant: ~")}, "pay.md:2"),
    "tenant Public": ({"pay.md": front("tenant: Public")}, "pay.md:2"),
    "a key twice": ({"pay.md": front("groups: [hr]", "title: Pay", "groups: [all]")}, "pay.md:4"),
    "a merge key": ({"pay.md": front("x: &x {groups: [hr]}", "<<: *x")}, "pay.md:3"),
    "nested": ({"pay.md": front("meta:", "  groups: [hr]")}, "pay.md:3"),
    "access of a mapping": ({"pay.md": front("access:", "  groups: [hr]")}, "pay.md:3"),
    "access private": ({"pay.md": front("access: private")}, "pay.md:2"),
    "permissions": ({"pay.md": front("permissions: hr")}, "pay.md:2"),
    "visibility": ({"pay.md": front("visibility: internal")}, "pay.md:2"),
    "roles": ({"pay.md": front("roles: [hr]")}, "pay.md:2"),
    "allowed_groups": ({"pay.md": front("allowed_groups: [hr]")}, "pay.md:2"),
    "tenantId": ({"pay.md": front("tenantId: acme")}, "pay.md:2"),
    "letters of another script": ({"pay.md": front("grоups: [hr]")}, "pay.md:2"),
    "a blank line before": ({"pay.md": "\n" + front("groups: [hr]")}, "pay.md:3"),
    "a space before": ({"pay.md": " " + front("groups: [hr]")}, "pay.md:2"),
    "a comment before": ({"pay.md": "<!-- internal -->\n" + front("groups: [hr]")}, "pay.md:3"),
    "a heading before": ({"pay.md": "# internal\n" + front("groups: [hr]")}, "pay.md:3"),
    "no closing line": ({"pay.md": "---\ngroups: [hr]\n" + BODY}, "pay.md:2"),
    "closed by dots": ({"pay.md": f"---\ngroups: [hr]\n...\n{BODY}"}, "pay.md:2"),
    "TOML": ({"pay.md": f'+++\ngroups = ["hr"]\n+++\n{BODY}'}, "pay.md:2"),
    "JSON": ({"pay.md": '{\n  "groups": ["hr"]\n}\n' + BODY}, "pay.md:2"),
    "four dashes": ({"pay.md": f"----\ngroups: [hr]\n----\n{BODY}"}, "pay.md:2"),
    "two dashes": ({"pay.md": f"--\ngroups: [hr]\n--\n{BODY}"}, "pay.md:2"),
    "a word behind the dashes": ({"pay.md": f"--- # meta\ngroups: [hr]\n---\n{BODY}"}, "pay.md:2"),
    "a code block": ({"pay.md": f"```yaml\ngroups: [hr]\n```\n{BODY}"}, "pay.md:2"),
    "no fence": ({"pay.md": f"groups: [hr]\n\n{BODY}"}, "pay.md:1"),
    "a second front matter": ({"pay.md": "---\ntitle: Pay\n---\n" + front("groups: [hr]")}, "pay.md:5"),
    "front matter in txt": ({"pay.txt": front("groups: [hr]")}, "pay.txt:2"),
    "front matter in html": ({"pay.html": front("groups: [hr]")}, "pay.html:2"),
    "a meta element": ({"pay.html": '<html><head><meta name="groups" content="hr"></head><body>x</body>'}, "pay.html:1"),
    "a meta element in a long line": ({"pay.html": f"<style>{'p{}' * 500}</style><meta name='acl' content='hr'>"}, "pay.html:1"),
    "a comment in html": ({"pay.html": "<!-- groups: hr -->\n<p>x"}, "pay.html:1"),
    "corpus.d/x.yml": ({"pay.txt": BODY, "corpus.d/x.yml": entry("groups: [hr]")}, "corpus.d/x.yml"),
    "corpus.d/x.YAML": ({"pay.txt": BODY, "corpus.d/x.YAML": entry("groups: [hr]")}, "corpus.d/x.YAML"),
    "corpus.d/.x.yaml": ({"pay.txt": BODY, "corpus.d/.x.yaml": entry("groups: [hr]")}, "corpus.d/.x.yaml"),
    "a folder below corpus.d": ({"pay.txt": BODY, "corpus.d/hr/x.yaml": entry("groups: [hr]")}, "corpus.d/hr"),
    "Corpus.d": ({"pay.txt": BODY, "Corpus.d/x.yaml": entry("groups: [hr]")}, "Corpus.d"),
    "corpus_d": ({"pay.txt": BODY, "corpus_d/x.yaml": entry("groups: [hr]")}, "corpus_d"),
    "corpus.yml": ({"pay.txt": BODY, "corpus.yml": HELD}, "corpus.yml"),
    "Corpus.yaml": ({"pay.txt": BODY, "Corpus.yaml": HELD}, "Corpus.yaml"),
    ".corpus.yaml": ({"pay.txt": BODY, ".corpus.yaml": HELD}, ".corpus.yaml"),
    "corpus.json": ({"pay.txt": BODY, "corpus.json": '{"defaults": {"groups": ["hr"]}}'}, "corpus.json"),
    "Groups in corpus.yaml": ({"pay.txt": BODY, "corpus.yaml": "defaults: {Groups: [hr]}"}, "corpus.yaml:1"),
    "groups beside the defaults": ({"pay.txt": BODY, "corpus.yaml": "name: A\ngroups: [hr]"}, "corpus.yaml:2"),
    "empty groups in corpus.yaml": ({"pay.txt": BODY, "corpus.yaml": "name: A\ndefaults:\n  groups: []"}, "corpus.yaml:3"),
    "a slip in access: required": ({"pay.txt": BODY, "corpus.yaml": "access: requird"}, "corpus.yaml:1"),
    "Groups in corpus.d": ({"pay.txt": BODY, "corpus.d/x.yaml": entry("title: Pay", "Groups: [hr]")}, "corpus.d/x.yaml:3"),
    "a key twice in corpus.d": ({"pay.txt": BODY, "corpus.d/x.yaml": entry("groups: [hr]", "groups: [all]")}, "corpus.d/x.yaml:3"),
    "a document that empties its corpus' groups": ({"pay.md": front("groups: []"), "corpus.yaml": HELD}, "pay.md:2"),
    "a document that adds to its corpus' groups": ({"pay.md": front("groups: [hr, all]"), "corpus.yaml": HELD}, "pay.md:2"),
    "a document that says public": ({"pay.md": front("access: public"), "corpus.yaml": HELD}, "pay.md:2"),
    "a document of another tenant": ({"pay.md": front("tenant: public"), "corpus.yaml": "defaults: {tenant: acme}"}, "pay.md:2"),
    "a document with an empty tenant": ({"pay.md": front('tenant: ""'), "corpus.yaml": "defaults: {tenant: acme}"}, "pay.md:2"),
    "an entry that opens": (
        {"pay.txt": BODY, "corpus.yaml": HELD, "corpus.d/x.yaml": entry("access: public")}, "corpus.d/x.yaml:2",
    ),
    "a document that opens its entry": (
        {"pay.md": front("groups: [all]"), "corpus.d/x.yaml": "pay.md: {groups: [hr]}"}, "pay.md:2",
    ),
    "public beside groups": ({"pay.md": front("groups: [hr]", "access: public")}, "pay.md:3"),
    "a nested corpus.yaml": ({"pay.txt": BODY, "sub/corpus.yaml": HELD, "sub/x.txt": "x"}, "sub/corpus.yaml"),
    "a nested corpus.d": ({"pay.txt": BODY, "sub/corpus.d/x.yaml": entry("groups: [hr]"), "sub/x.txt": "x"}, "sub/corpus.d"),
    "JSONL Groups": ({"corpus.jsonl": "\n" + row(Groups=["hr"])}, "corpus.jsonl:2"),
    "JSONL empty groups over its metadata": ({"corpus.jsonl": row(metadata={"groups": ["hr"]}, groups=[])}, "corpus.jsonl:1"),
    "JSONL with front matter in its text": (
        {"corpus.jsonl": row() + "\n" + json.dumps({"id": "b", "text": front("groups: [hr]")})}, "corpus.jsonl:2",
    ),
    "JSONL null": ({"corpus.jsonl": row(metadata={"groups": None})}, "corpus.jsonl:1"),
    "JSONL other groups over its metadata": ({"corpus.jsonl": row(metadata={"groups": ["hr"]}, groups=["all"])}, "corpus.jsonl:1"),
    "JSONL nested": ({"corpus.jsonl": row(metadata={"source": {"groups": ["hr"]}})}, "corpus.jsonl:1"),
    "JSONL a key twice": ({"corpus.jsonl": '{"id": "a", "text": "b", "groups": ["hr"], "groups": ["all"]}'}, "corpus.jsonl:1"),
    "JSONL against corpus.yaml": ({"corpus.jsonl": row(groups=["all"]), "corpus.yaml": HELD}, "corpus.jsonl:1"),
    "a file beside the document": ({"pay.md": BODY, "pay.yaml": "title: Pay\ngroups: [hr]"}, "pay.yaml:2"),
    "another name for corpus.yaml": ({"pay.md": BODY, "hr/access.yml": "pay.md:\n  groups: [hr]", "hr/x.md": "x"}, "hr/access.yml:2"),
    "a tenant without its group": ({"pay.md": front("groups: [acme/]")}, "pay.md:2"),
    "a blank beside the slash": ({"pay.md": front("groups: [acme / hr]")}, "pay.md:2"),
    "the group of Public": ({"pay.md": front("groups: [Public/hr]")}, "pay.md:2"),
    "a group of another tenant": ({"pay.md": front("tenant: acme", "groups: [hr, globex/hr]")}, "pay.md:3"),
    "a tenant none of whose groups may read": (
        {"pay.md": front("tenant: acme"), "corpus.yaml": "defaults: {groups: [globex/hr]}"}, "pay.md:2",
    ),
    "a document that opens to another tenant's group": ({"pay.md": front("groups: [acme/hr]"), "corpus.yaml": HELD}, "pay.md:2"),
    "an empty domain": ({"pay.md": front("domain: ''")}, "pay.md:2"),
    "Domain": ({"pay.md": front("Domain: hr")}, "pay.md:2"),
}  # fmt: skip


@pytest.mark.parametrize("name", NEARLY)
def test_a_restriction_that_is_written_nearly_right_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    files, place = NEARLY[name]
    write(tmp_path, files)
    with pytest.raises(DataError) as caught:
        load_corpus(tmp_path)
    message = str(caught.value)
    assert f"{tmp_path / place}" in message
    assert "\n" not in message


def groups_of(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {document.id: (document.tenant, document.groups) for document in load_corpus(folder).documents}


HOLDS: dict[str, dict[str, str]] = {
    "front matter": {"pay.md": front("groups: [hr]")},
    "a name alone": {"pay.md": front("groups: hr")},
    "a list of lines": {"pay.md": front("groups:", "  - hr")},
    "quotes": {"pay.md": front('"groups": ["hr"]')},
    "windows line ends": {"pay.md": front("groups: [hr]").replace("\n", "\r\n")},
    "an invisible character before it": {"pay.md": "\u200b" + front("groups: [hr]")},
    "a byte order mark": {"pay.md": "\ufeff" + front("groups: [hr]")},
    "corpus.d": {"pay.txt": BODY, "corpus.d/x.yaml": entry("groups: [hr]")},
    "corpus.yaml": {"pay.txt": BODY, "corpus.yaml": HELD},
    "narrowed by the document": {"pay.md": front("groups: [hr]"), "corpus.yaml": "defaults: {groups: [hr, all]}"},
    "narrowed by the entry": {"pay.txt": BODY, "corpus.yaml": "defaults: {groups: [hr, all]}", "corpus.d/x.yaml": entry("groups: hr")},
    "said twice": {"pay.md": front("groups: [hr]"), "corpus.yaml": HELD},
    "JSONL": {"corpus.jsonl": row(groups=["hr"])},
    "JSONL metadata": {"corpus.jsonl": row(metadata={"groups": ["hr"]})},
    "JSONL beside corpus.yaml": {"corpus.jsonl": row(), "corpus.yaml": HELD},
    "JSONL beside corpus.d": {"corpus.jsonl": row(), "corpus.d/x.yaml": entry("groups: [hr]")},
    "said for a text that looks like front matter": {"pay.txt": front("groups: [x]"), "corpus.d/x.yaml": entry("groups: [hr]")},
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_restriction_that_is_written_right_holds(name: str, tmp_path: Path) -> None:
    [(_, access)] = groups_of(write(tmp_path, HOLDS[name])).items()
    assert access == (PUBLIC, ("hr",))


def test_a_bare_name_is_of_the_tenant_that_the_document_ends_up_with(tmp_path: Path) -> None:
    files = {"corpus.yaml": "defaults: {groups: [acme/hr, globex/hr]}", "a.md": front("tenant: acme", "groups: [hr]"), "b.md": front()}
    assert groups_of(write(tmp_path, files)) == {"a.md": ("acme", ("hr",)), "b.md": (PUBLIC, ("acme/hr", "globex/hr"))}
    write(tmp_path, {"a.md": front("tenant: acme"), "b.md": front("groups: [globex/hr]")})
    assert groups_of(tmp_path) == {"a.md": ("acme", ("acme/hr", "globex/hr")), "b.md": (PUBLIC, ("globex/hr",))}


def test_the_documents_own_tenant_is_kept_in_a_corpus_that_names_none(tmp_path: Path) -> None:
    assert groups_of(write(tmp_path, {"pay.md": front("tenant: acme")})) == {"pay.md": ("acme", ())}


@pytest.mark.parametrize(
    "text",
    [
        "Access: by the main gate.\n\nOwner: Jan Kowal\n",
        "# Minutes\n\n---\n\nAttendees: all\n\nThe group met. Groups: two.\n",
        "Roles and duties\n\nManager: Jan\n",
        "---\nThe access road is closed.\n",
        "```yaml\nspec:\n  image: x\n```\n",
        front("title: Pay", "owner: Jan", "status: current", "team: hr", "department: HR", "author: X", "tags: [a]"),
    ],
)
def test_prose_and_plain_metadata_are_no_restriction(text: str, tmp_path: Path) -> None:
    assert groups_of(write(tmp_path, {"a.md": text})) == {"a.md": (PUBLIC, ())}


def test_a_name_that_sounds_like_access_can_be_declared_plain_and_a_slip_cannot(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": front("classification: manual", "product_group: Sensors"), "b.txt": "x"})
    with pytest.raises(DataError, match=r"a\.md:2: `classification` looks like a restriction.*list it in corpus.yaml: plain_fields"):
        load_corpus(tmp_path)
    write(tmp_path, {"corpus.yaml": "plain_fields: [classification, product_group, Groups]"})
    assert load_corpus(tmp_path).documents[0].metadata == {"classification": "manual", "product_group": "Sensors"}
    write(tmp_path, {"b.md": front("Groups: [hr]")})
    with pytest.raises(DataError, match=r"b\.md:2: `Groups` looks like.*Did you mean `groups`\?"):
        load_corpus(tmp_path)


def test_where_access_is_required_a_document_that_says_nothing_is_refused(tmp_path: Path) -> None:
    files = {"corpus.yaml": "access: required", "a.md": front("groups: hr"), "b.md": front("access: public"), "c.txt": "x", "d.txt": "y"}
    with pytest.raises(DataError, match=r"nothing says who may read c\.txt, d\.txt\. Write"):
        load_corpus(write(tmp_path, files))
    corpus = load_corpus(write(tmp_path, {"corpus.d/x.yaml": "c.txt: {access: public}\nd.txt: {tenant: acme}"}))
    assert (len(corpus.documents), corpus.public) == (4, 2)
    assert all("access" not in document.metadata for document in corpus.documents)


def test_rules_that_match_no_document_are_told_or_refused(tmp_path: Path) -> None:
    files = {"hr/a.txt": "x", "b.txt": " ", "corpus.yaml": "domains: {hr: people, hrr: x}", "corpus.d/x.yaml": "b.txt: {groups: [hr]}"}
    assert load_corpus(write(tmp_path, files)).unused_rules == ("corpus.yaml: domains: hrr", "corpus.d: b.txt")
    write(tmp_path, {"corpus.d/x.yaml": "c.txt: {groups: [hr]}"})
    with pytest.raises(DataError, match=r"describes 'c\.txt', which is not in the corpus"):
        load_corpus(tmp_path)


def test_a_file_of_lines_makes_no_other_file_vanish(tmp_path: Path) -> None:
    write(tmp_path, {"corpus.jsonl": row(), "hr/a.md": front("groups: [hr]"), "x.png": "x", "CARD.md": "card"})
    corpus = load_corpus(tmp_path)
    assert [(skip.path, skip.reason) for skip in corpus.skipped] == [
        ("CARD.md", "about the corpus"), ("hr/a.md", "corpus.jsonl is the corpus"), ("x.png", "no loader for '.png'"),
    ]  # fmt: skip
    named = load_corpus(tmp_path / "corpus.jsonl")
    assert (named.documents, named.skipped) == (corpus.documents, ())


def test_a_file_that_is_not_trusted_says_nothing_about_its_readers(tmp_path: Path) -> None:
    files = {
        "up/a.md": front("title: Mine", "tenant: other", "groups: [board]", "domain: finance"),
        "corpus.yaml": "defaults: {tenant: acme}",
    }
    with pytest.raises(DataError, match="tenant 'other' would open"):
        load_corpus(write(tmp_path, files))
    [document] = load_corpus(tmp_path, trusted=False).documents
    assert (document.title, document.tenant, document.groups, document.domain) == ("Mine", "acme", (), "up")
    (tmp_path / "corpus.yaml").unlink()
    with pytest.raises(DataError, match=r"nothing says who may read up/a\.md"):
        load_corpus(tmp_path, trusted=False)
    lines = write(tmp_path / "lines", {"corpus.jsonl": row(tenant="other", domain="finance"), "corpus.yaml": "defaults: {tenant: acme}"})
    [document] = load_corpus(lines, trusted=False).documents
    assert (document.tenant, document.domain) == ("acme", "general")


def test_slips_are_counted_as_an_editor_would() -> None:
    pairs = [
        ("groups", 0),
        ("group", 1),
        ("gropus", 1),
        ("grups", 1),
        ("gorups", 1),
        ("gruops", 1),
        ("gr0ups", 1),
        ("crops", 2),
        ("tenant", 3),
    ]
    assert [min(slips(text, "groups", 2), 3) for text, _ in pairs] == [count for _, count in pairs]
    assert [min(slips("groups", text, 2), 3) for text, _ in pairs] == [count for _, count in pairs]


@pytest.mark.parametrize(
    "key", ["owner", "status", "title", "version", "effective", "supersedes", "scope", "product", "content", "domestic"]
)
def test_names_of_other_things_are_left_alone(key: str) -> None:
    assert not sounds_like(key)


def test_a_rule_never_widens() -> None:
    held = Access().narrowed(AccessRule("acme", ("a", "b"), where={"tenant": "t", "groups": "g"}))
    assert held.narrowed(AccessRule(groups=("a",), where={"groups": "x"})).groups == ("a",)
    for rule in (AccessRule(public=True), AccessRule(groups=("a", "c")), AccessRule(tenant="public"), AccessRule(tenant="other")):
        with pytest.raises(DataError):
            held.narrowed(AccessRule(rule.tenant, rule.groups, rule.public, {"access": "x", "groups": "x", "tenant": "x"}))


# Whatever is written: the restriction holds, or indexing is refused.

LETTERS = "abcdefghijklmnoprstuvwxyzO0-_ ."
SYNONYM = ["acl", "access", "permissions", "visibility", "roles", "readers", "audience", "allowed_groups", "access-groups", "X-Groups"]


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """The word `groups` or `tenant` as somebody in a hurry writes it, or another word for it."""
    word = draw(st.sampled_from(["groups", "tenant"]))
    kind = draw(st.sampled_from(["right", "case", "drop", "add", "swap", "change", "plural", "synonym", "quoted"]))
    place = draw(st.integers(0, len(word) - 2))
    letter = draw(st.sampled_from(LETTERS))
    return {
        "right": word,
        "case": "".join(draw(st.sampled_from([c, c.upper()])) for c in word),
        "drop": word[:place] + word[place + 1 :],
        "add": word[:place] + letter + word[place:],
        "swap": word[:place] + word[place + 1] + word[place] + word[place + 2 :],
        "change": word[:place] + letter + word[place + 1 :],
        "plural": {"groups": "group", "tenant": "tenants"}[word],
        "synonym": draw(st.sampled_from(SYNONYM)),
        "quoted": f'"{word}"',
    }[kind]


VALUES = ["hr", "[hr]", '["hr"]', "'hr'", "\n  - hr", "[]", "", "null", "~", "{hr: read}", "[[hr]]", "[hr", "&x hr", "*x", "!!set {hr}"]
FENCES = ["---", "----", "+++", "--", " ---", "...", "", "***", "```", "--- ", "-- -", "\u2014", "---yaml", ";;;"]
HEADS = ["", "\n", " ", "<!-- x -->\n", "# x\n", "\ufeff", "\u200b", "\t", "x\n"]
PLACES = ["a.md", "a.txt", "a.html", "a.markdown", "corpus.d", "corpus.yaml", "jsonl", "jsonl metadata"]
NAMES = ["corpus.d", "Corpus.d", "corpus_d", "sub/corpus.d", "corpus.D", "corpus.d/sub"]
FILES = ["x.yaml", "x.yml", "X.YAML", "x.json", ".x.yaml"]
SETTINGS = [
    "corpus.yaml",
    "corpus.yml",
    "Corpus.yaml",
    "CORPUS.YAML",
    "sub/corpus.yaml",
    "corpora.yaml",
    "corpus.yaml.yaml",
    "corpus.yaml ",
]


@st.composite
def folders(draw: st.DrawFn) -> dict[str, str]:
    """The files of a corpus with one document that its author meant to restrict to the group, or tenant, hr."""
    key, value = draw(spellings()), draw(st.sampled_from(VALUES))
    place = draw(st.sampled_from(PLACES))
    line = f"{key}: {value}"
    if place.startswith("a."):
        top = draw(st.sampled_from(FENCES))
        bottom = draw(st.sampled_from([top, "---", "...", ""]))
        head = draw(st.sampled_from(HEADS)) if top else draw(st.sampled_from(HEADS[:1]))
        before = draw(st.sampled_from(["", "title: Pay\n"])) if top else ""
        return {place: f"{head}{top}\n{before}{line}\n{bottom}\n{BODY}\n" if top else f"{line}\n\n{BODY}\n"}
    if place == "corpus.d":
        name = f"{draw(st.sampled_from(NAMES))}/{draw(st.sampled_from(FILES))}"
        return {"a.txt": BODY, "sub/b.txt": "x", name: "a.txt:\n  title: Pay\n  " + line.replace("\n", "\n  ")}
    if place == "corpus.yaml":
        name = draw(st.sampled_from(SETTINGS))
        return {"a.txt": BODY, "sub/b.txt": "x", name: "defaults:\n  " + line.replace("\n", "\n  ")}
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = {"~": None, "": None}.get(value, "hr")
    fields = {key.strip('"'): parsed}
    return {"corpus.jsonl": json.dumps({"id": "a.txt", "text": BODY, **({"metadata": fields} if "metadata" in place else fields)})}


def document(corpus: Corpus) -> Document:
    found = [one for one in corpus.documents if one.id.startswith("a.")]
    assert len(found) == 1
    return found[0]


def understood(files: Mapping[str, str]) -> bool:
    """Whether the words are near enough to a restriction that nobody may read over them."""
    text = "\n".join(files.values())
    return not any(fence in text for fence in ("***", "-- -")) and not text.startswith("x\n")


@settings(max_examples=400, deadline=None)
@given(folders())
def test_whatever_is_written_a_restriction_holds_or_indexing_is_refused(files: dict[str, str]) -> None:
    with TemporaryDirectory() as folder:
        write(Path(folder), files)
        try:
            found = document(load_corpus(Path(folder)))
        except DataError as error:
            message = str(error)
        else:
            assert found.groups == ("hr",) or found.tenant == "hr" or not understood(files), files
            return
    assert "\n" not in message


@given(spellings())
def test_every_near_spelling_is_a_field_or_refused(key: str) -> None:
    plain = key.strip('"').strip()
    assert plain in FIELDS or sounds_like(plain)
    if sum(letter.isalpha() for letter in plain) >= 5 and plain.casefold() in ("groups", "group", "tenant", "tenants"):
        assert is_slip(plain)
