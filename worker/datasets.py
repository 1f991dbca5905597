"""The data sets that can be trained on, by name. The operator registers them; a client never sends a path.

`DATASETS='{"celeba": "/data/celeba"}'` in the environment, or lines such as
`celeba = "/data/celeba"` in `DATA_DIR/datasets.toml`, which is read anew each
time. Paths may start with `~`; relative ones are relative to `DATA_DIR`.
"""

import re
import tomllib
from pathlib import Path

from worker.settings import WorkerSettings

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class UnknownDatasetError(LookupError):
    """No data set goes by this name. The message lists what there is."""


class DatasetsError(ValueError):
    """`datasets.toml` or `DATASETS` cannot be understood."""


def registered(settings: WorkerSettings) -> dict[str, Path]:
    """All data sets by name; the environment goes before the file. Raises DatasetsError."""
    file = settings.data_dir / "datasets.toml"
    found: dict[str, object] = {}
    if file.exists():
        try:
            found = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise DatasetsError(f"{file} cannot be read: {error}.") from error
    paths: dict[str, Path] = {}
    for name, path in (found | dict(settings.datasets)).items():
        if not _NAME.fullmatch(name) or not isinstance(path, str | Path):
            raise DatasetsError(f"'{name}' is no entry of the form NAME = \"PATH\" (NAME: a-z, 0-9, -).")
        paths[name] = settings.data_dir / Path(path).expanduser()
    return dict(sorted(paths.items()))


def path_of(name: str, settings: WorkerSettings) -> Path:
    """Where the data set `name` lies. Raises UnknownDatasetError, DatasetsError."""
    known = registered(settings)
    if name not in known:
        names = ", ".join(known) or "none; the operator registers them with DATASETS or in DATA_DIR/datasets.toml"
        raise UnknownDatasetError(f"There is no data set '{name}'. Data sets: {names}.")
    return known[name]
