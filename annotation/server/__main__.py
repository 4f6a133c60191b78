"""The embedded Argilla: `python annotation/server --home FOLDER --socket FD`, in an environment of its own.

Started by annotation/embedded.py, which binds the address, hands the socket over, and keeps our standard input open
for as long as it lives: at its end we stop too, so that no server outlives the command that started it. Run as a
folder, not with -m: nothing of kormed's own environment may come onto the path, its pydantic is another one.

The home holds argilla.db, credentials.json (read: the owner), secret_key and tmp/ (made here, emptied at each start).
"""

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True)
    arguments = parser.parse_args()
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn stops in order and then raises the signal once more
        signal.signal(number, lambda *_: sys.exit(0))
    home = arguments.home.resolve()
    listener = socket.socket(fileno=arguments.socket)
    _set_environment(home, port=listener.getsockname()[1])
    os.chdir(home)  # argilla_server looks for .oauth.yaml, and alembic for modules, in the working directory
    asyncio.run(_serve(home, listener))


def _set_environment(home: Path, port: int) -> None:
    """What argilla_server and the libraries under it read while they are imported."""
    temporary = home / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # each start leaves a copy of the page there, 14 MB
    temporary.mkdir()
    os.environ.update(
        ARGILLA_HOME_PATH=str(home),
        ARGILLA_AUTH_SECRET_KEY=_secret_key(home / "secret_key"),
        ARGILLA_CORS_ORIGINS=f'["http://127.0.0.1:{port}", "http://localhost:{port}"]',
        ARGILLA_SEARCH_ENGINE="tables",
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HOME=str(temporary),
        TMPDIR=str(temporary),
    )


def _secret_key(path: Path) -> str:
    """Signs the log-ins. Argilla's default is a new one in each process, which would end them at every restart."""
    if not path.exists() or not path.read_text(encoding="ascii"):
        path.write_text(secrets.token_hex(32), encoding="ascii")
    return path.read_text(encoding="ascii")


async def _serve(home: Path, listener: socket.socket) -> None:
    import app  # takes seconds: imports argilla_server
    import uvicorn
    from argilla_server.database import async_engine

    app.migrate()
    await app.ensure_owner(home / "credentials.json")
    config = uvicorn.Config(
        app.create_app(),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_stop_with_starter, args=(server,), daemon=True).start()
    try:
        await server.serve(sockets=[listener])
    finally:
        await async_engine.dispose()  # the last connection to close writes the WAL back into the database


def _stop_with_starter(server: object) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
