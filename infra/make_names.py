"""Writes what is made from infra/names.yaml and the guard policy: `make infra-names`; with --check it only says what has drifted."""

import argparse
import ipaddress
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from manifest_names import CHANNELS, MONITORING, manifests

from harness.guard_policy.policy import load_policy
from harness.guard_policy.terraform import terraform
from harness.settings import HarnessSettings
from serving.app.settings import AppSettings
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.redis.rights import access_string
from serving.pipeline.settings import variables

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("bootstrap", "persistent", "cluster")
REMOTE_STATE = ("persistent", "cluster")  # the bootstrap layer makes the bucket that the others keep their state in
POLICY = Path("experiments/guards/techcorp.yaml")
MADE = "# Made from infra/names.yaml by `make infra-names`; change it there."
ROUNDS = 5  # entries that stand on entries that stand on entries
REGION = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)-(central|(north|south)?(east|west)?)-\d")  # of the partition `aws`
PREFIX = re.compile(r"[a-z](-?[a-z0-9])*")
LONGEST_PREFIX = 32  # a user of ElastiCache has 40 letters, and `-staging` is in them
LONGEST = {"cache": 40, "postgres": 63, "cluster": 100}
LONGEST_USER = 40  # of ElastiCache
SERVICES = ipaddress.ip_network("172.20.0.0/16")  # of services in the cluster, as infra/terraform/cluster has it


class NamesError(Exception):
    """A mistake in names.yaml, in one line."""


def read_names(path: Path) -> dict[str, Any]:
    """The file with every {entry} filled in."""
    names: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(names, dict):
        raise NamesError(f"{path}: a mapping is needed.")
    for _ in range(ROUNDS):
        filled = _filled(names, names, path)
        if filled == names:
            break
        names = filled
    else:
        raise NamesError(f"{path}: entries stand on each other in a circle, or on more than {ROUNDS} others.")
    _check(names, path)
    return dict(names)


def rendered(root: Path) -> dict[Path, str]:
    """Every file that is made, with what it says."""
    names = read_names(root / "infra" / "names.yaml")
    for_terraform = {name: value for name, value in names.items() if name not in ("settings", "channel_settings")}
    for_terraform["cache_access"] = {channel: access_string(user) for channel, user in names["cache_users"].items()}
    values = json.dumps({"names": for_terraform}, indent=2) + "\n"
    infra = root / "infra"
    files = {infra / "terraform" / layer / "names.auto.tfvars.json": values for layer in LAYERS}
    files |= {infra / "terraform" / layer / "backend.hcl": _backend(names, layer) for layer in REMOTE_STATE}
    files[infra / "kubernetes" / "base" / "settings.env"] = _env(names["settings"] | names["channel_settings"]["dev"])
    for channel in CHANNELS:
        files[infra / "kubernetes" / "overlays" / channel / "channel.env"] = _env(names["channel_settings"][channel])
    jobs = {
        "mlflow": _mlflow(names),
        "ray": _jobs(names, "STAGES", "INDEXES", "MLFLOW_URI"),
        "ray-index": _jobs(names, "INDEXES") | _corpora(names),
    }
    files |= {infra / "kubernetes" / folder / "settings.env": _env(values) for folder, values in jobs.items()}
    files[infra / "terraform" / "modules" / "guardrail" / "main.tf"] = terraform(load_policy(root / POLICY))
    for path, text, lost in manifests(root, names):
        if lost:
            raise NamesError(
                f"{path.relative_to(root)}: has no {lost[0]!r} any more, behind which a name is put. See infra/manifest_names.py"
            )
        files[path] = text
    return files


def drifted(root: Path) -> list[str]:
    """The files that are not as names.yaml and the guard policy have them, a line each."""
    found = []
    for path, text in rendered(root).items():
        if not path.is_file():
            found.append(f"{path.relative_to(root)} is not there")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{path.relative_to(root)} is not what infra/names.yaml and {POLICY} make of it")
    return found


def _filled(value: Any, names: Mapping[str, Any], path: Path) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, names, path) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, names, path) for inner in value]
    try:
        return value.format_map(names) if isinstance(value, str) else value
    except (KeyError, ValueError, AttributeError, IndexError) as error:
        raise NamesError(f"{path}: {value!r} names an entry that is not there: {error}.") from None


def _check(names: Mapping[str, Any], path: Path) -> None:
    """A `NamesError` for the first entry that AWS, Kubernetes or the application would refuse."""
    _check_account(names, path)
    _check_network(names.get("cidr"), path)
    _check_resources(names, path)
    _check_channels(names, path)
    _check_settings(names, path)


def _check_account(names: Mapping[str, Any], path: Path) -> None:
    if not re.fullmatch(r"\d{12}", str(names.get("account"))):
        raise NamesError(f"{path}: account is {names.get('account')!r}; twelve digits between quotes are needed.")
    if not REGION.fullmatch(str(names.get("region"))):
        mend = "one such as eu-central-1 is needed; those of GovCloud, China and the European Sovereign Cloud have other ARNs."
        raise NamesError(f"{path}: region is {names.get('region')!r}; {mend}")
    prefix = str(names.get("prefix"))
    if not PREFIX.fullmatch(prefix) or len(prefix) > LONGEST_PREFIX:
        wanted = f"a small letter, then small letters, digits and single hyphens are needed, {LONGEST_PREFIX} at most"
        raise NamesError(f"{path}: prefix is {names.get('prefix')!r}; {wanted}.")
    if not re.fullmatch(r"[\w.-]+(@\d+)?/[\w.-]+(@\d+)?", str(names.get("github"))):
        raise NamesError(f"{path}: github is {names.get('github')!r}; owner/repository or owner@ID/repository@ID is needed.")
    if not re.fullmatch(r"[\w-]{1,90}", str(names.get("workspace") or "")):
        raise NamesError(f"{path}: workspace is {names.get('workspace')!r}; one of Terraform's is needed, such as default.")


def _check_resources(names: Mapping[str, Any], path: Path) -> None:
    for name, most in LONGEST.items():
        if not PREFIX.fullmatch(names[name]) or len(names[name]) > most:
            raise NamesError(f"{path}: {name} is {names[name]!r}; small letters, digits and single hyphens are needed, {most} at most.")
    for role in names["roles"].values():
        if not re.fullmatch(r"[\w+=,.@-]{1,64}", role):
            raise NamesError(f"{path}: {role!r} cannot name a role: 64 letters, digits and any of +=,.@-_ at most.")
    for bucket in [names["state_bucket"], *names["buckets"].values()]:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket):
            raise NamesError(f"{path}: {bucket!r} cannot name a bucket: 3 to 63 of a-z, 0-9 and -.")
    unknown = {one["role"] for one in names["service_accounts"]} - set(names["roles"])
    if unknown:
        raise NamesError(f"{path}: service_accounts names roles that are not there: {', '.join(sorted(unknown))}.")


def _check_channels(names: Mapping[str, Any], path: Path) -> None:
    """What stands on the namespaces: roles allow them, and Prometheus looks in them."""
    for account in names["service_accounts"]:
        if not account["namespace"].startswith(f"{names['prefix']}-") and account["role"] in ("api", "harness"):
            raise NamesError(
                f"{path}: the namespace {account['namespace']!r} has to begin with {names['prefix']}-, where Prometheus looks."
            )
    for channel in CHANNELS:
        for kind, ending in (("tables", "traces"), ("audit_tables", "audit")):
            if names[kind][channel] != f"{names['namespaces'][channel]}-{ending}":
                raise NamesError(f"{path}: {kind}.{channel} has to be <namespace>-{ending}, as the role of the API allows it.")
        user = names["cache_users"][channel]
        if user != names["namespaces"][channel]:
            raise NamesError(f"{path}: cache_users.{channel} has to be the namespace, as the role of the API allows it.")
        if not PREFIX.fullmatch(user) or len(user) > LONGEST_USER:
            wanted = f"small letters, digits and single hyphens are needed, {LONGEST_USER} at most"
            raise NamesError(f"{path}: {user!r} cannot be a user of ElastiCache: {wanted}.")
    for secret in names["secrets"].values():
        if secret.partition("/")[0] not in {MONITORING, *(one["namespace"] for one in names["service_accounts"])}:
            raise NamesError(f"{path}: the secret {secret!r} has to begin with the namespace that reads it, as the roles of pods allow it.")


def _check_settings(names: Mapping[str, Any], path: Path) -> None:
    known = {*variables(AppSettings), *variables(HarnessSettings)}
    for variable in [*names["settings"], *(one for channel in CHANNELS for one in names["channel_settings"][channel])]:
        if variable not in known:
            raise NamesError(f"{path}: {variable} is no setting of the application. See them all: touchstone config settings")


def _check_network(cidr: object, path: Path) -> None:
    try:
        network = ipaddress.ip_network(str(cidr))
    except ValueError as error:
        raise NamesError(f"{path}: cidr is {cidr!r}; {error}. Write it as 10.40.0.0/16.") from None
    if network.version != 4 or not network.is_private or not 16 <= network.prefixlen <= 19:
        raise NamesError(f"{path}: cidr is {cidr!r}; private addresses are needed, of a /16 to a /19.")
    if network.overlaps(SERVICES):
        raise NamesError(f"{path}: cidr is {cidr!r}; {SERVICES} is taken by the cluster's own services.")


def _backend(names: Mapping[str, Any], layer: str) -> str:
    values = {"bucket": names["state_bucket"], "key": f"{layer}.tfstate", "region": names["region"], "encrypt": True, "use_lockfile": True}
    width = max(map(len, values))
    return "\n".join([MADE, *(f"{name.ljust(width)} = {json.dumps(value)}" for name, value in values.items()), ""])


def _env(values: Mapping[str, str]) -> str:
    return "\n".join([MADE, *(f"{name}={value}" for name, value in values.items()), ""])


def _mlflow(names: Mapping[str, Any]) -> dict[str, str]:
    return {"MLFLOW_ARTIFACTS_DESTINATION": f"s3://{names['buckets']['mlflow']}/artifacts"}


def _jobs(names: Mapping[str, Any], *settings: str) -> dict[str, str]:
    return {f"TOUCHSTONE_{one}": names["settings"][f"TOUCHSTONE_{one}"] for one in ("AWS_REGION", *settings)}


def _corpora(names: Mapping[str, Any]) -> dict[str, str]:
    return {"CORPORA": f"s3://{names['buckets']['documents']}/corpora"}  # where infra/pipelines/data.sh puts them


def _error_line(error: Exception) -> str:
    """A mistake in one line."""
    if isinstance(error, NamesError):
        return str(error)
    if isinstance(error, KeyError):
        return f"infra/names.yaml: the entry {error} is missing. What it was: git diff infra/names.yaml"
    return f"infra/names.yaml: {' '.join(str(error).split())}"


def main() -> int:
    """Write, or say what has drifted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a file has drifted")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    chosen = parser.parse_args()
    try:
        if chosen.check:
            found = drifted(chosen.root)
            print("\n".join([*found, "Run: make infra-names"] if found else ["as infra/names.yaml has them"]))
            return 1 if found else 0
        for path, text in rendered(chosen.root).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(chosen.root))
    except (NamesError, TouchstoneError, KeyError, TypeError, AttributeError, OSError, yaml.YAMLError) as error:
        print(_error_line(error), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
