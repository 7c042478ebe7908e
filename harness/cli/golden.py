"""`touchstone golden …`: look at golden sets, check them, seal them."""

from typing import Annotated, Any

import typer

from harness.cli.options import DEFAULT_GOLDEN, AsJson, print_json, read_corpus, settings
from serving.pipeline.errors import DataError

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A golden set, as name or name/vN.")]


@app.command("list")
def list_sets(as_json: AsJson = False) -> None:
    """List every golden set with its size and splits."""
    from harness.golden.load import golden_sets, load_golden

    root = settings().datasets
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
    name: Name = DEFAULT_GOLDEN,
    case: Annotated[list[str] | None, typer.Option("--case", help="A case's id. Repeatable; default: the first few.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="Only cases of this kind.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many cases.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show cases with their answers and evidence."""
    from harness.cli.tables import show_case
    from harness.golden.load import load_golden
    from serving.pipeline.registry import near

    golden = load_golden(settings().datasets, name)
    known = {one.id: one for one in golden.cases}
    for ident in case or ():
        if ident not in known:
            raise DataError(f"No case {ident!r} in {golden.id}.{near(ident, list(known))}")
    kinds = golden.counts("kind")
    if kind and kind not in kinds:
        raise DataError(f"No case of kind {kind!r} in {golden.id}.{near(kind, list(kinds))} Known: {', '.join(kinds)}.")
    chosen = [known[ident] for ident in case] if case else [one for one in golden.cases if kind in ("", one.kind)][:limit]
    if as_json:
        print_json([one.model_dump(mode="json") for one in chosen])
        return
    for one in chosen:
        show_case(one)


@app.command()
def check(name: Name = DEFAULT_GOLDEN, as_json: AsJson = False) -> None:
    """Hold every case against the corpus: documents exist, spans read as quoted, sums match."""
    from harness.golden.load import load_golden

    places = settings()
    golden = load_golden(places.datasets, name)
    problems = golden.check(read_corpus(golden.card.corpus, places))
    counts = {field: golden.counts(field) for field in ("kind", "domain", "difficulty")}
    if as_json:
        print_json({"golden": golden.id, "digest": golden.digest, "cases": len(golden.cases), "counts": counts, "problems": problems})
    else:
        typer.echo(f"{golden.id}: {len(golden.cases)} cases, digest {golden.digest}")
        for field, numbers in counts.items():
            typer.echo(f"  {field}: " + ", ".join(f"{value} {count}" for value, count in numbers.items()))
    if problems:
        raise DataError("\n".join(problems[:20]) + (f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""))
    if not as_json:
        typer.echo("  every span reads as quoted")


@app.command()
def seal(name: Name = DEFAULT_GOLDEN) -> None:
    """Fill in the offsets of new quotes, check everything and write the sums; nothing changes when a check fails."""
    from harness.golden.load import load_golden
    from harness.golden.seal import seal as write_seal

    places = settings()
    golden = load_golden(places.datasets, name, sealed=False)
    sealed = write_seal(places.datasets, golden.id, read_corpus(golden.card.corpus, places))
    typer.echo(f"{sealed.id}: {len(sealed.cases)} cases sealed, digest {sealed.digest}")
