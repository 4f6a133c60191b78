"""Fetching as a guest: one request at a time, as robots.txt allows, and every page kept as it came.

The store outlives runs and is shared by them: `index.jsonl` has a line for each page asked for and what it answered,
`pages/` the bodies, compressed and named by their SHA-256. Both only grow. Patients' texts stand in them unmasked, so
that none but the crawl's user may read them.
"""

import gzip
import hashlib
import logging
import math
import os
import random
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path

import httpx
from protego import Protego

from stages.core.errors import KormedError
from stages.core.recipe import Collect
from stages.core.records import Record, append_jsonl, read_appended

log = logging.getLogger("kormed")

PRODUCT = "kormed"  # the name that robots.txt knows us by
MAX_WAIT_SECONDS = 600  # a server that wants us away for longer is not slept through: the crawl stops
MAX_BYTES = 20_000_000  # of one page
MAX_REDIRECTS = 5  # as many as RFC 9309 (2.3.1.2) wants followed for robots.txt
REDIRECTS = (301, 302, 303, 307, 308)
INDEX = "index.jsonl"
OWN_FOLDER, OWN_FILE = 0o700, 0o600  # for their owner alone
DISALLOWED = "robots.txt disallows it"
FORBIDDEN = (401, 403, 429)  # answers to robots.txt that are taken for a no; RFC 9309 would let us go on


class Visit(Record):
    """One page asked for, and what it answered. With `file` there is a body; without, `problem` says why not."""

    url: str
    status: int | None  # None: no answer, or not a whole one
    fetched_at: str
    sitting: str  # the process that asked, by its start
    requests: int = 0  # how many it took, retries and redirects included
    waited_seconds: float = 0.0  # before them
    location: str | None = None  # where redirects led
    etag: str | None = None
    last_modified: str | None = None
    content_type: str = ""
    sha256: str | None = None
    file: str | None = None
    problem: str | None = None

    @property
    def refused(self) -> bool:
        """The page may be had another time: 403, 429, a server's error, or no whole answer."""
        return self.file is None and self.requests > 0 and turned_away(self.status)


def turned_away(status: int | None) -> bool:
    return status is None or status in (403, 429) or status >= 500


class Store:
    """Pages as they came. Its user holds the folder's lock (artifacts.lock), so there is one writer."""

    def __init__(self, folder: Path, read: Callable[[Path, type[Visit]], list[Visit]] = read_appended) -> None:
        """`read` brings the index: `read_whole_lines` where somebody else may be writing, and nothing is added here."""
        self.folder = folder
        self._visits: dict[str, list[Visit]] = defaultdict(list)
        for visit in read(folder / INDEX, Visit):
            self._visits[visit.url].append(visit)

    def asked(self, url: str, sittings: Collection[str]) -> Visit | None:
        """The newest visit that one of these sittings paid the page, unless its body has gone since."""
        visit = next((visit for visit in reversed(self._visits[url]) if visit.sitting in sittings), None)
        return visit if visit and self._whole(visit) else None

    def answered(self, url: str) -> Visit | None:
        """The newest visit that was not refused, unless its body has gone since."""
        visit = next((visit for visit in reversed(self._visits[url]) if not visit.refused), None)
        return visit if visit and self._whole(visit) else None

    def kept(self, url: str) -> Visit | None:
        """The newest visit that brought a body, if that is still there and the page was not gone at a later visit."""
        visit = self.answered(url)
        return visit if visit and visit.file else None

    def _whole(self, visit: Visit) -> bool:
        return visit.file is None or (self.folder / visit.file).exists()

    def waited(self, sittings: Collection[str]) -> float:
        visits = (visit for visits in self._visits.values() for visit in visits if visit.sitting in sittings)
        return sum(visit.waited_seconds for visit in visits)

    def add(self, visit: Visit, body: bytes | None = None) -> Visit:
        """Write body, then index line, so that no line names a file that is not whole."""
        if body is not None:
            digest = hashlib.sha256(body).hexdigest()
            visit = visit.model_copy(update={"sha256": digest, "file": f"pages/{digest[:2]}/{digest}.gz"})
            _write_new(self.folder / f"pages/{digest[:2]}/{digest}.gz", gzip.compress(body, mtime=0))
        append_jsonl(self.folder / INDEX, [visit])
        self._visits[visit.url].append(visit)
        return visit

    def body(self, visit: Visit) -> bytes:
        """The page as it came.

        Raises:
            KormedError: the file is no longer what was written.
        """
        path = self.folder / (visit.file or "")
        try:
            body = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise KormedError(
                f"{path}: a page of {visit.url} was wanted, and it cannot be read ({error}); delete the file, and the "
                f"same command asks for the page again"
            ) from None
        if hashlib.sha256(body).hexdigest() != visit.sha256:
            raise KormedError(f"{path}: changed since it was written; delete the file, and the same command goes on")
        return body


def _write_new(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.touch(mode=OWN_FILE)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@dataclass(frozen=True)
class Reply:
    """What one request brought. `status` None: nothing whole, and `problem` says what went wrong."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes = b""
    problem: str | None = None


def user_agent(contact: str) -> str:
    return f"{PRODUCT}/{metadata.version('kormed')} (+{contact})"


class Fetcher:
    """Asks one site, page after page, with the waits, retries and refusals of the recipe.

    `sitting` names this process in the store's index.
    """

    def __init__(self, config: Collect, store: Store, client: httpx.Client, sitting: str) -> None:
        self.config = config
        self.store = store
        self.client = client
        self.sitting = sitting
        self.delay_seconds = config.delay_seconds
        self._jitter = random.Random(config.seed)
        self._earliest = -math.inf  # monotonic time before which the server wants no request
        self._ended: float | None = None  # monotonic time at which the last request ended
        self._waited = 0.0
        self._requests = 0
        self._refused_in_row = 0

    def allowed(self, url: str) -> bool:
        """Whether robots.txt, which is read when this is first asked, lets us fetch the page."""
        return self.robots.can_fetch(url, PRODUCT)

    def fetch(self, url: str, *, kept: Visit | None, follows: Callable[[str], bool]) -> Visit:
        """Ask for a page, or, with a `kept` copy, whether it has changed; the visit is in the store when this returns.

        Redirects are followed on the same site, where robots.txt allows and `follows` says that it is still the page.
        A page that robots.txt disallows is not asked for, and no visit of it is kept.

        Raises:
            KormedError: too many pages in a row were refused, the server asks for a wait beyond our bound, or
                robots.txt could not be read.
        """
        if not self.allowed(url):
            return Visit(url=url, status=None, fetched_at=now(), sitting=self.sitting, problem=DISALLOWED)
        self._waited, self._requests = 0.0, 0
        target, problem = url, None
        reply = self._ask(target, _conditions(kept))
        hops = 0
        while problem is None and reply.status in REDIRECTS and "location" in reply.headers:
            problem, target = self._redirect(target, reply.headers["location"], follows)
            hops += 1
            if problem is None and hops > MAX_REDIRECTS:
                problem = f"redirected away: {hops} times in a row"
            if problem is None:
                reply = self._ask(target, _conditions(kept))
        visit = Visit(
            url=url,
            status=reply.status,
            fetched_at=now(),
            sitting=self.sitting,
            requests=self._requests,
            waited_seconds=round(self._waited, 3),
            location=target if target != url else None,
            etag=reply.headers.get("etag"),
            last_modified=reply.headers.get("last-modified"),
            content_type=reply.headers.get("content-type", ""),
            problem=problem or reply.problem,
        )
        return self._keep(visit, reply, kept)

    def _keep(self, visit: Visit, reply: Reply, kept: Visit | None) -> Visit:
        if visit.problem is None and visit.status == 200:
            visit = self.store.add(visit, reply.body)
        elif visit.problem is None and visit.status == 304 and kept is not None:
            same = kept.model_dump(include={"content_type", "sha256", "file"})
            same |= {"etag": visit.etag or kept.etag, "last_modified": visit.last_modified or kept.last_modified}
            visit = self.store.add(visit.model_copy(update=same))
        else:
            visit = self.store.add(visit.model_copy(update={"problem": visit.problem or f"HTTP {visit.status}"}))
        away = visit.refused or visit.status in REDIRECTS  # a site that sends us to its log-in page refuses us as well
        self._refused_in_row = self._refused_in_row + 1 if away else 0
        if visit.refused:
            log.warning("collect: %s: %s after %d requests", visit.url, visit.problem, visit.requests)
        if self._refused_in_row >= self.config.max_refusals:
            raise KormedError(
                f"{self.config.site}: {self._refused_in_row} pages in a row were refused, the last with "
                f"{visit.problem} after {visit.requests} requests ({visit.url}). Stopped, so as not to be a burden; "
                f"what was fetched is in {self.store.folder}. Wait a while, then give the same command again: it goes "
                f"on where it was. A higher collect.delay_seconds may help, or, where the site keeps single pages to "
                f"itself, a higher collect.max_refusals"
            )
        return visit

    def _redirect(self, url: str, location: str, follows: Callable[[str], bool]) -> tuple[str | None, str]:
        """What speaks against following (None: nothing), and where the redirect leads."""
        target = _join(url, location)
        if target is None:
            return f"redirected away: to {location[:200]!r}, which is no address", url
        if not same_site(target, self.config.site):
            return f"redirected away: off the site, to {target}", target
        if not follows(target):
            return f"redirected away: to {target}", target
        if not self.allowed(target):
            return f"{DISALLOWED}: {target}, where it was redirected", target
        return None, target

    def _ask(self, url: str, conditions: Mapping[str, str]) -> Reply:
        """One page, asked for again after 429, a server's error, a timeout or a cut connection."""
        reply = self._request(url, conditions)
        for attempt in range(self.config.retries):
            if reply.status is not None and reply.status != 429 and reply.status < 500:
                break
            wait = self.config.retry_seconds * 2**attempt
            self._earliest = max(self._earliest, time.monotonic() + min(wait, MAX_WAIT_SECONDS))
            log.info("collect: %s: %s; asking again", url, reply.problem or f"HTTP {reply.status}")
            reply = self._request(url, conditions)
        return reply

    def _request(self, url: str, conditions: Mapping[str, str]) -> Reply:
        self._pause()
        self._requests += 1
        try:
            reply = self._receive(url, conditions)
        except (httpx.TransportError, httpx.DecodingError) as error:
            reply = Reply(None, {}, problem=f"no whole answer ({type(error).__name__}: {error})")
        except httpx.InvalidURL:  # httpx looks at Location before we can
            reply = Reply(302, {}, problem="redirected away: to something that is no address")
        self._ended = time.monotonic()
        if reply.status in (429, 503):
            self._heed(url, reply)
        return reply

    def _receive(self, url: str, conditions: Mapping[str, str]) -> Reply:
        deadline = time.monotonic() + self.config.timeout_seconds
        with self.client.stream("GET", url, headers=conditions) as response:
            if response.status_code != 200:
                return Reply(response.status_code, response.headers)
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    return Reply(200, response.headers, problem=f"too large: more than {MAX_BYTES:,} bytes")
                if time.monotonic() > deadline:  # a server that drips never runs into httpx's own timeout
                    raise httpx.ReadTimeout(f"not there after {self.config.timeout_seconds:g} s")
            lengthless = not {"content-length", "transfer-encoding"} & response.headers.keys()
            if lengthless and b"<html" in body.lower() and b"</html" not in body.lower():
                raise httpx.RemoteProtocolError("the page ends before </html>")  # nothing else would show the cut
            return Reply(200, response.headers, bytes(body))

    def _pause(self) -> None:
        """Wait as long as recipe, robots.txt and server want between two requests."""
        if self._ended is None:
            return
        jitter = self._jitter.uniform(0, self.config.jitter_seconds)
        seconds = max(self._ended + self.delay_seconds + jitter, self._earliest) - time.monotonic()
        if seconds > 0:
            time.sleep(seconds)
            self._waited += seconds

    def _heed(self, url: str, reply: Reply) -> None:
        """Put off every further request for as long as the server's Retry-After says."""
        seconds = retry_after(reply.headers.get("retry-after", ""), datetime.now(UTC))
        if seconds is None:
            return
        if seconds > MAX_WAIT_SECONDS:
            raise KormedError(
                f"{url}: HTTP {reply.status}, and the server wants no request for {seconds:,.0f} s, more than the "
                f"{MAX_WAIT_SECONDS} s that kormed sleeps through. What was fetched is in {self.store.folder}; give "
                f"the same command again after that time, and it goes on where it was"
            )
        log.info("collect: the server asks for %.0f s of quiet (Retry-After)", seconds)
        self._earliest = max(self._earliest, time.monotonic() + seconds)

    @cached_property
    def robots(self) -> Protego:
        """The site's robots.txt, read once a run; its Crawl-delay counts where it is longer than the recipe's."""
        robots = Protego.parse(self._read_robots())
        asked = robots.crawl_delay(PRODUCT)
        if asked is None or not asked > self.delay_seconds:
            return robots
        if asked > MAX_WAIT_SECONDS:
            raise KormedError(
                f"{self.config.site}/robots.txt: a Crawl-delay of {asked:g} s is as good as a no (kormed waits up to "
                f"{MAX_WAIT_SECONDS} s); ask the site for its consent"
            )
        log.info(
            "collect: robots.txt asks for %g s between requests; the recipe had %g", asked, self.config.delay_seconds
        )
        self.delay_seconds = asked
        return robots

    def _read_robots(self) -> str:
        """What stands in robots.txt; nothing where there is none. RFC 9309 wants redirects followed to other hosts."""
        url = f"{self.config.site}/robots.txt"
        for _ in range(MAX_REDIRECTS + 1):
            reply = self._ask(url, {})
            if reply.status not in REDIRECTS or "location" not in reply.headers:
                break
            url = _join(url, reply.headers["location"]) or url
        if reply.status == 200 and reply.problem is None:
            log.info("collect: robots.txt read from %s", url)
            own = f"{self.config.site}/robots.txt"
            visit = Visit(url=own, status=200, fetched_at=now(), sitting=self.sitting, requests=self._requests)
            self.store.add(visit.model_copy(update={"location": url if url != own else None}), reply.body)
            return reply.body.decode("utf-8", errors="replace")
        if reply.status is not None and 400 <= reply.status < 500 and reply.status not in FORBIDDEN:
            log.info("collect: no robots.txt (%s: HTTP %d), so everything is allowed", url, reply.status)
            return ""
        raise KormedError(
            f"{url}: {reply.problem or f'HTTP {reply.status}'}. Without robots.txt nobody knows what may be fetched, "
            f"so nothing is; give the same command again once the site answers"
        )


def _conditions(kept: Visit | None) -> dict[str, str]:
    """Headers that ask for the page only if it has changed (RFC 9110, 13.1)."""
    headers = {
        "If-None-Match": kept.etag if kept else None,
        "If-Modified-Since": kept.last_modified if kept else None,
    }
    return {name: value for name, value in headers.items() if value}


def _join(url: str, location: str) -> str | None:
    """Where a Location header leads; None where that is no web address."""
    try:
        target = httpx.URL(url).join(location).copy_with(fragment=None)
    except (httpx.InvalidURL, ValueError):
        return None
    return str(target) if target.scheme in ("http", "https") and target.host else None


def same_site(url: str, site: str) -> bool:
    one, other = httpx.URL(url), httpx.URL(site)
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def retry_after(value: str, at: datetime) -> float | None:
    """Seconds to wait from `at` on, of a Retry-After header: a number or a date (RFC 9110, 10.2.3). None: neither."""
    if value.strip().isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - at).total_seconds())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
