"""Our own rules for the compose file, beside its schema's."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|_KEY$|SALT|HEADERS")
IN_ADDRESS = re.compile(r"://[^/\s:@]*:(?!\$)[^/\s@]+@")
NONE = ("", "test")  # the second is what moto is told, which takes any
LOCKED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
FROM_OUTSIDE = re.compile(r"\$\{\w+")


def compose_breaches(text: str) -> list[str]:
    """What a service may not be, or lacks."""
    services: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text).get("services", {})
    found = [f"{name}: {what}" for name, service in services.items() for what in _breaches(service, services)]
    return [*found, *_started_for_nobody(services)]


def _started_for_nobody(services: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Services that always start, and are waited for by those of a profile alone."""
    for name, service in services.items():
        waiting = [other for other in services.values() if name in dict(_needs(other.get("depends_on", [])))]
        profiles = sorted({profile for other in waiting for profile in other.get("profiles", [])})
        if waiting and not service.get("profiles") and all(other.get("profiles") for other in waiting):
            yield f"{name}: always starts, and only {', '.join(profiles)} waits for it"


def _breaches(service: Mapping[str, Any], services: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    image = str(service.get("image", ""))
    _, _, tag = image.rpartition("/")[2].partition(":")
    if "@sha256:" not in image and tag in ("", "latest"):
        yield f"runs {image or 'an image without a name'}, which may be another one tomorrow"
    if service.get("privileged") or service.get("cap_add") or service.get("network_mode") == "host" or service.get("pid") == "host":
        yield "gets more rights than it needs"
    if "build" in service:  # an image of ours, which is made to be started so
        yield from (f"is ours, and not locked: {setting}" for setting, value in LOCKED.items() if service.get(setting) != value)
    if str(service.get("user", "")).split(":")[0] in ("0", "root"):
        yield "runs as root"
    for volume in service.get("volumes", []):
        if str(volume).partition(":")[0] in ("/", "/var/run/docker.sock", "/etc", "/proc", "/sys"):
            yield f"reaches into its host: {volume}"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"{port} is open to other machines; 127.0.0.1: belongs before it"
    for name, value in _environment(service.get("environment", {})):
        given = FROM_OUTSIDE.search(value) or value.startswith("/") or value in NONE
        if (SECRET.search(name) and not given) or IN_ADDRESS.search(value):
            yield f"{name} stands there in plain text; ${{{name}:?…}} takes it from the environment"
    for name, condition in _needs(service.get("depends_on", [])):
        if name not in services:
            yield f"waits for {name}, which is no service"
        elif condition == "service_healthy" and "healthcheck" not in services[name]:
            yield f"waits for the health of {name}, which says nothing of it"
        elif not set(service.get("profiles", [])) >= set(services[name].get("profiles", [])):
            yield f"waits for {name}, which another profile starts"


def _environment(given: Any) -> Iterator[tuple[str, str]]:
    if isinstance(given, list):
        given = dict(one.partition("=")[::2] for one in given)
    yield from ((str(name), "" if value is None else str(value)) for name, value in given.items())


def _needs(given: Any) -> Iterator[tuple[str, str]]:
    for name in given:
        yield str(name), given[name].get("condition", "") if isinstance(given, dict) else ""
