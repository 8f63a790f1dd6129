"""How the peers are served: by uvicorn, without what viva goes without, too."""

import os
from typing import Any

import uvicorn


def serve(app: Any) -> None:
    """Serve an ASGI application on the port that `PORT` names, until the process is ended."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        log_level="warning",
        ws_per_message_deflate=False,  # as viva: it costs tens of KB a socket
    )
