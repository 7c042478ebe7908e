"""Messages of protocols that are not ours."""

from pydantic import BaseModel, ConfigDict


class LenientModel(BaseModel):
    """What we do not know of a message is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")
