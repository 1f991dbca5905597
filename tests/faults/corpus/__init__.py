"""Requests that people, their tools and their enemies send, made by a script: the same each time.

    python -m tests.faults.corpus      sends all of them, prints what each was answered

`all_cases` makes them; tests/faults/test_corpus.py sends them.
"""

from collections.abc import Iterator

from tests.faults.corpus.case import Case
from tests.faults.corpus.forms import form_cases
from tests.faults.corpus.pictures import picture_cases
from tests.faults.corpus.requests import request_cases

__all__ = ["Case", "all_cases"]


def all_cases() -> Iterator[Case]:
    """Every case, in the order in which they are sent."""
    yield from picture_cases()
    yield from form_cases()
    yield from request_cases()
