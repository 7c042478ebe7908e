"""What stops a pause or a resume before it has touched anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.pause.commands import Broken, Commands, Refused
from infra.pause.saved import SavedState
from infra.pause.stores import json_of

LAYER = "infra/terraform/cluster"
NO_ACCOUNT = "000000000000"
NOBODYS = f"sha256:{'0' * 64}"  # the image that the overlay of prod has in git


def refuse_elsewhere(names: Mapping[str, Any], commands: Commands) -> None:
    """`Refused` unless this is the account and the workspace that infra/names.yaml means."""
    account, workspace = str(names["account"]), str(names["workspace"])
    if account == NO_ACCOUNT:
        raise Refused(f"infra/names.yaml still has the account {NO_ACCOUNT}. Write yours there, then: make infra-names")
    try:
        found = commands.ask("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text").strip()
    except Broken as error:
        raise Refused(f"AWS knows nobody by these credentials ({error.line}). Log in first: aws sso login, or AWS_PROFILE=…") from None
    if found != account:
        raise Refused(f"These credentials are of the account {found}, and infra/names.yaml means {account}. Nothing is done.")
    try:
        commands.ask("terraform", f"-chdir={LAYER}", "init", "-input=false", "-no-color", "-backend-config=backend.hcl")
    except Broken as error:
        bucket, mend = names["state_bucket"], "Were the layers bootstrap and persistent applied? infra/README.md, steps 2 and 3"
        raise Refused(f"Terraform cannot begin with its state in {bucket} ({error.line}). {mend}") from None
    current = commands.ask("terraform", f"-chdir={LAYER}", "workspace", "show").strip()
    if current != workspace:
        mend = f"terraform -chdir={LAYER} workspace select {workspace}"
        raise Refused(f"Terraform's workspace is {current!r}, and infra/names.yaml means {workspace!r}. Nothing is done. Run: {mend}")


def refuse_while_locked(names: Mapping[str, Any], saved: SavedState) -> None:
    """`Refused` while another Terraform works on the layer: what is taken away before it would find that out is not put back."""
    workspace = names["workspace"]
    key = "cluster.tfstate.tflock" if workspace == "default" else f"env:/{workspace}/cluster.tfstate.tflock"
    if said := saved.read(f"s3://{names['state_bucket']}/{key}"):
        lock = json_of(said)
        who = f"{lock.get('Who', 'somebody')} ({lock.get('Operation', '?')} since {lock.get('Created', '?')})"
        mend = f"Wait for them; if nobody works there any more: terraform -chdir={LAYER} force-unlock {lock.get('ID', 'ID')}"
        raise Refused(f"The layer is locked by {who}. Nothing is done. {mend}")


def refuse_nobodys_image(names: Mapping[str, Any], root: Path, channels: Mapping[str, str], images: Mapping[str, object]) -> None:
    """`Refused` where a channel would run the image that is nobody's, since nothing else is known of it."""
    for channel in channels:
        file = f"infra/kubernetes/overlays/{channel}/kustomization.yaml"
        if NOBODYS in (root / file).read_text(encoding="utf-8") and not images.get(names["namespaces"][channel]):
            mend = "Write the digests of yours there, which the push of an image says, or name the other channels with --channel"
            raise Refused(f"{channel} names a release, and {file} nobody's image. {mend}.")
