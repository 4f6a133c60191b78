"""Argilla's REST API where the SDK does not fit: as somebody else, or before there is a client. Only the stdlib."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from stages.core.errors import KormedError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Refused(KormedError):
    """The server answered, and said no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """One user's way into one server."""

    url: str
    key: str = field(repr=False)
    seconds: float = 60

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: object) -> Any:
        return self.call("POST", path, body)

    def patch(self, path: str, body: object) -> Any:
        return self.call("PATCH", path, body)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The parsed answer.

        Raises:
            Refused: the server answered with an error status.
            KormedError: the server does not answer.
        """
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Argilla-Api-Key": self.key, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with _opener(self.url).open(request, timeout=self.seconds) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{self.url}: {method} {path}: {_detail(error)}", error.code) from None
        except OSError as error:  # urllib's URLError is one; so are timeouts and reset connections
            raise KormedError(f"{self.url}: no answer ({getattr(error, 'reason', error)}); is the server up?") from None
        return json.loads(content) if content else None


def _opener(url: str) -> urllib.request.OpenerDirector:
    if urllib.parse.urlsplit(url).hostname in LOOPBACK:  # a proxy from the environment cannot reach our loopback
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _detail(error: urllib.error.HTTPError) -> str:
    content = error.read().decode("utf-8", "replace")
    try:
        detail = json.loads(content)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = content[:200]
    return f"{error.code} {detail}"
