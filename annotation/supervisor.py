"""One server process that is kept going: started again when it ends by itself, until it is stopped or given up.

Its sockets and its home's lock stay open here, and each new process gets the same ones. So requests that come while
it is started again wait in the socket's queue instead of being refused, and nobody takes the port or the home in
between. The process keeps them too, and our end of its standard input: should we be killed, it stops by itself and
the home is free when it is done.
"""

import json
import logging
import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from annotation.people import private, write_private
from stages.core.errors import KormedError

log = logging.getLogger("kormed")

READY_SECONDS = 90  # 3 to 4 s measured on 2 cores; a cold disk or a busy machine may need more
STOP_SECONDS = 15
TRIES = 5  # ends in a row without having answered in between, after which it is given up
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")  # of our environment; no secrets


class Supervisor:
    """Keeps `command` going, which also gets `--ready FD` and writes a byte there once it answers at `url`.

    What it says goes to server.log in the home, and server.json there tells others where it runs. Sockets and lock are
    ours from now on.
    """

    def __init__(
        self, command: Sequence[str | Path], url: str, home: Path, sockets: Sequence[socket.socket], lock: IO[bytes]
    ) -> None:
        self.restarts = 0
        self._command, self._url, self._home, self._sockets, self._lock = command, url, home, sockets, lock
        self._log = home / "server.log"
        self._mutex = threading.Lock()  # whoever holds it starts a process or decides that none is started any more
        self._stopping = threading.Event()
        self._failure: KormedError | None = None
        self._process, self._ready = self._launch()
        self._thread = threading.Thread(target=self._keep_going, name="argilla-supervisor", daemon=True)

    @property
    def pid(self) -> int:
        """Of the current process; during a restart of the one that ended."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """It serves, or is being started again."""
        return self._thread.is_alive() and not self._stopping.is_set()

    def start(self) -> None:
        """Wait until it answers, and from then on keep it going.

        Raises:
            KormedError: it ended or did not answer in time, and was stopped; shows the end of its log.
        """
        try:
            self._tell_where()
            if not self._answers():
                raise KormedError(f"the Argilla server did not start. {self._log_end()}")
        except BaseException:
            self.stop()
            raise
        self._thread.start()

    def wait(self) -> None:
        """Until it is stopped by another thread.

        Raises:
            KormedError: it ended again and again and was given up; shows the end of its log.
        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the process, by its id, and let go of sockets and home. Doing it twice is no harm."""
        with self._mutex:
            self._stopping.set()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()  # what it acknowledged is on the disk already
            self._process.wait()
        if self._thread.ident is not None:
            self._thread.join()
        self._let_go()

    def _keep_going(self) -> None:
        failed = 0
        while failed < TRIES:
            code = self._process.wait()
            if self._stopping.wait(timeout=failed):  # seconds; what hinders it may pass, a full disk for one
                return
            log.warning(
                "the Argilla server ended by itself (%s); starting it again, its log is %s", _how(code), self._log
            )
            failed = 0 if self._restart() else failed + 1
        with self._mutex:
            if self._stopping.is_set():
                return
            self._stopping.set()
        self._failure = KormedError(
            f"the Argilla server at {self._url} ended {TRIES} times in a row before it answered, and was given up; "
            f"every answer that it acknowledged is in {self._home}. {self._log_end()}"
        )
        self._process.wait()
        self._let_go()

    def _restart(self) -> bool:
        """Whether it answers now."""
        with self._mutex:
            if self._stopping.is_set():
                return False
            try:
                launched = self._launch()
            except OSError as error:  # no memory for a process, for one
                log.warning("the Argilla server could not be started again: %s", error)
                return False
            _close_input(self._process)
            self._process, self._ready = launched
            self.restarts += 1
            try:
                self._tell_where()
            except KormedError as error:  # the disk is full; others find it all the same, by our own process
                log.warning("%s", error)
        return self._answers()

    def _launch(self) -> tuple["subprocess.Popen[bytes]", IO[bytes]]:
        reading, writing = os.pipe()
        ready = os.fdopen(reading, "rb", buffering=0)
        handed_over = (*(one.fileno() for one in self._sockets), self._lock.fileno(), writing)
        try:
            with open(self._log, "ab", opener=private) as server_log:
                self._log_start = server_log.tell()
                process = subprocess.Popen(
                    [*self._command, "--ready", str(writing)],
                    stdin=subprocess.PIPE,  # it stops when this closes, even if we are killed
                    stdout=server_log,
                    stderr=subprocess.STDOUT,
                    pass_fds=handed_over,
                    start_new_session=True,  # Ctrl-C is for us; we then stop it in order
                    env={name: value for name, value in os.environ.items() if name in PASSED_ON},
                )
        except BaseException:
            ready.close()
            raise
        finally:
            os.close(writing)
        return process, ready

    def _answers(self) -> bool:
        """Once it says so; False when it ended first. One that takes too long is ended."""
        with selectors.DefaultSelector() as selector, self._ready:
            selector.register(self._ready, selectors.EVENT_READ)
            if not selector.select(READY_SECONDS):
                log.warning(
                    "the Argilla server did not answer within %d s and is ended; its log is %s",
                    READY_SECONDS,
                    self._log,
                )
            elif self._ready.read(1):
                return True
        self._process.kill()  # no harm where it ended
        return False

    def _tell_where(self) -> None:
        state = {"url": self._url, "supervisor": os.getpid(), "pid": self._process.pid}
        write_private(self._home / "server.json", json.dumps(state))

    def _let_go(self) -> None:
        if not self._lock.closed:
            (self._home / "server.json").unlink(missing_ok=True)  # with the lock, or it might be a successor's
        for one in self._sockets:
            one.close()
        _close_input(self._process)
        self._lock.close()

    def _log_end(self) -> str:
        lines = []
        if self._log.exists():
            lines = self._log.read_bytes()[self._log_start :].decode("utf-8", "replace").splitlines()
        return "\n".join([f"The end of {self._log}:", *lines[-12:]]) if lines else f"{self._log} says nothing."


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _close_input(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
