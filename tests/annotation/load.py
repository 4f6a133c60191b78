"""People at the labelling page, simulated for the benchmark and the crash test: they ask the server what the page asks.

Read from the page's own JavaScript (argilla-server 2.8.0, static/_nuxt; one record at a time):
    sign in   POST /token with the password, then GET /me
    open      GET /me/datasets; the dataset, its questions, fields and metadata properties
    queue     POST /me/datasets/…/records/search, ten records, and ten more in the background with five or fewer ahead
    submit    POST /records/…/responses for a new answer
    change    PUT /responses/… for an answer that is there already
    metrics   GET /me/datasets/…/metrics   } both at once after each answer
    progress  GET /datasets/…/progress     }
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import httpx

from annotation.dataset import COMMENT, PREFERENCE
from annotation.people import Credential
from stages.core.records import Choice

CHOICES: tuple[Choice, ...] = get_args(Choice)
COMMENTS = ("", "", "", "응급 신호를 먼저 말한 쪽을 골랐습니다.", "둘 다 진료를 권했으나 설명의 정확함이 다릅니다.")
PAGE = 10  # records a request
AHEAD = PAGE // 2  # with so many left the page asks for more
AGAIN_SECONDS = 0.2  # until somebody tries again where the server was away


@dataclass
class Sent:
    """An answer on its way. Acknowledged: the server said that it has it."""

    record_id: str
    value: Choice
    acknowledged: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that was answered, and how long that took."""

    kind: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A request that was not answered (`status` None), or with an error."""

    kind: str
    status: int | None
    reason: str


@dataclass
class Person:
    """One annotator in a browser.

    Attributes:
        pause: seconds between two answers, half of it to one and a half by chance.
        changes: share of answers after which an earlier one is changed.
        insists: an answer that was not acknowledged is sent again until it is, as annotation/simulated.py would;
            otherwise the person goes on with the next record, as the page does.
        sent: every answer in the order in which it went out.
    """

    url: str
    credential: Credential
    dataset: str
    pause: float
    rng: random.Random
    changes: float = 0.0
    insists: bool = False
    sent: list[Sent] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    token: str = ""

    def __post_init__(self) -> None:
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=60, trust_env=False)
        self._queue: list[str] = []
        self._response_ids: dict[str, str] = {}
        self._dataset_id = ""

    def sign_in(self) -> bool:
        """With the password; whether the server let us in."""
        self.token = ""
        form = {"username": self.credential.username, "password": self.credential.password}
        answer = self._ask("sign in", "POST", "/token", data=form)
        if answer is None:
            return False
        self.token = answer["access_token"]
        return self.is_signed_in()

    def is_signed_in(self) -> bool:
        me = self._ask("me", "GET", "/me")
        return me is not None and me["username"] == self.credential.username

    def open(self) -> None:
        """The dataset's page, up to the first records."""
        datasets = self._ask("open", "GET", "/me/datasets")
        assert datasets is not None, self.failed[-1]
        self._dataset_id = next(one["id"] for one in datasets["items"] if one["name"] == self.dataset)
        for path in ("", "/questions", "/fields"):
            self._ask("open", "GET", f"/datasets/{self._dataset_id}{path}")
        self._ask("open", "GET", f"/me/datasets/{self._dataset_id}/metadata-properties")
        self._fetch_queue()

    def work(self, stop: threading.Event) -> None:
        """Answer what is pending until told to stop."""
        stop.wait(self.rng.uniform(0, self.pause))  # people do not begin at the same moment
        with ThreadPoolExecutor(3) as browser:
            while not stop.is_set():
                if not self._queue:
                    self._fetch_queue()
                if self._queue:
                    self._say(self._queue.pop(0), stop)
                    self._look(browser)
                if self._response_ids and self.rng.random() < self.changes:
                    self._say(self.rng.choice(list(self._response_ids)), stop)
                    self._look(browser)
                if not self._queue:
                    stop.wait(AGAIN_SECONDS)
                stop.wait(self.pause * self.rng.uniform(0.5, 1.5))

    def _say(self, record_id: str, stop: threading.Event) -> None:
        """An answer to a record, or another one where there is one."""
        value = self.rng.choice(CHOICES)
        values = {PREFERENCE: {"value": value}, COMMENT: {"value": self.rng.choice(COMMENTS)}}
        body = {"status": "submitted", "values": values}
        sent = Sent(record_id, value)
        self.sent.append(sent)
        if record_id in self._response_ids:
            done = self._ask("change", "PUT", f"/responses/{self._response_ids[record_id]}", json=body)
        else:
            done = self._ask("submit", "POST", f"/records/{record_id}/responses", json=body)
        while done is None and self.insists and not stop.wait(AGAIN_SECONDS):
            items = [{"record_id": record_id, **body}]
            bulk = self._ask("submit again", "POST", "/me/responses/bulk", json={"items": items})
            if bulk is not None and bulk["items"][0]["error"]:
                self.failed.append(Failed("submit again", 200, bulk["items"][0]["error"]["detail"]))
            elif bulk is not None:
                done = bulk["items"][0]["item"]
        if done is not None:
            assert done["values"] == values and done["status"] == "submitted"
            self._response_ids[record_id] = done["id"]
            sent.acknowledged = True

    def _look(self, browser: ThreadPoolExecutor) -> None:
        asks = [
            browser.submit(self._ask, "metrics", "GET", f"/me/datasets/{self._dataset_id}/metrics"),
            browser.submit(self._ask, "progress", "GET", f"/datasets/{self._dataset_id}/progress"),
        ]
        if len(self._queue) <= AHEAD:
            asks.append(browser.submit(self._fetch_queue))
        for ask in asks:
            ask.result()

    def _fetch_queue(self) -> None:
        wanted = [
            {"type": "terms", "scope": {"entity": entity, "property": "status"}, "values": ["pending"]}
            for entity in ("response", "record")
        ]
        found = self._ask(
            "queue",
            "POST",
            f"/me/datasets/{self._dataset_id}/records/search",
            params={"include": ["responses", "suggestions"], "offset": len(self._queue), "limit": PAGE},
            json={"query": {}, "filters": {"and": wanted}},
        )
        ids = [item["record"]["id"] for item in found["items"]] if found is not None else []
        self._queue += [one for one in ids if one not in self._queue and one not in self._response_ids]

    def _ask(self, kind: str, method: str, path: str, **content: Any) -> Any:
        """The parsed answer; None, and noted, where there was none or an error."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        begun = time.perf_counter()
        try:
            answer = self._client.request(method, path, headers=headers, **content)
        except httpx.TransportError as error:
            self.failed.append(Failed(kind, None, type(error).__name__))
            return None
        self.asked.append(Asked(kind, time.perf_counter() - begun))
        if answer.is_error:
            self.failed.append(Failed(kind, answer.status_code, answer.text[:300]))
            return None
        return answer.json()


@contextmanager
def at_work(people: Sequence[Person]) -> Iterator[None]:
    """Everybody signs in and opens the dataset, one after the other, and then works while the block runs."""
    for person in people:
        assert person.sign_in(), person.failed
        person.open()
    with working(people):
        yield


@contextmanager
def working(people: Sequence[Person]) -> Iterator[None]:
    """Everybody works while the block runs; at its end what is under way comes to an end."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(people)) as desks:
        at = [desks.submit(person.work, stop) for person in people]
        try:
            yield
        finally:
            stop.set()
    for one in at:
        one.result()


def may_hold(people: Sequence[Person]) -> dict[tuple[str, str], list[Choice | None]]:
    """What the server may have now, by record and username: the last acknowledged answer, or one sent after it.

    None stands for no response at all, where none was ever acknowledged.
    """
    allowed: dict[tuple[str, str], list[Choice | None]] = {}
    for person in people:
        for sent in list(person.sent):
            key = (sent.record_id, person.credential.username)
            if sent.acknowledged:
                allowed[key] = [sent.value]
            else:
                allowed.setdefault(key, [None]).append(sent.value)
    return allowed
