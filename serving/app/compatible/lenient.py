"""The base of request bodies of other protocols: unknown fields are ignored."""

from pydantic import BaseModel, ConfigDict


class LenientModel(BaseModel):
    """A body whose unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
