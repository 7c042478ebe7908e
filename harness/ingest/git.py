"""Fetches one commit of a git repository, without history, hooks, prompts, submodules or any configuration but ours."""

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import urlsplit

from serving.pipeline.errors import ConfigError, DataError, StoreError

FORMS = "Write git+https://host/repository[@ref][#folder], or git+/path/of/a/repository[@ref][#folder]."
INHERITED_VARIABLES = ("PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE")
GIT_VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "LC_ALL": "C",
}
_REF = re.compile(r"[A-Za-z0-9][\w./+\-]{0,199}")
OPTIONS = (
    "--literal-pathspecs",
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.symlinks=false",  # a link becomes a file with its target in it
    "-c", "core.fsmonitor=false",
    "-c", "credential.helper=",
    "-c", "http.followRedirects=initial",
    "-c", "fetch.fsckObjects=true",
    "-c", "protocol.ext.allow=never",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GitLocation:
    """A folder of a repository at a commit."""

    repository: str  # https://…, or the absolute path of a repository of this machine
    ref: str = "HEAD"
    folder: str = ""

    @classmethod
    def parse(cls, source: str) -> Self:
        """The place that `git+…` names."""
        address, _, folder = source.removeprefix("git+").partition("#")
        _, colon, rest = address.partition("://")
        if "@" in (rest.partition("/")[2] if colon else address):  # one before the path is a user's name
            address, at, ref = address.rpartition("@")
        else:
            at = ref = ""
        repository = cls._checked_address(address)
        if at and (not _REF.fullmatch(ref) or ".." in ref):
            raise ConfigError(f"{source!r}: {ref!r} is not the name of a branch, a tag or a commit. {FORMS}")
        parts = PurePosixPath(folder).parts
        if folder.startswith("/") or ".." in parts or ".git" in parts:
            raise ConfigError(f"{source!r}: {folder!r} is not a folder in a repository. {FORMS}")
        return cls(repository, ref if at else "HEAD", "/".join(parts))

    @staticmethod
    def _checked_address(address: str) -> str:
        if "://" not in address:
            if address.startswith("/") or (address and Path(address).is_dir()):
                return str(Path(address).resolve())
            raise ConfigError(f"git+{address!s} is no address of a repository. {FORMS}")
        parts = urlsplit(address)
        if parts.scheme != "https" or not parts.hostname:
            raise ConfigError(f"Repositories are fetched by https, not by {parts.scheme!r}. {FORMS}")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("An address with a name or a password is not taken: records would keep it. Clone it, and ingest the folder.")
        return address

    @property
    def collection(self) -> str:
        """The place whatever its commit."""
        return f"git+{self.repository}" + (f"#{self.folder}" if self.folder else "")

    @property
    def name(self) -> str:
        """The last word of where it lies."""
        return (self.folder or self.repository.rstrip("/").removesuffix(".git")).rpartition("/")[2]


def checked_out(place: GitLocation, folder: Path, *, megabytes: float, files: int, seconds: float) -> Path:
    """The folder of a place, below another one, at most so large."""
    if shutil.which("git") is None:
        raise ConfigError("git is not installed, so no repository can be fetched. Install it, or ingest a folder.")
    git = _Git(folder, "https" if place.repository.startswith("https://") else "file", int(megabytes * 1e6), time.monotonic() + seconds)
    tree = folder / "tree"
    tree.mkdir()
    git.run("init", "--quiet", "--template=", str(tree))
    git.run("-C", str(tree), "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", place.repository, place.ref)
    within = ["--", place.folder] if place.folder else []
    sizes = _sizes(git.run("-C", str(tree), "ls-tree", "-r", "-l", "-z", "FETCH_HEAD", *within))
    if not sizes:
        raise DataError(f"{place.collection} at {place.ref} holds no file.")
    if len(sizes) > files or sum(sizes) > megabytes * 1e6:
        size = f"{len(sizes):,} files of {sum(sizes) / 1e6:,.0f} MB"
        raise DataError(f"{place.collection} has {size}; at most {files:,} of {megabytes:g} MB are read. Name a folder of it.")
    git.run("-C", str(tree), "checkout", "--quiet", "--force", "FETCH_HEAD", "--", place.folder or ".")
    shutil.rmtree(tree / ".git")
    return tree / place.folder if place.folder else tree


def _sizes(listing: bytes) -> list[int]:
    """The sizes of the files in a tree; links to other repositories have none."""
    sizes = [entry.split(b"\t", 1)[0].split()[-1] for entry in listing.split(b"\0") if entry]
    return [int(size) for size in sizes if size.isdigit()]


@dataclass(frozen=True, slots=True)
class _Git:
    """Runs git in an environment of ours."""

    home: Path
    protocols: str
    most_bytes: int
    deadline: float

    def run(self, *words: str) -> bytes:
        """What a command prints, or the one line that says why it failed."""
        command = [shutil.which("git") or "git", *OPTIONS, *words]
        with subprocess.Popen(  # noqa: S603 — a list of words, no shell; addresses and refs are checked and follow `--`
            command,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=self._limit,
        ) as process:
            try:
                out, errors = process.communicate(timeout=max(self.deadline - time.monotonic(), 0.1))
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise StoreError("git took too long to fetch the repository. Try again, or raise --max-seconds.") from None
                raise
        if process.returncode:
            raise _failure(errors.decode("utf-8", "replace"))
        return out

    def _environment(self) -> Mapping[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        return inherited | GIT_VARIABLES | {"GIT_ALLOW_PROTOCOL": self.protocols, "HOME": str(self.home)}

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.most_bytes, self.most_bytes))


def _failure(stderr: str) -> Exception:
    lines: Sequence[str] = [line.strip() for line in stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "no reason given")
    reason = reason.partition(": ")[2] or reason
    if any(word in stderr for word in ("Could not resolve", "unable to access", "timed out", "Connection")):
        return StoreError(f"git could not reach the repository: {reason[:300]}")
    return DataError(f"git: {reason[:300]}")
