"""Takes the cluster layer down and brings it back. docs/runbooks/pause-and-resume.md says what each step does.

Everything that is kept is in the persistent layer. Killed at any step, the same command goes on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.pause.commands import ROOT, Commands, Refused
from infra.pause.deploy import Deployer
from infra.pause.drain import Drain
from infra.pause.kubectl import Cluster
from infra.pause.refuse import LAYER, refuse_elsewhere, refuse_nobodys_image, refuse_while_locked
from infra.pause.saved import SavedState
from infra.pause.stores import Stores


@dataclass(frozen=True)
class ClusterLayer:
    """The layer that is paused and resumed."""

    names: Mapping[str, Any]
    commands: Commands
    kubeconfig: Path
    root: Path = field(default=ROOT)

    def pause(self, *, discard_volumes: bool) -> None:
        """Write down what runs, remove what Terraform does not know of, destroy the layer, and say what is left."""
        cluster, saved = self._begin()
        if cluster.is_there():
            cluster.sign_in()
            drain = Drain(self.names, cluster, self.commands)
            claims = drain.refuse_to_lose_volumes(discard_volumes=discard_volumes)
            saved.write_down(cluster.images())
            drain.run({one["metadata"]["namespace"] for one in claims})
        else:
            self.commands.say("there is no cluster to drain")
        self.commands.say("destroying the cluster layer; the database leaves a snapshot")
        self.commands.change("terraform", f"-chdir={LAYER}", "destroy", "-auto-approve", "-input=false")
        self._say_what_is_left()

    def resume(self, channels: Sequence[str] = ()) -> None:
        """Bring the layer back with the database's latest snapshot, tell pods its addresses, and deploy what the channels name."""
        cluster, saved = self._begin()
        deployer = Deployer(self.names, cluster, self.commands, self.root)
        releases = {channel: saved.release_of(channel) for channel in channels or self.names["namespaces"]}
        if nameless := [channel for channel in channels if not releases[channel]]:
            raise Refused(f"The channel {nameless[0]} names no release. Promote one first: touchstone promote --channel {nameless[0]}")
        wanted = {channel: release for channel, release in releases.items() if release}
        deployer.refuse_without_overlay(wanted)
        images = saved.written_down()
        is_new = not cluster.is_there()
        if is_new:
            refuse_nobodys_image(self.names, self.root, wanted, images)
        stores = Stores(self.names, self.commands)
        for channel in wanted:
            stores.refuse_without_callers(channel)
        alerted = stores.alert_addresses()
        known = {channel: stores.cache_secret(channel) for channel in self.names["namespaces"]}
        password, snapshot = stores.database_password(), stores.latest_snapshot()
        self.commands.say(
            f"the database comes from the snapshot {snapshot}" if snapshot else "the database has no snapshot and begins empty"
        )
        variables = {"TF_VAR_database_password": password, **({"TF_VAR_database_snapshot": snapshot} if snapshot else {})}
        self.commands.change("terraform", f"-chdir={LAYER}", "apply", "-auto-approve", "-input=false", secret=variables)
        said = "{}" if self.commands.dry_run else self.commands.ask("terraform", f"-chdir={LAYER}", "output", "-json")
        stores.tell_addresses({name: one["value"] for name, one in json.loads(said).items()}, password, known)
        cluster.sign_in(is_new=is_new)
        if not is_new:  # what runs is newer than what is written, unless a resume was cut off before it ran again
            images = {**cluster.images(), **images}
            refuse_nobodys_image(self.names, self.root, wanted, images)
            namespaces = [self.names["namespaces"][channel] for channel in wanted]
            saved.write_down({one: images[one] for one in namespaces if one in images})
        deployer.bring_platform(alerted)
        deployer.bring_operators(wanted)
        if not wanted:
            self.commands.say("no channel names a release yet: none is deployed. Promote one (infra/README.md, step 6), then resume again")
        for channel, release in wanted.items():
            namespace = self.names["namespaces"][channel]
            deployer.apply(channel, release, images.get(namespace, {}))
            saved.forget(namespace)
            deployer.wait(channel, release)
        if self.commands.dry_run:
            self.commands.say("nothing was changed")

    def _begin(self) -> tuple[Cluster, SavedState]:
        refuse_elsewhere(self.names, self.commands)
        saved = SavedState(self.names, self.commands)
        refuse_while_locked(self.names, saved)
        return Cluster(self.names, self.commands, self.kubeconfig), saved

    def _say_what_is_left(self) -> None:
        if self.commands.dry_run:
            self.commands.say("nothing was changed")
            return
        tags = ("--tag-filters", "Key=Layer,Values=cluster", f"Key=Project,Values={self.names['prefix']}")
        query = ("--query", "ResourceTagMappingList[].ResourceARN", "--output", "json", "--region", self.names["region"])
        arns = json.loads(self.commands.ask("aws", "resourcegroupstaggingapi", "get-resources", *tags, *query) or "[]")
        left = [arn for arn in arns if ":snapshot:" not in arn]
        self.commands.say(f"AWS still lists, for up to an hour after they are gone: {', '.join(left)}" if left else "paused")
