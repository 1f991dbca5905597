"""`/docs`: Swagger UI from this host, so that it works without the internet and nobody else's script runs here."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from app.headers import POLICY

router = APIRouter(include_in_schema=False)

_FILES: Final = Path(str(files("fastapi_swagger").joinpath("resources")))
_PAGE: Final = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Inpaint: the API</title>
    <link rel="icon" href="favicon.svg" type="image/svg+xml" />
    <link rel="stylesheet" href="docs/swagger-ui.css" />
  </head>
  <body>
    <div id="api"></div>
    <script src="docs/swagger-ui-bundle.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  persistAuthorization: true,
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
});
"""
_STYLED: Final = {"Content-Security-Policy": f"{POLICY}; style-src 'self' 'unsafe-inline'"}
"""Swagger UI styles its parts in place."""

PATHS: Final = frozenset({"/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"})


@router.get("/docs")
async def show_docs() -> Response:
    """The page. Its addresses are relative, so that it works behind a path prefix."""
    return HTMLResponse(_PAGE, headers=_STYLED)


@router.get("/docs/start.js")
async def show_start() -> Response:
    """What draws it."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
async def show_style() -> Response:
    """Swagger UI's own."""
    return FileResponse(_FILES / "swagger-ui.css", media_type="text/css")


@router.get("/docs/swagger-ui-bundle.js")
async def show_script() -> Response:
    """Swagger UI itself."""
    return FileResponse(_FILES / "swagger-ui-bundle.js", media_type="text/javascript")
