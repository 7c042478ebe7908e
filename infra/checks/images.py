"""Images without Docker: built by buildah, started by bubblewrap as the account that the image names, on a read-only root."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from infra.checks.outcome import CheckFailed, CheckSkipped

ROOT = Path(__file__).parents[2]
BASE = "localhost/touchstone-base:bookworm"
DEBIAN = ["--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm"]
NOBODY = "10001"
# what bubblewrap needs to become that account, and gives up with it
TO_BECOME = [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
BECOME = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


@dataclass(frozen=True)
class Image:
    """An image whose files lie at `root`, with what it says of itself."""

    name: str
    root: Path
    config: Mapping[str, Any]
    commit: str  # that it was built of
    built_s: float

    def words(self, command: Sequence[str], *, writable: Mapping[str, Path], environment: Mapping[str, str]) -> list[str]:
        """The command line that starts a command in the image; the network is this machine's."""
        told = dict(one.split("=", 1) for one in self.config.get("Env", [])) | dict(environment)
        told.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
        words = [
            "bwrap",
            "--ro-bind",
            str(self.root),
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
        ]
        for place in ("/tmp", "/dev/shm"):  # as a container has them
            words += ["--perms", "1777", "--tmpfs", place]
        for place, folder in writable.items():
            words += ["--bind", str(folder), place]
        words += ["--cap-drop", "ALL", *TO_BECOME, "--die-with-parent", "--clearenv"]
        for name, value in told.items():
            words += ["--setenv", name, value]
        return [*words, "--chdir", self.config.get("WorkingDir") or "/", *BECOME, *command]

    def run(self, command: Sequence[str], *, writable: Mapping[str, Path], environment: Mapping[str, str] | None = None) -> str:
        """What a command in the image says; one that fails is a failure."""
        words = self.words(command, writable=writable, environment=environment or {})
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise CheckFailed(f"{' '.join(command)[:100]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
        return done.stdout


@contextmanager
def opened(recipe: str) -> Iterator[Image]:
    """The image of infra/docker/<recipe>.Dockerfile, built and mounted."""
    base = os.environ.get("BASE") or _debian()
    tag, commit, began = f"localhost/touchstone-{recipe}:smoke", _commit(), monotonic()
    secrets = [("ca", "SSL_CERT_FILE"), ("uv", "UV_CONFIG_FILE")]
    given = [word for name, told in secrets if (file := os.environ.get(told)) for word in ("--secret", f"id={name},src={file}")]
    arguments = [f"BASE={base}", "VERSION=smoke", f"COMMIT={commit}"]
    built = [word for one in arguments for word in ("--build-arg", one)]
    buildah("bud", "--quiet", "--format", "docker", "--layers", *given, *built, "-f", f"infra/docker/{recipe}.Dockerfile", "-t", tag, ".")
    built_s = monotonic() - began
    container = buildah("from", "--quiet", tag)
    try:
        config = json.loads(buildah("inspect", "--type", "image", tag))["OCIv1"]["config"]
        yield Image(tag, Path(buildah("mount", container)), config, commit, built_s)
    finally:
        buildah("rm", container)


def refuse() -> None:
    """Raise `CheckSkipped` where an image cannot be built or started here."""
    if missing := [name for name in ("buildah", "bwrap", "setpriv") if not shutil.which(name)]:
        raise CheckSkipped(f"{', '.join(missing)} is not installed (apt-get install buildah bubblewrap mmdebstrap)")
    if os.geteuid() != 0:
        raise CheckSkipped("it needs root, to mount the image and then give up every right")
    if not os.environ.get("BASE") and not _is_there(BASE) and not shutil.which("mmdebstrap"):
        raise CheckSkipped("no BASE is named and mmdebstrap is not installed")


def buildah(*words: str) -> str:
    """What buildah says; a failure of its is one of ours."""
    own = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": os.environ.get("STORAGE_DRIVER", "vfs")}
    done = subprocess.run(["buildah", *words], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | own)
    if done.returncode:
        raise CheckFailed(f"buildah {words[0]} ended with {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout.strip()


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def _is_there(tag: str) -> bool:
    try:
        buildah("inspect", "--type", "image", tag)
    except CheckFailed:
        return False
    return True


def _debian() -> str:
    """A base of one's own, where no registry is at hand: Debian with its Python."""
    if not _is_there(BASE):
        container = buildah("from", "scratch")
        archive = ROOT / ".touchstone" / "base.tar"
        archive.parent.mkdir(exist_ok=True)
        try:
            subprocess.run(["mmdebstrap", *DEBIAN, str(archive)], check=True, stdout=subprocess.DEVNULL)
            buildah("add", "--quiet", container, str(archive), "/")
            buildah("commit", "--quiet", "--rm", container, BASE)
        finally:
            archive.unlink(missing_ok=True)
    return BASE
