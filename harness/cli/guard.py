"""`touchstone guard …`: try the checks on a text, and render a policy for this machine or for Bedrock."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, ConfigFile, Set, changed, print_json
from harness.settings import read_settings
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from serving.pipeline.guard.chain import GuardResult

app = typer.Typer(no_args_is_help=True)
PolicyFile = Annotated[Path, typer.Argument(metavar="POLICY", help="A policy file, such as experiments/guards/techcorp.yaml.")]


@app.command()
def check(
    text: Annotated[str, typer.Argument(help="The text; - reads it from standard input.")],
    config: ConfigFile = None,
    change: Set = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="A policy file in place of the checks of a configuration.")] = None,
    side: Annotated[Literal["input", "output"], typer.Option("--side", help="Whether it is a question or an answer.")] = "input",
    domain: Annotated[list[str] | None, typer.Option("--domain", help="Where the question looks. Repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the checks of one side on a text; exit code 1 if it is blocked."""
    from harness.guard_policy.policy import as_config, load_policy

    if policy and config:
        raise ConfigError("--policy and --config both say which checks run. Give one of them.")
    base = RagConfig.parse(as_config(load_policy(policy))) if policy else load_config(config) if config else RagConfig.parse({})
    chosen = changed(base, change)
    result = run_async(_checked(_read(text), chosen, side, tuple(domain or ())))
    if as_json:
        from serving.pipeline.codec import Codec
        from serving.pipeline.guard.chain import GuardResult

        print_json({**Codec(GuardResult).dump(result.as_kept()), "action": result.action.value})
    else:
        _show(result)
    if result.blocked:
        raise typer.Exit(1)


@app.command()
def render(
    policy: PolicyFile,
    to: Annotated[Literal["bedrock", "terraform", "config"], typer.Option("--to", help="What is made of it.")] = "bedrock",
) -> None:
    """Print a policy as Bedrock's create_guardrail request, as Terraform, or as the guard section of a configuration."""
    from harness.guard_policy.bedrock import create_guardrail_request
    from harness.guard_policy.policy import as_config, load_policy
    from harness.guard_policy.terraform import terraform

    read = load_policy(policy)
    if to == "bedrock":
        print_json(create_guardrail_request(read))
    elif to == "terraform":
        typer.echo(terraform(read), nl=False)
    else:
        import yaml

        typer.echo(yaml.safe_dump(as_config(read), sort_keys=False, allow_unicode=True, width=140, default_flow_style=None), nl=False)


async def _checked(text: str, config: RagConfig, side: Literal["input", "output"], domains: tuple[str, ...]) -> "GuardResult":
    from serving.pipeline.build import build_guard
    from serving.pipeline.guard.base import CheckContext
    from serving.pipeline.types import Query

    chain = build_guard(side, config, read_settings())
    query = Query(text, domains=domains)
    return await chain.run(text, CheckContext(side, query if side == "input" else replace(query, text="")))


def _read(text: str) -> str:
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ConfigError("Standard input is not UTF-8.") from None


def _show(result: "GuardResult") -> None:
    for verdict in result.verdicts:
        facts: list[Any] = [verdict.rule, verdict.reason, f"“{verdict.excerpt}”" if verdict.excerpt else ""]
        score = "" if verdict.score is None else f" {verdict.score:.2f}"
        line = " · ".join(fact for fact in facts if fact)
        typer.echo(f"{verdict.check}: {verdict.action.value}{score}{f' · {line}' if line else ''}  ({verdict.milliseconds:.1f} ms)")
    if not result.verdicts:
        typer.echo("No check runs on this side. Switch one on: --set guard.input.pii.name=pii, or --policy FILE")
        return
    typer.echo(f"\n{result.text}")
