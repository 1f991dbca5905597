"""How to reach the broker: one address, written as redis-py wants it and as Celery wants it."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import EqualJitterBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ResponseError, TimeoutError
from redis.retry import Retry

SOCKET_OPTIONS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 25,
}
"""A broker that hangs is noticed in seconds, by the ledger's client and by Celery's."""

_GONE = (ConnectionError, BusyLoadingError)
_AWAY = (*_GONE, TimeoutError)

OUTAGES = (*_AWAY, ResponseError)
"""What a client raises while the broker is away, is back but still reads its file, or refuses what it is asked: its
memory or its disk is full, or it has become a replica."""


def connect(redis_url: str, patience_seconds: float = 5) -> redis.Redis:
    """A client that outlives a broker restart: each call is tried again for about `patience_seconds`.

    Answers are str. Raises one of OUTAGES from the call that ran out of patience: from a broker that hangs, after the
    first wait, where that is longer.
    """
    # The waits double up to `cap` within five tries, and are jittered to 3/4 of that on average.
    cap = 0.5
    again = _AWAY if patience_seconds > SOCKET_OPTIONS["socket_timeout"] else _GONE
    retry = Retry(EqualJitterBackoff(base=cap / 32, cap=cap), round(patience_seconds / (cap * 0.75)) + 4, again)
    client: redis.Redis = redis.Redis.from_url(
        redis_url, decode_responses=True, retry=retry, retry_on_error=list(again), **SOCKET_OPTIONS
    )
    return client


def celery_url(redis_url: str) -> str:
    """The address in Celery's spelling: `unix:///path?db=1` is `redis+socket:///path?virtual_host=1` there."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    query = dict(parse_qsl(parts.query))
    return f"redis+socket://{parts.netloc}{parts.path}?{urlencode({'virtual_host': query.get('db', '0')})}"
