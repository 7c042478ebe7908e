"""Our own rules for the recipes of images, beside hadolint's."""

import re
from collections.abc import Iterator

SECRET = re.compile(r"^\w*(?:SECRET|PASSWORD|TOKEN|API_KEY|CREDENTIAL)\w*$", re.IGNORECASE)
LATEST = "latest"
LABELS = {"title": "", "licenses": "", "version": "${VERSION}", "revision": "${COMMIT}"}  # of OCI, and what says them
LABEL = re.compile(r'org\.opencontainers\.image\.(\w+)="([^"]*)"')
INSTALLS = re.compile(r"\b(?:apt-get|apt|apk|pip|uv) (?:\S+ )*?(?:install|add|sync)\b")


def dockerfile_breaches(text: str) -> list[str]:
    """What a recipe may not do, or lacks."""
    return list(_breaches(instructions(text)))


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a recipe, each with its words; comments are left out and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", lines).splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in joined) if word]


def _breaches(found: list[tuple[str, str]]) -> Iterator[str]:
    arguments = dict(one.split("=", 1) for word, rest in found if word == "ARG" for one in rest.split() if "=" in one)
    stages, user, health, labels, installed = set[str](), "", False, dict[str, str](), list[str]()
    for word, rest in found:
        if word == "FROM":
            words = rest.split()
            image = re.sub(r"\$\{?(\w+)\}?", lambda name: arguments.get(name[1], ""), words[0])
            if image not in stages and not _pinned(image):
                yield f"is built on {image or words[0]!r}, which may be another one tomorrow"
            if words[0] not in stages and "$" not in words[0]:
                yield f"is built on {words[0]!r}, which no argument of the build can change"
            stages |= {words[2]} if len(words) > 2 else set()
            user, health, labels, installed = "", False, {}, []
        if word == "USER":
            user = rest
        if word == "HEALTHCHECK":
            health = True
        if word == "LABEL":
            labels |= dict(LABEL.findall(rest))
        if word == "RUN" and INSTALLS.search(rest):
            installed.append(rest)
        if word in ("ENV", "ARG"):
            for name in re.findall(r"(?:^|\s)(\w+)(?==)|^(\w+)(?:\s|$)", rest):
                if SECRET.match(one := name[0] or name[1]):
                    yield f"{word} {one}: a secret would stay in the image; it comes as --mount=type=secret"
        if word == "ADD" and "://" in rest:
            yield "ADD fetches what may be another thing tomorrow"
        if word in ("COPY", "ADD") and re.search(r"(?:^|\s)\.(?:\s|/\s)", rest) and "--from" not in rest:
            yield f"{word} {rest}: takes everything; name what is needed"
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
        yield f"runs as {user or 'root'}; Kubernetes takes numbers alone, other than 0"
    for name, value in LABELS.items():
        if not labels.get(name) or labels[name] != (value or labels[name]):
            yield f"has no label org.opencontainers.image.{name}" + (f", which {value} says" if value else "")
    for what in installed:
        yield f"installs in the image that is started ({what[:40]}…): a stage before it does, and leaves its tools behind"
    if not health:
        yield "says nothing of its health (HEALTHCHECK, or HEALTHCHECK NONE)"


def _pinned(image: str) -> bool:
    """Whether an image is named by its digest, or by a tag other than latest."""
    _, _, tag = image.rpartition("/")[2].partition(":")
    return "@sha256:" in image or tag not in ("", LATEST)
