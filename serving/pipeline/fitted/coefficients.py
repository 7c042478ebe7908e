"""What the coefficients of every fitted model have in common."""

from pydantic import BaseModel, ConfigDict


class Coefficients(BaseModel):
    """Plain, finite numbers, as an artefact holds them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
