"""Plotly in a page: its script from the installed package, the figures as data, and a policy that lets nothing else run."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

Figure = dict[str, Any]  # what Plotly's JSON form is: {"data": [...], "layout": {...}}


@dataclass(frozen=True)
class Charts:
    """The figures of a page by name; each is drawn into the element `chart-<name>`."""

    figures: Mapping[str, Figure]

    @cached_property
    def library(self) -> str:
        """Plotly's own script: the one bundle that its package ships."""
        return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")

    @cached_property
    def drawing(self) -> str:
        """The script that draws them, and draws them again when light becomes dark."""
        return files("harness").joinpath("templates", "charts.js").read_text(encoding="utf-8")

    @cached_property
    def data(self) -> str:
        """The figures as JSON in which nothing can end a script element."""
        text = json.dumps(self.figures, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        for sign in "<>&\u2028\u2029":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        return text

    @property
    def policy(self) -> str:
        """A Content-Security-Policy: nothing is fetched, and no script runs but these two (Plotly compiles shaders' drivers itself)."""
        hashes = " ".join(f"'sha256-{_hash(script)}'" for script in (self.library, self.drawing))
        return f"script-src {hashes} 'unsafe-eval'; img-src data: blob:; worker-src blob:"


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
