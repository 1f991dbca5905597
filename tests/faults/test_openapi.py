"""What the OpenAPI document says is what the API does: schemathesis sends what fits the document, and what does not."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from app.keys import Scope, make_key
from app.main import create_app
from tests.faults.api import Api, serving

PLAIN, KEY = make_key("everything", list(Scope))
CANNOT_HOLD = [positive_data_acceptance]  # no schema can say which bytes are a picture


def document() -> dict[str, Any]:
    """What the API says of itself, less where keys are taken: a right one is sent with every call, and to draw another
    one beside it would be no error."""
    document = create_app().openapi()
    del document["components"]["securitySchemes"]
    for operations in document["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    return document


schema = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    # Not pytest's tmp_path: the path of the broker's socket must stay below 100 characters.
    with (
        tempfile.TemporaryDirectory(prefix="inpaint-openapi-") as folder,
        serving(Path(folder), API_KEYS=KEY.entry, WAIT_SECONDS="0", MAX_WAIT_SECONDS="0.2") as api,
    ):
        yield api


@schema.parametrize()
@settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_documented(case: schemathesis.Case, api: Api) -> None:
    """Status, content type, headers and body of every answer are in the document; none is a fault of the service; what
    does not fit the document is refused, what does is not."""
    case.call_and_validate(base_url=api.url, headers={"X-API-Key": PLAIN}, timeout=60, excluded_checks=CANNOT_HOLD)
