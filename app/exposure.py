"""Who can reach the service while it has no keys: this machine alone, unless the operator says otherwise in words."""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ProblemError, problem_response
from app.settings import ApiSettings

_READS = ("GET", "HEAD", "OPTIONS")


class ExposureError(RuntimeError):
    """The service would be open to the network, and nobody said in words that it should be."""


def is_private(settings: ApiSettings) -> bool:
    """Whether it is for this machine alone: there are no keys, and nobody said that everyone may use it."""
    return not settings.keyring and not settings.allow_anonymous


def check_exposure(settings: ApiSettings) -> None:
    """Raises ExposureError where a private service would be bound beyond loopback."""
    if is_private(settings) and not _is_here(settings.host):
        raise ExposureError(
            f"HOST={settings.host} lets everyone who can reach this machine use the service. Set API_KEYS (`inpaint "
            "key NAME` makes one), or ALLOW_ANONYMOUS=true if that is what you want, or HOST=127.0.0.1."
        )


class PrivateOnly:
    """Refuses what comes from elsewhere, whoever started the server and however it was bound.

    Elsewhere is: an address beyond loopback; a host name that somebody else's DNS can point at this machine; another
    site's page that writes, in the browser of a person at this machine.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...] = ()) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (came := self._from_elsewhere(scope)):
            problem = ProblemError(
                403,
                "not-open",
                "The service is not open to others",
                f"It has no API keys and serves this machine alone, and {came}. The operator can set API_KEYS, or "
                "ALLOW_ANONYMOUS=true to serve everyone.",
            )
            await problem_response(problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _from_elsewhere(self, scope: Scope) -> str:
        """How this request came from elsewhere; empty where it did not."""
        headers = Headers(scope=scope)
        address = (scope.get("server") or ("",))[0]
        if _is_address(address) and not _is_here(address):
            return f"the request came to {address}"
        try:
            name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        except ValueError:  # half an IPv6 address
            return "the request names no host that there could be"
        if _is_address(address) and name and not _is_address(name) and not _is_here(name):
            return f"the request was sent to '{name}' and not to localhost"
        site = headers.get("sec-fetch-site", "none")
        if scope["method"] not in _READS and site not in ("same-origin", "none"):
            origin = headers.get("origin", "another site")
            return "" if {origin, "*"} & {*self._origins} else f"the request was made by a page of {origin}"
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
