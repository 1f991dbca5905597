"""API keys: whose they are and what they may do. Digests are held, never the keys.

NAME:SCOPES:SHA256      alice:use+train:9f86d081884c7d65...     what `inpaint key alice` prints, to be kept
KEY                     a key in plain text, which may do everything
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

_ENTRY = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]{0,31}):(?P<scopes>[a-z]+(\+[a-z]+)*):(?P<digest>[0-9a-f]{64})")
_PREFIX = "inp_"  # so that scanners for leaked secrets can know them


class Scope(StrEnum):
    """What a key may do."""

    USE = "use"
    """Complete pictures, draw samples, follow one's own jobs and runs, see which models there are."""
    TRAIN = "train"
    """Use, and also train and put weights into service."""
    METRICS = "metrics"
    """Read `/metrics`, nothing else: for Prometheus."""


@dataclass(frozen=True)
class Key:
    """One key that is known. Several may have the same owner, so that a new one can replace an old one."""

    owner: str
    scopes: frozenset[Scope]
    digest: bytes
    """SHA-256. A key is 256 random bits: nobody guesses what a slow hash would protect."""

    @property
    def entry(self) -> str:
        """How it is kept."""
        return f"{self.owner}:{'+'.join(scope for scope in Scope if scope in self.scopes)}:{self.digest.hex()}"


class Keyring:
    """All keys that are known; false where there are none."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, presented: str) -> Key | None:
        """The known key that was presented. Looks at all of them, so that the time taken does not tell which."""
        digest, found = _digest(presented), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def make_key(owner: str, scopes: Iterable[Scope]) -> tuple[str, Key]:
    """A fresh key in plain text, and what is to be kept of it. Raises ValueError for a name that cannot be one."""
    plain = _PREFIX + secrets.token_urlsafe(32)
    return plain, read_entries([Key(owner, frozenset(scopes), _digest(plain)).entry])[0]


def read_entries(entries: Sequence[str]) -> tuple[Key, ...]:
    """The keys of a list. Raises ValueError, which says the number of the wrong entry and not what it holds."""
    return tuple(_read(number, entry) for number, entry in enumerate(entries, 1))


def _read(number: int, entry: str) -> Key:
    if ":" not in entry:
        digest = _digest(entry)
        return Key(digest.hex()[:12], frozenset(Scope), digest)
    match = _ENTRY.fullmatch(entry)
    scopes = set(match["scopes"].split("+")) if match else set()
    if match is None or not scopes <= set(Scope):
        raise ValueError(
            f"Entry {number} is not NAME:SCOPES:SHA256: a name of lower-case letters, digits and `-`; of the scopes "
            f"{', '.join(Scope)} one or several joined by `+`; 64 hexadecimal digits. `inpaint key NAME` makes one."
        )
    if Scope.TRAIN in scopes:
        scopes.add(Scope.USE)
    return Key(match["name"], frozenset(Scope(scope) for scope in scopes), bytes.fromhex(match["digest"]))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
