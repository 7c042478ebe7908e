"""`touchstone golden …`: look at golden sets, import, check, compare, split and seal them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.golden import importing, queue, synth
from harness.cli.options import USUAL, AsJson, print_json, read_corpus
from harness.settings import read_settings
from serving.pipeline.errors import DataError

if TYPE_CHECKING:
    from harness.golden.sets import GoldenSet
    from serving.pipeline.index.base import Vectors

BATCH = 256  # questions embedded between two words of progress

app = typer.Typer(no_args_is_help=True)
app.command("import")(importing.import_set)
app.command("add")(queue.add)
app.command("review")(queue.review)
app.command("synth")(synth.synth)
Name = Annotated[str, typer.Argument(help=f"A golden set, as name or name/vN; {USUAL}.", show_default=False)]


@app.command("list")
def list_sets(as_json: AsJson = False) -> None:
    """List every golden set with its size and splits."""
    from harness.golden.load import golden_sets, load_golden

    root = read_settings().datasets
    rows: list[dict[str, Any]] = []
    for name in golden_sets(root):
        golden = load_golden(root, name)
        tune = len(golden.tune().cases)
        rows.append(
            {"golden": name, "corpus": golden.card.corpus, "cases": len(golden.cases), "tune": tune, "holdout": len(golden.cases) - tune}
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['golden']}: {row['cases']} cases ({row['tune']} tune, {row['holdout']} holdout) over corpus {row['corpus']}")
    if not rows:
        typer.echo(f"No golden sets in {root / 'golden'}.")


@app.command()
def show(
    name: Name = "",
    case: Annotated[list[str] | None, typer.Option("--case", help="A case's id. Repeatable; default: the first few.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="Only cases of this kind.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many cases.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show cases with their answers and evidence."""
    from harness.cli.output.tables import show_case
    from harness.golden.load import load_golden
    from serving.pipeline.registry import near

    settings = read_settings()
    golden = load_golden(settings.datasets, name or settings.usual_golden)
    known = {known_case.id: known_case for known_case in golden.cases}
    for ident in case or ():
        if ident not in known:
            raise DataError(f"No case {ident!r} in {golden.id}.{near(ident, list(known))}")
    kinds = golden.counts("kind")
    if kind and kind not in kinds:
        raise DataError(f"No case of kind {kind!r} in {golden.id}.{near(kind, list(kinds))} Known: {', '.join(kinds)}.")
    chosen = [known[ident] for ident in case] if case else [case_ for case_ in golden.cases if kind in ("", case_.kind)][:limit]
    if as_json:
        print_json([case_.model_dump(mode="json") for case_ in chosen])
        return
    for case_ in chosen:
        show_case(case_)


@app.command()
def check(
    name: Name = "",
    embedder: Annotated[
        str, typer.Option("--embedder", help="Compares the splits' questions by meaning; none: by words only.")
    ] = "local:minilm",
    alike: Annotated[float, typer.Option("--alike", min=0.0, max=1.0, help="Cosine from which two questions ask the same.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Check every case against the corpus and the others; show how the set is balanced and what difference it can detect."""
    from dataclasses import asdict

    from harness.cli.golden.tables import show_findings
    from harness.golden.check import balance, check_set, detectable_differences
    from harness.golden.lines import refuse
    from harness.golden.load import load_golden

    settings = read_settings()
    golden = load_golden(settings.datasets, name or settings.usual_golden)
    corpus = read_corpus(golden.card.corpus, settings)
    findings = check_set(golden, corpus, None if embedder == "none" else _vectors(golden, embedder, quiet=as_json), alike=alike)
    slices, differences = balance(golden), detectable_differences(golden)
    if as_json:
        facts = {"golden": golden.id, "digest": golden.digest, "cases": len(golden.cases), "embedder": embedder, "alike": alike}
        counts = {field: golden.counts(field) for field in ("kind", "domain", "difficulty")}
        rows = {"splits": [asdict(entry) for entry in differences], "balance": [asdict(entry) for entry in slices]}
        print_json({**facts, "counts": counts, **rows, "problems": list(findings.problems), "warnings": list(findings.warnings)})
    else:
        show_findings(golden, findings, slices, differences)
    refuse(findings.problems)
    if not as_json:
        typer.echo("every span reads as quoted; no problem" + (f", {len(findings.warnings)} warnings" if findings.warnings else ""))


def _vectors(golden: "GoldenSet", embedder: str, *, quiet: bool) -> "Vectors":
    """A vector for each question, in the set's order."""
    import numpy as np

    from harness.cli.output.progress import progress_line
    from harness.judges.tools import Tools
    from serving.pipeline.registry import Spec

    tools, texts = Tools(read_settings(), Spec(name=embedder)), [case.question for case in golden.cases]
    parts: list[Vectors] = []
    with progress_line(quiet=quiet) as line:
        for start in range(0, len(texts), BATCH):
            parts.append(tools.vectors(texts[start : start + BATCH]))
            line.update("questions", min(start + BATCH, len(texts)), len(texts))
    return np.concatenate(parts)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help=f"A golden set, as name or name/vN; {USUAL}.", show_default=False)],
    after: Annotated[str, typer.Argument(help="The set to hold against it.")],
    as_json: AsJson = False,
) -> None:
    """Show which cases were added, removed, changed or moved to the other split."""
    from dataclasses import asdict

    from harness.cli.golden.tables import show_diff
    from harness.golden.diff import diff_sets
    from harness.golden.load import load_golden

    root = read_settings().datasets
    difference = diff_sets(load_golden(root, before), load_golden(root, after))
    if as_json:
        cases = {
            "added": [case.model_dump(mode="json") for case in difference.added],
            "removed": [case.model_dump(mode="json") for case in difference.removed],
        }
        print_json({**asdict(difference), **cases})
    else:
        show_diff(difference)


@app.command()
def split(
    name: Name = "",
    share: Annotated[float | None, typer.Option("--holdout-share", help="Share of the cases to hold out, between 0 and 1.")] = None,
    salt: Annotated[str | None, typer.Option("--salt", help="A word that deals the cases anew.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write it as the set's next version; no version is ever changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how cases fall into tune and holdout, or would fall with another share or salt."""
    from dataclasses import asdict

    from harness.cli.golden.tables import show_split
    from harness.golden.check import balance, split_sizes
    from harness.golden.load import load_golden
    from harness.golden.split import resplit, split_moves, write_split

    settings = read_settings()
    root = settings.datasets
    before = load_golden(root, name or settings.usual_golden)
    after = resplit(before, holdout_share=share, salt=salt)
    moved = split_moves(before, after)
    if write:
        after = write_split(root, before, after)
    if as_json:
        facts = {
            "golden": after.id,
            "from": before.id,
            "written": write,
            "salt": after.card.salt,
            "holdout_share": after.card.holdout_share,
        }
        print_json({**facts, "splits": split_sizes(after), "balance": [asdict(entry) for entry in balance(after)], "moved": asdict(moved)})
        return
    show_split(after, balance(after), moved)
    if write:
        typer.echo(f"written: {after.folder}")


@app.command()
def seal(name: Name = "", as_json: AsJson = False) -> None:
    """Fill in the offsets of new quotes, check everything and write the sums; nothing changes when a check fails."""
    from harness.golden.load import load_golden
    from harness.golden.seal import seal as write_seal

    settings = read_settings()
    golden = load_golden(settings.datasets, name or settings.usual_golden, sealed=False)
    sealed = write_seal(settings.datasets, golden.id, read_corpus(golden.card.corpus, settings))
    if as_json:
        print_json({"golden": sealed.id, "cases": len(sealed.cases), "digest": sealed.digest})
    else:
        typer.echo(f"{sealed.id}: {len(sealed.cases)} cases sealed, digest {sealed.digest}")
