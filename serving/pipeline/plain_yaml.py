"""YAML of which a few bytes are a few values: without aliases, by which a small file can stand for billions of them."""

from typing import Any

import yaml


class _PlainLoader(yaml.SafeLoader):
    """The safe loader, which refuses aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.get_event()  # type: ignore[no-untyped-call]  # of a library without types
            raise yaml.composer.ComposerError(None, None, f"the alias *{event.anchor} is not allowed here", event.start_mark)
        return super().compose_node(parent, index)


class _PlainDumper(yaml.SafeDumper):
    """The safe dumper, which writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def load_plain(text: str | bytes) -> Any:
    """The data in a text that nobody vouches for; a `yaml.YAMLError`, `ValueError` or `RecursionError` where it is none."""
    return yaml.load(text, _PlainLoader)  # noqa: S506 — a safe loader


def dump_plain(data: Any) -> str:
    """The text that `load_plain` reads, with the keys in their order."""
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False)
