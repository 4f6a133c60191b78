"""The embedded Argilla: `python annotation/server --home FOLDER --socket FD …`, in an environment of its own.

Started by annotation/embedded.py, which binds the addresses, hands the sockets over, and keeps our standard input
open for as long as it lives: at its end we stop too, so that no server outlives the command that started it. Run as a
folder, not with -m: nothing of kormed's own environment may come onto the path, its pydantic is another one.

The home holds argilla.db, credentials.json (read: the owner), secret_key and tmp/ (made here, emptied at each start).
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

# Of what TLS 1.2 offers only what has forward secrecy and authenticated encryption; TLS 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="Of loopback, without TLS.")
    parser.add_argument("--shared-socket", type=int, help="Of every address, with TLS.")
    parser.add_argument("--certificate", type=Path, help="With --shared-socket, as is --key.")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--origins", nargs="+", required=True, help="Our own, as browsers see them.")
    parser.add_argument("--ready", type=int, required=True, help="A pipe that gets a byte once we answer.")
    arguments = parser.parse_args()
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT):  # until we serve
        signal.signal(number, lambda *_: sys.exit(0))
    threading.Thread(target=_stop_with_starter, daemon=True).start()
    home = arguments.home.resolve()
    _set_environment(home, arguments.origins)
    os.chdir(home)  # argilla_server looks for .oauth.yaml, and alembic for modules, in the working directory
    asyncio.run(_serve(home, arguments))


def _stop_with_starter() -> None:
    os.read(0, 1)  # nothing is ever written; not through sys.stdin, whose lock would be missed at the end
    while True:  # once is enough while we serve; in the middle of an import somebody may swallow the exit
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)


def _set_environment(home: Path, origins: list[str]) -> None:
    """What argilla_server and the libraries under it read while they are imported."""
    temporary = home / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # each start leaves a copy of the page there, 14 MB
    temporary.mkdir()
    os.environ.update(
        ARGILLA_HOME_PATH=str(home),
        ARGILLA_AUTH_SECRET_KEY=_secret_key(home / "secret_key"),
        ARGILLA_CORS_ORIGINS=json.dumps(origins),
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


async def _serve(home: Path, arguments: argparse.Namespace) -> None:
    gc.disable()  # what is imported stays: looking for garbage among it took a fifth of the start
    import app  # takes seconds: imports argilla_server
    import disk
    import uvicorn
    from argilla_server.database import async_engine

    app.migrate(home / "argilla.db")
    await disk.mend_statuses()
    await app.ensure_owner(home / "credentials.json")
    made = app.create_app(arguments.origins)
    gc.freeze()
    gc.enable()
    common: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 5,
        "timeout_keep_alive": 30,
    }
    servers = [(uvicorn.Server(uvicorn.Config(made, **common)), arguments.socket)]
    if arguments.shared_socket is not None:
        tls = {"ssl_certfile": arguments.certificate, "ssl_keyfile": arguments.key, "ssl_ciphers": CIPHERS}
        # The application's own start and end belong to the first server.
        shared = uvicorn.Server(uvicorn.Config(made, lifespan="off", **tls, **common))
        servers.append((shared, arguments.shared_socket))
    try:
        await _run(servers, arguments.ready)
    finally:
        await async_engine.dispose()  # the last connection to close writes the WAL back into the database


async def _run(servers: list[tuple[Any, int]], ready: int) -> None:
    """Serve on these sockets until a signal comes; one server that cannot start ends the others."""

    def stop(*_: object) -> None:
        for server, _number in servers:
            server.should_exit = True

    tasks = []
    for server, number in servers:
        server.capture_signals = contextlib.nullcontext  # each would take them away from the others
        tasks.append(asyncio.create_task(server.serve(sockets=[socket.socket(fileno=number)])))
        tasks[-1].add_done_callback(stop)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop)
    while not all(server.started for server, _ in servers) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.02)
    if all(server.started for server, _ in servers):
        os.write(ready, b"1")
    os.close(ready)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    main()
