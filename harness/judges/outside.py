"""Judges of other packages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from harness.judges.base import Judge, Verdict
from serving.pipeline.digest import digest_of


@dataclass(slots=True)
class OutsideJudge:
    """A judge of another package: named as the user names it, and identified by its package's version as well."""

    name: str
    id: str
    inner: Judge

    @classmethod
    def of(cls, inner: Judge, name: str, version: str) -> Self:
        """A judge by its name in the table or its import path, and the version of its code."""
        return cls(name, digest_of([inner.id, version]), inner)

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The judge's own verdict."""
        return await self.inner.judge(task, values)
