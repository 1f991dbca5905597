"""The API process under the supervisor: `python -m app.commands.api FD` serves on a socket that is open already.

The supervisor keeps the socket, so callers wait in its backlog while this
process is started again, and are not refused.
"""

import os
import socket
import sys

import uvicorn

from app.main import create_app
from app.settings import ApiSettings

_FINISH_SECONDS = 10


def api(listener: socket.socket) -> None:
    """Serve until SIGTERM; requests under way have ten seconds to end."""
    settings = ApiSettings()
    config = uvicorn.Config(
        create_app(settings),
        root_path=settings.root_path,
        log_level=os.environ.get("LOG_LEVEL", "warning").lower(),
        timeout_graceful_shutdown=_FINISH_SECONDS,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    api(socket.socket(fileno=int(sys.argv[1])))
