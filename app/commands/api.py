"""`inpaint api`: the API and the page alone; broker and workers run elsewhere.

Under the supervisor, `python -m app.commands.api FD` serves on a socket that is
open already: the supervisor keeps it, so callers wait in its backlog while this
process is started again, and are not refused.
"""

import socket
import sys

import uvicorn

from app.exposure import ExposureError, check_exposure
from app.main import create_app
from app.server import KEPT_SECONDS, Server
from app.settings import ApiSettings
from app.supervisor import TakenError, listen
from worker.logs import configure_logs
from worker.settings import SettingsError, WorkerSettings

_FINISH_SECONDS = 10


def api() -> int:
    """Serve at HOST and PORT until SIGTERM; the exit status: 1, after a sentence, when it may not or cannot."""
    try:
        settings, _ = ApiSettings.read(), WorkerSettings.read()
        check_exposure(settings)
        with listen(settings.host, settings.port) as listener:
            serve_on(listener, settings)
    except (SettingsError, ExposureError, TakenError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve_on(listener: socket.socket, settings: ApiSettings) -> None:
    """Serve until SIGTERM; who waits for a result is told where it will be, uploads have ten seconds to end."""
    configure_logs("api")
    config = uvicorn.Config(
        create_app(settings),
        root_path=settings.root_path,
        log_config=None,  # as all else logs
        access_log=False,  # app/observation.py tells more
        timeout_keep_alive=KEPT_SECONDS,
        timeout_graceful_shutdown=_FINISH_SECONDS,
        server_header=False,
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    serve_on(socket.socket(fileno=int(sys.argv[1])), ApiSettings())
