"""A policy as Terraform: a guardrail and a version of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.guard_policy.bedrock import create_guardrail_request
from harness.guard_policy.policy import GuardPolicy

HEAD = "# Rendered from a guard policy; change the policy, and render it again."


def terraform(policy: GuardPolicy) -> str:
    """A `.tf` file; the output `guardrail` is what the check `bedrock` is given."""
    request = create_guardrail_request(policy)
    lines = [HEAD, "", 'resource "aws_bedrock_guardrail" "this" {', *_body(request, 1), "}", ""]
    lines += ['resource "aws_bedrock_guardrail_version" "this" {', "  guardrail_arn = aws_bedrock_guardrail.this.guardrail_arn"]
    lines += [f"  description   = {_text(policy.description)}", "  skip_destroy  = true # a release may still name it", "}", ""]
    lines += ['output "guardrail" {', "  value = {"]
    lines += ["    guardrail = aws_bedrock_guardrail.this.guardrail_id", "    version   = aws_bedrock_guardrail_version.this.version"]
    return "\n".join([*lines, "  }", "}", ""])


def _body(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Arguments, aligned as `terraform fmt` has them, then a block for every mapping."""
    indent = "  " * depth
    simple = {_snake(name): value for name, value in values.items() if not _blocks(value)}
    width = max(map(len, simple), default=0)
    for name, value in simple.items():
        yield f"{indent}{name.ljust(width)} = {_value(value)}"
    for name, value in values.items():
        for block in _blocks(value):
            yield from ("", f"{indent}{_snake(name)} {{", *_body(block, depth + 1), f"{indent}}}")


def _blocks(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [value]
    return value if isinstance(value, list) and all(isinstance(item, Mapping) for item in value) else []


def _value(value: Any) -> str:
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, list) else _text(value)


def _text(value: str) -> str:
    """A text between quotes, in which nothing is a template."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
