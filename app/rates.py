"""How many calls that ask for work each key, or without keys each address, may make.

Counted where all API processes see it, and announced as draft-ietf-httpapi-ratelimit-headers-10 has it:

    RateLimit-Policy: "calls";q=60;w=60     60 calls a minute
    RateLimit: "calls";r=12;t=48            12 are left; all 60 will be again after 48 s
"""

import ipaddress
import logging
import math
from typing import Final

import redis
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ProblemError, problem_response, retry_after
from app.settings import Rate
from worker.connection import OUTAGES

_READS: Final = ("GET", "HEAD", "OPTIONS")

# The key holds the time at which all calls so far will have been paid for, one by one at the rate; a call is allowed
# while that is less than a whole quota ahead. Answers: allowed, calls left, seconds until all are, seconds to wait.
_SCRIPT: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local calls, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local each = seconds / calls
local paid = math.min(math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0)), now + seconds) + each
local wait = paid - now - seconds
if wait > 1e-6 then
  return { 0, 0, string.format('%.6f', paid - each - now), string.format('%.6f', wait) }
end
redis.call('SET', KEYS[1], string.format('%.6f', paid), 'PX', math.ceil((paid - now) * 1000))
return { 1, math.floor((seconds - (paid - now)) / each + 1e-6), string.format('%.6f', paid - now), '0' }
"""

log = logging.getLogger(__name__)


class RateLimits:
    """Answers 429 to calls beyond `rate`. Counted is what asks for work: everything that writes, and samples. While
    the broker is away nobody is counted: it could not take their jobs either."""

    def __init__(self, app: ASGIApp, client: redis.Redis, rate: Rate) -> None:
        self._app = app
        self._script = client.register_script(_SCRIPT)
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _asks_for_work(scope):
            await self._app(scope, receive, send)
            return
        try:
            allowed, left, full, wait = await run_in_threadpool(self._take, _caller(scope))
        except OUTAGES as error:
            log.warning("The broker is away, calls are not counted: %s", error)
            await self._app(scope, receive, send)
            return
        announced = {
            "RateLimit-Policy": f'"calls";q={self._rate.calls};w={self._rate.seconds}',
            "RateLimit": f'"calls";r={left};t={math.ceil(full)}',
        }
        if not allowed:
            await problem_response(self._refusal(wait, announced))(scope, receive, send)
            return

        async def announcing(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(announced)
            await send(message)

        await self._app(scope, receive, announcing)

    def _take(self, caller: str) -> tuple[bool, int, float, float]:
        arguments = [self._rate.calls, self._rate.seconds]
        allowed, left, full, wait = self._script(keys=[f"inpaint:rate:{caller}"], args=arguments)
        return bool(allowed), int(left), float(full), float(wait)

    def _refusal(self, wait: float, announced: dict[str, str]) -> ProblemError:
        calls, seconds = self._rate.calls, self._rate.seconds
        return ProblemError(
            429,
            "rate-limited",
            "Too many requests",
            f"{calls} requests for work may be sent in {seconds} s. Send this one again after the time in Retry-After.",
            announced | retry_after(wait),
        )


def _asks_for_work(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope["method"] not in _READS or path.startswith("/samples/")


def _caller(scope: Scope) -> str:
    """The key's owner; without keys the address, and of IPv6 the network that one customer has."""
    key = scope.get("state", {}).get("key")
    if key is not None:
        return f"key:{key.owner}"
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"host:{host}"
    return f"host:{address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False)}"
