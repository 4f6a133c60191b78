"""collect: Hidoc's list and consult pages in, raw consults out; every page kept in the store as it came.

Writes `consults.jsonl` (RawConsult, nothing masked yet), `dropped.jsonl` (Dropped: pages and answers that are no
consult) and `lists.jsonl` (Dropped: list pages that were not had, so that no consult of theirs came in). What stands
before the first colon of a reason is the same for all rows of its kind. One page of each department in turn, so that a
number of consults is spread over all. Patients' texts are not masked yet: store and output are their owner's alone.

A stopped run goes on without asking for a page again: what it has fetched is in the store, and `sittings.jsonl` tells
its own visits from older ones. A new run asks for list pages anew (if they have changed), for consult pages only where
the store has none. Offline, nobody is asked: the newest copies in the store are parsed.
"""

import logging
from collections import Counter
from pathlib import Path

import httpx

from stages.core.artifacts import lock
from stages.core.crawling import Crawl
from stages.core.errors import KormedError
from stages.core.fetching import INDEX, OWN_FILE, OWN_FOLDER, Fetcher, Store, now, user_agent
from stages.core.recipe import Collect
from stages.core.records import Record, append_jsonl, read_appended, read_whole_lines, write_jsonl

log = logging.getLogger("kormed")

SITTINGS = "sittings.jsonl"


class Sitting(Record):
    """One process of this crawl; the store's index names it with each visit."""

    id: str


def run(config: Collect, out: Path) -> dict[str, float]:
    out.chmod(OWN_FOLDER)
    crawl = read_store(config) if config.offline else ask_site(config, out)
    for reason, count in _reasons(crawl).most_common():
        log.info("collect: dropped %d: %s", count, reason)
    if not crawl.consults:
        raise KormedError(
            f"{config.site}: no usable consult on {crawl.counts['pages']} list pages of {', '.join(config.departments)}"
            f" (dropped: {'; '.join(sorted(_reasons(crawl))) or 'none'}); check collect.departments and the pages in "
            f"{config.store}"
        )
    if config.consults is not None and len(crawl.consults) < config.consults:
        log.warning("collect: %d consults found, %d were asked for", len(crawl.consults), config.consults)
    write_jsonl(out / "consults.jsonl", crawl.consults)
    write_jsonl(out / "dropped.jsonl", crawl.dropped)
    write_jsonl(out / "lists.jsonl", crawl.lists)
    (out / SITTINGS).unlink(missing_ok=True)
    metrics: dict[str, float] = {
        "consults": len(crawl.consults),
        "dropped": len(crawl.dropped),
        "lists_missed": len(crawl.lists),
    }
    names = ("pages", "fetched", "not_modified", "from_store", "refused", "unread", "broken_characters")
    return metrics | {name: crawl.counts[name] for name in (*names, "waited_seconds")}


def _reasons(crawl: Crawl) -> Counter[str]:
    return Counter(row.kind for row in (*crawl.dropped, *crawl.lists))


def ask_site(config: Collect, out: Path) -> Crawl:
    """The crawl, once it is through; `out` gets its sitting, so that it can go on if it is stopped."""
    if config.contact is None:
        raise KormedError(
            "collect.contact is not set: your e-mail address or web page, which the site sees in the user agent; for "
            "example --set collect.contact=you@your-hospital.kr"
        )
    headers = {"User-Agent": user_agent(config.contact), "Accept-Language": "ko"}
    make_store(config.store)
    with (
        lock(config.store, "a crawl into this store"),
        httpx.Client(headers=headers, timeout=config.timeout_seconds) as client,
    ):
        sitting = Sitting(id=now())
        sittings = [earlier.id for earlier in read_appended(out / SITTINGS, Sitting)]
        append_jsonl(out / SITTINGS, [sitting])
        store = Store(config.store)
        if sittings:
            log.info("collect: going on behind a stopped run; its pages are read from %s", config.store)
        crawl = Crawl(config, store, Fetcher(config, store, client, sitting.id), {*sittings, sitting.id})
        crawl.walk()
        crawl.counts["waited_seconds"] = round(store.waited(crawl.sittings))
    return crawl


def make_store(folder: Path) -> None:
    try:
        folder.mkdir(mode=OWN_FOLDER, parents=True, exist_ok=True)
        for name in (".lock", INDEX):
            (folder / name).touch(mode=OWN_FILE)
    except OSError as error:
        raise KormedError(
            f"collect.store is {folder}: a folder to keep pages in was wanted, and it cannot be written "
            f"({error.strerror}); give another with --set collect.store=FOLDER"
        ) from None


def read_store(config: Collect) -> Crawl:
    """The crawl through the newest copies in the store. Nothing is written there, so that it needs no lock."""
    if not (config.store / INDEX).is_file():
        raise KormedError(
            f"collect.store is {config.store}: a folder with pages of earlier runs was wanted, and there is no "
            f"{INDEX} in it; set collect.store to such a folder, or collect.offline=false to ask {config.site}"
        )
    log.info("collect: offline; pages are read from %s as they were when last fetched", config.store)
    crawl = Crawl(config, Store(config.store, read_whole_lines), None, set())
    crawl.walk()
    return crawl
