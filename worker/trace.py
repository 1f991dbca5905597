"""Which request a piece of work belongs to, across processes: W3C Trace Context (`traceparent`).

A client may send one; else the API begins one. It goes into the job's record,
and the log lines of every process that touches the job carry its trace id.
"""

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class Trace:
    """One step of a trace."""

    id: str
    """Of the whole trace: 32 hexadecimal digits."""
    span: str
    """Of this step: 16 hexadecimal digits."""
    flags: str = "01"

    @classmethod
    def begin(cls) -> Self:
        """A new trace."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    @classmethod
    def of(cls, traceparent: str) -> Self | None:
        """As `traceparent` says; None where it says nothing that can be understood.

        A version that is not known yet is read as far as ours goes, as the specification wants it.
        """
        match = _TRACEPARENT.fullmatch(traceparent.strip())
        if match is None or (match[1] == "00" and match[5]):
            return None
        return cls(match[2], match[3], match[4])

    def step(self) -> Self:
        """The next step of the same trace."""
        return type(self)(self.id, secrets.token_hex(8), self.flags)

    def __str__(self) -> str:
        return f"00-{self.id}-{self.span}-{self.flags}"


current: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""Of the request that is being answered."""
