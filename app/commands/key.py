"""`inpaint key`: make an API key. It is shown once; what is kept of it tells nobody what it was."""

import sys
from collections.abc import Sequence
from pathlib import Path

from app.keys import Scope, make_key


def key(name: str, scopes: Sequence[Scope], file: Path | None = None) -> int:
    """Print a fresh key, and its entry, or add the entry to `file`; the exit status."""
    try:
        plain, kept = make_key(name, scopes)
        if file is not None:
            before = file.read_text() if file.exists() else ""
            with file.open("a") as entries:
                entries.write(("" if before.endswith("\n") or not before else "\n") + kept.entry + "\n")
    except ValueError:
        print(f"'{name}' cannot be a name: up to 32 lower-case letters, digits and `-`.", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{file} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"Key, shown this once:    {plain}")
    if file is None:
        print(f"Entry, for API_KEYS:     {kept.entry}")
    else:
        print(f"Entry added to {file}; the API reads API_KEYS_FILE when it starts.")
    return 0
