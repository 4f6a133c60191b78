"""collect: Hidoc's list and consult pages in, raw consults out; every page kept in the store as it came.

Writes `consults.jsonl` (RawConsult, nothing masked yet) and `dropped.jsonl` (Dropped: pages and answers that are no
consult, each with its reason). One page of each department in turn, so that a number of consults is spread over all.

A stopped run goes on without asking for a page again: what it has fetched is in the store, and `sittings.jsonl` tells
its own visits from older ones. A new run asks for list pages anew (if they have changed), for consult pages only where
the store has none.
"""

import logging
from collections import Counter
from pathlib import Path

import httpx

from stages.core.artifacts import lock
from stages.core.crawling import Crawl
from stages.core.errors import KormedError
from stages.core.fetching import Fetcher, Store, now, user_agent
from stages.core.recipe import Collect
from stages.core.records import Record, append_jsonl, read_appended, write_jsonl

log = logging.getLogger("kormed")

SITTINGS = "sittings.jsonl"


class Sitting(Record):
    """One process of this crawl; the store's index names it with each visit."""

    id: str


def run(config: Collect, out: Path) -> dict[str, float]:
    if config.contact is None:
        raise KormedError(
            "collect.contact is not set: your e-mail address or web page, which the site sees in the user agent; for "
            "example --set collect.contact=you@your-hospital.kr"
        )
    config.store.mkdir(parents=True, exist_ok=True)
    with (
        lock(config.store, "a crawl into this store"),
        httpx.Client(
            headers={"User-Agent": user_agent(config.contact), "Accept-Language": "ko"}, timeout=config.timeout_seconds
        ) as client,
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
    for reason, count in Counter(row.reason.split(":")[0] for row in crawl.dropped).most_common():
        log.info("collect: dropped %d: %s", count, reason)
    if not crawl.consults:
        raise KormedError(
            f"{config.site}: no usable consult on {crawl.counts['pages']} list pages of {', '.join(config.departments)}"
            f" (dropped: {'; '.join(sorted({row.reason for row in crawl.dropped})) or 'none'}); check "
            f"collect.departments and the pages in {config.store}"
        )
    if config.consults is not None and len(crawl.consults) < config.consults:
        log.warning("collect: %d consults found, %d were asked for", len(crawl.consults), config.consults)
    write_jsonl(out / "consults.jsonl", crawl.consults)
    write_jsonl(out / "dropped.jsonl", crawl.dropped)
    (out / SITTINGS).unlink()
    names = ("pages", "fetched", "not_modified", "from_store", "refused", "unread", "broken_characters")
    metrics: dict[str, float] = {"consults": len(crawl.consults), "dropped": len(crawl.dropped)}
    return metrics | {name: crawl.counts[name] for name in (*names, "waited_seconds")}
