"""What an operator can set for the API: environment variables. The worker's settings are in worker/settings.py."""

import hashlib
import hmac
import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

STATIC_DIR = Path(__file__).parent / "static"


class ExposureError(RuntimeError):
    """The service would be open to the network, and nobody said in words that it should be."""


class ApiSettings(BaseSettings):
    """Of the API process alone."""

    model_config = SettingsConfigDict(env_file=None, extra="ignore", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen at.")
    port: int = Field(default=8000, ge=0, le=65535)
    root_path: str = Field(default="", description="Path below which a reverse proxy serves this, e.g. `/paint`.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Comma-separated keys; when set, every call needs one. A key sees its own jobs alone."
    )
    allow_anonymous: bool = Field(default=False, description="Serve beyond loopback although there are no keys.")
    inpaint_model: str = Field(default="glcic-celeba", description="Model of a request that names none.")
    dcgan_model: str = Field(default="dcgan-celeba", description="Model that `GET /samples/dcgan` draws from.")
    vanilla_gan_model: str = Field(default="vanilla-gan-mnist", description="As above, for `/samples/vanilla-gan`.")
    max_upload_bytes: int = Field(default=64 << 20, ge=1024, description="Largest request body.")
    upload_idle_seconds: float = Field(default=30, gt=0, description="An upload that pauses for longer is given up.")
    wait_seconds: float = Field(default=30, ge=0, description="Wait for a result without a `Prefer: wait`.")
    max_wait_seconds: float = Field(default=60, ge=0, description="Longest `Prefer: wait` that is honoured.")
    decode_threads: int = Field(default=2, ge=1, description="Pictures decoded at once; bounds CPU and memory.")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [key.strip() for key in value.split(",") if key.strip()] if isinstance(value, str) else value

    @field_validator("root_path")
    @classmethod
    def _normalise(cls, value: str) -> str:
        return "/" + value.strip("/") if value.strip("/") else ""

    def owner_of(self, key: str) -> str | None:
        """Whose key this is: a short digest, so that a job's record holds no key; None where it is nobody's."""
        owner = None
        for known in self.api_keys:  # all of them, so that the time taken does not tell which
            if hmac.compare_digest(known.get_secret_value().encode(), key.encode()):
                owner = hashlib.sha256(key.encode()).hexdigest()[:12]
        return owner


def check_exposure(settings: ApiSettings) -> None:
    """Raises ExposureError where `settings` would bind beyond loopback without API keys, unless told so in words."""
    if is_loopback(settings.host) or settings.api_keys or settings.allow_anonymous:
        return
    raise ExposureError(
        f"HOST={settings.host} lets everyone who can reach this machine use the service. Set API_KEYS=key1,key2, "
        "or ALLOW_ANONYMOUS=true if that is what you want, or HOST=127.0.0.1."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
