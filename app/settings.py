"""What an operator can set for the API: environment variables. The worker's settings are in worker/settings.py."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from app.keys import Key, Keyring, read_entries
from worker.settings import Settings

STATIC_DIR = Path(__file__).parent / "static"

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(rf"(?P<calls>[1-9][0-9]{{0,6}})/(?P<unit>{'|'.join(_UNITS)})")


@dataclass(frozen=True)
class Rate:
    """So many calls in so many seconds: all at once, or one by one."""

    calls: int
    seconds: int

    @classmethod
    def read(cls, text: str) -> Self:
        """From `60/minute`. Raises ValueError."""
        match = _RATE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"'{text}' is no rate: write 60/minute; units are {', '.join(_UNITS)}.")
        return cls(int(match["calls"]), _UNITS[match["unit"]])


class ApiSettings(Settings):
    """Of the API process alone."""

    host: str = Field(default="127.0.0.1", description="Address to listen at.")
    port: int = Field(default=8000, ge=0, le=65535)
    root_path: str = Field(default="", description="Path below which a reverse proxy serves this, e.g. `/paint`.")
    api_keys: Annotated[tuple[Key, ...], NoDecode] = Field(
        default=(),
        description="Comma-separated entries as `inpaint key` prints them, or keys; when there are any, every call "
        "needs one. A key sees its own jobs alone.",
    )
    api_keys_file: Annotated[tuple[Key, ...], NoDecode] = Field(
        default=(), description="Path of a file of such entries, one a line; read when the API starts."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Comma-separated origins whose pages may call the API, e.g. `https://example.org`."
    )
    allow_anonymous: bool = Field(default=False, description="Serve beyond loopback although there are no keys.")
    inpaint_model: str = Field(default="glcic-celeba", description="Model of a request that names none.")
    scenes_model: str = Field(
        default="glcic-scenes", description="As above, for holes in which no face is; empty: the one above for all."
    )
    dcgan_model: str = Field(default="dcgan-celeba", description="Model that `GET /samples/dcgan` draws from.")
    vanilla_gan_model: str = Field(default="vanilla-gan-mnist", description="As above, for `/samples/vanilla-gan`.")
    max_upload_bytes: int = Field(default=64 << 20, ge=1024, description="Largest request body.")
    upload_idle_seconds: float = Field(default=30, gt=0, description="An upload that pauses for longer is given up.")
    read_idle_seconds: float = Field(
        default=30, gt=0, description="A client that takes nothing for longer is given up."
    )
    rate_limit: Annotated[Rate | None, NoDecode] = Field(
        default=None, description="Calls that ask for work, for each key or address, e.g. `60/minute`; none if unset."
    )
    wait_seconds: float = Field(default=30, ge=0, description="Wait for a result without a `Prefer: wait`.")
    max_wait_seconds: float = Field(default=60, ge=0, description="Longest `Prefer: wait` that is honoured.")
    decode_threads: int = Field(default=2, ge=1, description="Pictures decoded at once; of the largest, one.")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _read_keys(cls, value: Any) -> Any:
        return (
            read_entries([key.strip() for key in value.split(",") if key.strip()]) if isinstance(value, str) else value
        )

    @field_validator("api_keys_file", mode="before")
    @classmethod
    def _read_keys_file(cls, value: Any) -> Any:
        if not value or not isinstance(value, str | Path):
            return value or ()
        try:
            lines = (line.strip() for line in Path(value).read_text().splitlines())
        except OSError as error:
            raise ValueError(f"{value} cannot be read: {error.strerror}.") from None
        entries = read_entries([line for line in lines if line and not line.startswith("#")])
        if not entries:  # whoever names a file wants keys: an empty one must not open the service to everyone
            raise ValueError(f"{value} has no entries. `inpaint key NAME --file {value}` adds one.")
        return entries

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _read_origins(cls, value: Any) -> Any:
        origins = [origin.strip() for origin in value.split(",") if origin.strip()] if isinstance(value, str) else value
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/?#@\s]+", origin):
                raise ValueError(
                    f"'{origin}' is no origin: write `https://host` or `https://host:port`, without a path."
                )
        return origins

    @field_validator("rate_limit", mode="before")
    @classmethod
    def _read_rate(cls, value: Any) -> Any:
        return (Rate.read(value) if value.strip() else None) if isinstance(value, str) else value

    @field_validator("root_path")
    @classmethod
    def _normalise(cls, value: str) -> str:
        return "/" + value.strip("/") if value.strip("/") else ""

    @cached_property
    def keyring(self) -> Keyring:
        """All keys that are known."""
        return Keyring((*self.api_keys, *self.api_keys_file))
