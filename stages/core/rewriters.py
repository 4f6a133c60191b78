"""Who rewrites: an OpenAI-compatible server, or a model on this machine (`local_rewriter`, which needs torch).

Both are one function of the same form (`Rewrites`). It asks until every consult that is not `done` is finished, and
hands each to `keep` as soon as it is: what was kept is never asked again.
"""

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion

from stages.core.errors import KormedError
from stages.core.recipe import Rewriter
from stages.core.rewriting import SCHEMA, Pending, Reply, Rewrite, ask, hear

log = logging.getLogger("kormed")

Keep = Callable[[Rewrite], None]
Rewrites = Callable[[Rewriter, int, str, Sequence[Pending], Collection[str], Keep], None]

RETRIES = 4  # of a request that never got an answer; the client waits 0.5 s, then twice as long, or as the server says
# What servers say of a single request that they will not take: too long for the model, or against their policy.
OWN_FAULT = re.compile(r"context|too long|too large|content.?(?:filter|management)|token limit", re.IGNORECASE)
CUT_OFF = "cut off by the token limit (restructure.rewriter.max_new_tokens)"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def seed_of(seed: int, pending: Pending) -> int:
    """A seed of its own for every consult and try, so that a run that goes on draws as one that never stopped."""
    digest = hashlib.sha256(f"{seed}/{pending.id}/{pending.tried}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # servers want a signed 32-bit number


def temperature_of(config: Rewriter, pending: Pending) -> float:
    return config.retry_temperature if pending.tried else config.temperature


def server_address() -> str:
    """Where OPENAI_BASE_URL points to, without a password, as messages and logs have it.

    Raises:
        KormedError: it is not set, or no address of a server.
    """
    base_url = os.environ.get("OPENAI_BASE_URL", "").strip()
    if not base_url:
        raise KormedError(
            "restructure.rewriter.kind is server, and OPENAI_BASE_URL is not set; without it the client would send "
            "patients' texts to a company's server. Set it to yours, for example http://127.0.0.1:8000/v1, and "
            "OPENAI_API_KEY if it wants a key"
        )
    parts = urlsplit(base_url)
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KormedError(f"OPENAI_BASE_URL: http(s)://host:port/v1 was wanted, found {place!r}")
    return place


def rewrite_on_server(
    config: Rewriter, seed: int, prompt: str, consults: Sequence[Pending], done: Collection[str], keep: Keep
) -> None:
    """Up to `in_flight` requests at once to the server at OPENAI_BASE_URL.

    Raises:
        KormedError: no server is named, it does not answer after retries, or it refuses the key, the model or the form
            of the request. Consults that were finished before stay finished.
    """
    waiting = iter([consult for consult in consults if consult.id not in done])
    try:
        asyncio.run(_serve(config, seed, prompt, waiting, keep))
    except ExceptionGroup as group:  # the first failure stops the other requests
        raise group.exceptions[0] from None


async def _serve(config: Rewriter, seed: int, prompt: str, waiting: Iterator[Pending], keep: Keep) -> None:
    async with Server(config, seed, prompt) as server, asyncio.TaskGroup() as group:
        for _ in range(config.in_flight):
            group.create_task(_work(server, waiting, config.tries, keep))


async def _work(server: "Server", waiting: Iterator[Pending], tries: int, keep: Keep) -> None:
    for consult in waiting:
        state: Pending | Rewrite = consult
        while isinstance(state, Pending):
            state = hear(state, await server.answer(state), tries)
        keep(state)


class Server:
    """A server's address, and whether it takes the JSON schema along with the question."""

    def __init__(self, config: Rewriter, seed: int, prompt: str) -> None:
        self.config, self.seed, self.prompt = config, seed, prompt
        place = server_address()
        away = "" if urlsplit(place).hostname in LOOPBACK else "; the masked texts leave this machine"
        log.info("restructure: %s on %s rewrites%s", config.model, place, away)
        self.place = f"{place} (OPENAI_BASE_URL)"
        self.takes_schema = True
        self.client = openai.AsyncOpenAI(
            base_url=os.environ["OPENAI_BASE_URL"].strip(),
            api_key=os.environ.get("OPENAI_API_KEY") or "none",  # the client insists on one
            timeout=config.timeout_seconds,
            max_retries=RETRIES,
            # a redirect would carry patients' texts to a host that nobody named
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def answer(self, pending: Pending) -> Reply:
        """The server's reply to one try of one consult.

        Raises:
            KormedError: there is none to be had.
        """
        for _ in range(RETRIES + 1):
            try:
                return read_completion(await self._request(pending))
            except ValueError as error:  # HTTP 200 and no completion in it; the client does not retry that
                unread = error
            except openai.APIError as error:
                return self._understand(error)
            await asyncio.sleep(0.5)
        raise KormedError(f"{self.place}: its answers are no chat completions ({unread}); is it OpenAI-compatible?")

    async def _request(self, pending: Pending) -> object:
        """One request with the JSON schema, and without it where the server refuses it."""
        if not self.takes_schema:
            return await self._post(pending, openai.omit)
        try:
            schema = {"name": "restructured_consult", "schema": SCHEMA, "strict": True}
            return await self._post(pending, {"type": "json_schema", "json_schema": schema})
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            completion = await self._post(pending, openai.omit)  # raises what else is wrong
            if self.takes_schema:
                self.takes_schema = False
                log.info("restructure: the server takes no JSON schema (%s); asked without one", told(error))
            return completion

    async def _post(self, pending: Pending, response_format: Any) -> object:
        return await self.client.chat.completions.create(
            model=self.config.model,
            messages=[{"role": "user", "content": ask(pending, self.prompt).content}],
            max_tokens=self.config.max_new_tokens,
            temperature=temperature_of(self.config, pending),
            seed=seed_of(self.seed, pending),
            response_format=response_format,
        )

    def _understand(self, error: openai.APIError) -> Reply:
        """A reply where only this request is at fault; otherwise what to put right, raised."""
        kept = "what was finished is kept; the same command goes on"
        match error:
            case openai.APITimeoutError():
                why = f"no answer within {self.config.timeout_seconds:g} s (restructure.rewriter.timeout_seconds)"
                raise KormedError(f"{self.place}: {why}, {RETRIES + 1} times in a row; {kept}") from None
            case openai.APIConnectionError():
                why = str(error.__cause__ or error)
                raise KormedError(
                    f"{self.place}: no connection, or it was cut ({why}); is the server running? {kept}"
                ) from None
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                raise KormedError(f"{self.place}: refuses the key (OPENAI_API_KEY): {told(error)}; {kept}") from None
            case openai.NotFoundError():
                raise KormedError(
                    f"{self.place}: no model {self.config.model!r} (restructure.rewriter.model), or no chat "
                    f"completions there (the address mostly ends in /v1): {told(error)}; {kept}"
                ) from None
            case openai.BadRequestError() | openai.UnprocessableEntityError() if OWN_FAULT.search(told(error)):
                return Reply("", problem=f"the server refuses this consult: {told(error)}")
        raise KormedError(f"{self.place}: {told(error)}; {kept}") from None


def told(error: openai.APIError) -> str:
    """The status and what the server said, on one line."""
    return " ".join(str(error).split())[:300]


def read_completion(completion: object) -> Reply:
    """What the model said, and why it is no whole answer, where it is none.

    Raises:
        ValueError: not a chat completion; the client lets any JSON and any text through.
    """
    if not isinstance(completion, ChatCompletion) or not completion.choices:
        raise ValueError(f"found {str(completion)[:100]!r}")
    choice = completion.choices[0]
    message = getattr(choice, "message", None)
    content = getattr(message, "content", None)
    if message is None or not isinstance(content, str | None):
        raise ValueError(f"found {str(choice)[:100]!r}")
    if refusal := getattr(message, "refusal", None):
        return Reply(content or "", problem=f"the model refuses: {refusal}")
    match choice.finish_reason:
        case "length":
            return Reply(content or "", problem=CUT_OFF)
        case "content_filter":
            return Reply(content or "", problem="the server's content filter stopped it")
    return Reply(content or "")
