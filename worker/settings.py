"""What an operator can set for the broker, the storage, the ledger and the workers: environment variables."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_SECRETS: Final = Path("/run/secrets")
"""Where containers find what should not stand in their environment: a file of the variable's name, `redis_url`."""


class SettingsError(RuntimeError):
    """A variable cannot be used; the message is for the operator."""


class Settings(BaseSettings):
    """Of a part of the program: environment variables."""

    model_config = SettingsConfigDict(env_file=None, extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def read(cls) -> Self:
        """From the environment. Raises SettingsError, which says which variable is wrong, and does not repeat it."""
        try:
            return cls()
        except ValidationError as error:
            wrong = (
                f"{str(item['loc'][0]).upper()}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
            )
            raise SettingsError("\n".join(wrong)) from None


class WorkerSettings(Settings):
    """Shared by the API and the workers, so that both see the same broker, storage and limits."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,  # Compose passes an empty line of .env as a value
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
    )

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Broker and ledger.")
    data_dir: Path = Field(default=Path(".data"), description="Pictures in flight, promoted weights, training runs.")
    storage_url: str = Field(
        default="",
        description="What all hosts share: a folder, or `s3://BUCKET/PREFIX`; DATA_DIR where unset.",
    )
    storage_quota_bytes: int | None = Field(
        default=None, ge=1, description="Pictures, results and sheets may take so much; the oldest results make room."
    )
    storage_free_bytes: int = Field(
        default=1 << 30, ge=0, description="Room to leave on the storage's disk; less counts as full."
    )
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1`.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of one worker; torch's choice if unset.")
    max_pixels: int = Field(default=25_000_000, ge=1, description="Largest picture accepted, width x height.")
    queue_limit: int = Field(default=256, ge=1, description="Waiting jobs per queue before the API answers 429.")
    batch_limit: int = Field(default=16, ge=1, description="Most waiting jobs that a worker takes in one go.")
    datasets: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict, description='What can be trained on, as JSON: `{"celeba": "/data/celeba"}`.'
    )
    training_processes: int = Field(default=1, ge=1, description="Processes of a training run, one for each GPU.")
    lease_seconds: float = Field(default=15.0, gt=0, description="A lease that is not renewed for this long is lost.")
    max_attempts: int = Field(default=5, ge=1, description="Leases lost before a job is failed as `worker-lost`.")
    result_ttl_seconds: float = Field(default=24 * 3600, gt=0, description="How long an ended job and its result stay.")

    @field_validator("datasets", mode="before")
    @classmethod
    def _read_datasets(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('It must be JSON, such as {"celeba": "/data/celeba"}.') from None

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if value.partition("://")[0] not in ("redis", "rediss", "unix"):
            raise ValueError("It must begin with redis://, rediss:// or unix://.")
        return value

    @field_validator("storage_url")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        scheme, separator, _ = value.partition("://")
        if separator and scheme not in ("s3", "file"):
            raise ValueError("STORAGE_URL is a folder, file:///FOLDER or s3://BUCKET/PREFIX.")
        return value

    @property
    def has_bucket(self) -> bool:
        """Whether hosts share a bucket, and no disk."""
        return self.storage_url.startswith("s3://")

    @property
    def storage_dir(self) -> Path:
        """Pictures in flight and results."""
        return self._shared_dir / "storage"

    @property
    def weights_dir(self) -> Path:
        """Promoted weights; with a bucket, this host's copies."""
        return self._shared_dir / "weights"

    @property
    def runs_dir(self) -> Path:
        """Training runs: checkpoints, logs, previews; with a bucket, those that this host works on."""
        return self._shared_dir / "runs"

    @property
    def _shared_dir(self) -> Path:
        if self.has_bucket or not self.storage_url:
            return self.data_dir
        return Path(self.storage_url.removeprefix("file://"))
