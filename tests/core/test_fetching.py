"""fetching: a guest who asks one page at a time, waits when told to, takes no for an answer and loses nothing."""

import gzip
import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from stages.core.errors import KormedError
from stages.core.fetching import MAX_BYTES, MAX_WAIT_SECONDS, Fetcher, Store, Visit, now, retry_after, user_agent
from stages.core.recipe import Collect
from tests import hidoc_site
from tests.hidoc_site import HidocSite, make_consults, redirect, status

CONSULTS = make_consults(4)
PATH, OTHER, THIRD = (f"/healthqna/view/{consult.number}" for consult in CONSULTS[:3])


@pytest.fixture
def site() -> Iterator[HidocSite]:
    with HidocSite(CONSULTS).serve() as served:
        yield served


@contextmanager
def fetching(site: HidocSite, store: Path, **changes: Any) -> Iterator[Fetcher]:
    quick = {"delay_seconds": 0, "jitter_seconds": 0, "retries": 2, "retry_seconds": 0.01, "timeout_seconds": 2}
    config = Collect(seed=1, contact="me@example.com", site=site.url, pages=1, store=store, **(quick | changes))
    store.mkdir(exist_ok=True)
    with httpx.Client(headers={"User-Agent": user_agent("me@example.com")}, timeout=config.timeout_seconds) as client:
        yield Fetcher(config, Store(store), client, now())


def fetch(fetcher: Fetcher, path: str, kept: Visit | None = None) -> Visit:
    return fetcher.fetch(f"{fetcher.config.site}{path}", kept=kept, follows=lambda target: True)


def test_the_site_sees_who_asks_and_whom_to_write_to(site: HidocSite, tmp_path: Path) -> None:
    with fetching(site, tmp_path / "store") as fetcher:
        fetch(fetcher, PATH)
    assert [seen.path for seen in site.seen] == ["/robots.txt", PATH]
    for seen in site.seen:
        assert seen.headers["user-agent"].startswith("kormed/")
        assert seen.headers["user-agent"].endswith(" (+me@example.com)")


def test_a_fetched_page_is_kept_byte_for_byte(site: HidocSite, tmp_path: Path) -> None:
    body = "가나다".encode("cp949") + b"\x00\xff"
    site.on(PATH, hidoc_site.reply(body, Content_Type="text/html; charset=utf-8"))
    with fetching(site, tmp_path / "store") as fetcher:
        visit = fetch(fetcher, PATH)
        assert fetcher.store.body(visit) == body
    again = Store(tmp_path / "store").kept(f"{site.url}{PATH}")
    assert again is not None and again.content_type == "text/html; charset=utf-8"
    assert gzip.decompress((tmp_path / "store" / str(again.file)).read_bytes()) == body


def test_what_robots_txt_disallows_is_never_asked_for(site: HidocSite, tmp_path: Path) -> None:
    site.robots = f"User-agent: kormed\nDisallow: {PATH}\n\nUser-agent: *\nAllow: /\n"
    with fetching(site, tmp_path / "store") as fetcher:
        assert fetch(fetcher, PATH).problem == "robots.txt disallows it"
        assert fetch(fetcher, OTHER).problem is None
    assert site.paths() == [OTHER]
    assert len([seen for seen in site.seen if seen.path == "/robots.txt"]) == 1


def test_no_robots_txt_allows_everything(site: HidocSite, tmp_path: Path) -> None:
    site.robots = None
    with fetching(site, tmp_path / "store") as fetcher:
        assert fetch(fetcher, PATH).problem is None


@pytest.mark.parametrize("code", [500, 503, 403, 429])
def test_a_robots_txt_that_cannot_be_read_stops_everything(site: HidocSite, tmp_path: Path, code: int) -> None:
    site.always("/robots.txt", status(code))
    with (
        fetching(site, tmp_path / "store") as fetcher,
        pytest.raises(KormedError, match=f"robots.txt: HTTP {code}.*give the same command again"),
    ):
        fetch(fetcher, PATH)
    assert site.paths() == []


def test_a_site_that_is_not_there_stops_everything(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        gone = HidocSite([], url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with fetching(gone, tmp_path / "store") as fetcher, pytest.raises(KormedError, match="no whole answer"):
            fetch(fetcher, PATH)


def test_a_longer_crawl_delay_wins_and_a_shorter_one_does_not(site: HidocSite, tmp_path: Path) -> None:
    site.robots = "User-agent: *\nCrawl-delay: 0.3\n"
    with fetching(site, tmp_path / "store") as fetcher:
        fetch(fetcher, PATH)
        assert fetcher.delay_seconds == 0.3
        assert fetch(fetcher, OTHER).waited_seconds > 0
    with fetching(site, tmp_path / "other-store", delay_seconds=0.5) as fetcher:
        assert fetcher.allowed(f"{site.url}{PATH}") and fetcher.delay_seconds == 0.5


def test_a_crawl_delay_of_hours_is_taken_for_a_no(site: HidocSite, tmp_path: Path) -> None:
    site.robots = "User-agent: *\nCrawl-delay: 86400\n"
    with fetching(site, tmp_path / "store") as fetcher, pytest.raises(KormedError, match="as good as a no"):
        fetch(fetcher, PATH)
    assert site.paths() == []


def test_a_robots_txt_on_another_host_counts_for_the_site_that_points_to_it(site: HidocSite, tmp_path: Path) -> None:
    with HidocSite([], robots=f"User-agent: *\nDisallow: {PATH}\n").serve() as other:
        site.on("/robots.txt", redirect(f"{other.url}/robots.txt", 301))
        with fetching(site, tmp_path / "store") as fetcher:
            assert fetch(fetcher, PATH).problem == "robots.txt disallows it"


def test_every_request_waits_for_its_turn_errors_included(site: HidocSite, tmp_path: Path) -> None:
    site.on(PATH, status(500))
    with fetching(site, tmp_path / "store", delay_seconds=0.05, jitter_seconds=0.05) as fetcher:
        for path in (PATH, OTHER, THIRD):
            fetch(fetcher, path)
    starts = [seen.started for seen in site.seen]
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(starts))
    assert site.most_in_flight == 1


@pytest.mark.parametrize("busy", [hidoc_site.too_many(1), hidoc_site.too_many_until(2)])
def test_retry_after_is_heeded_in_seconds_and_as_a_date(site: HidocSite, tmp_path: Path, busy: Any) -> None:
    site.on(PATH, busy)
    with fetching(site, tmp_path / "store") as fetcher:
        visit = fetch(fetcher, PATH)
    assert visit.problem is None and visit.requests == 2
    assert site.seen[-1].started - site.seen[-2].started >= 0.9


def test_retry_after_on_the_last_try_still_holds_back_the_next_page(site: HidocSite, tmp_path: Path) -> None:
    site.on(PATH, hidoc_site.too_many(1))
    with fetching(site, tmp_path / "store", retries=0) as fetcher:
        assert fetch(fetcher, PATH).refused
        fetch(fetcher, OTHER)
    assert site.seen[-1].started - site.seen[-2].started >= 0.9


def test_a_server_that_wants_an_hour_of_quiet_stops_the_crawl(site: HidocSite, tmp_path: Path) -> None:
    site.on(PATH, hidoc_site.too_many(3600))
    with fetching(site, tmp_path / "store") as fetcher, pytest.raises(KormedError, match="3,600 s.*same command again"):
        fetch(fetcher, PATH)
    assert site.paths() == [PATH]


@pytest.mark.parametrize(
    "trouble",
    [
        status(500),
        status(503),
        hidoc_site.cut(),
        hidoc_site.cut(announced=False),
        hidoc_site.slow(0.6),
        hidoc_site.drip(1.0),
        hidoc_site.reply(b"no gzip at all", Content_Encoding="gzip"),
    ],
    ids=["500", "503", "cut", "cut-without-length", "slow", "dripping", "broken-gzip"],
)
def test_a_page_that_comes_at_the_second_try_is_whole(site: HidocSite, tmp_path: Path, trouble: Any) -> None:
    site.on(PATH, trouble)
    with fetching(site, tmp_path / "store", timeout_seconds=0.3) as fetcher:
        visit = fetch(fetcher, PATH)
        assert fetcher.store.body(visit).decode() == site.page(PATH)
    assert site.paths() == [PATH, PATH]


def test_a_page_that_fails_for_good_is_asked_for_as_often_as_the_recipe_says(site: HidocSite, tmp_path: Path) -> None:
    site.always(PATH, status(500))
    with fetching(site, tmp_path / "store") as fetcher:
        visit = fetch(fetcher, PATH)
    assert visit.refused and visit.problem == "HTTP 500"
    assert site.paths() == [PATH] * 3


@pytest.mark.parametrize("code", [403, 404, 410, 451])
def test_a_plain_no_is_not_argued_with(site: HidocSite, tmp_path: Path, code: int) -> None:
    site.always(PATH, status(code))
    with fetching(site, tmp_path / "store") as fetcher:
        assert fetch(fetcher, PATH).problem == f"HTTP {code}"
    assert site.paths() == [PATH]


def test_three_refused_pages_in_a_row_stop_the_crawl_and_a_good_one_between_does_not(
    site: HidocSite, tmp_path: Path
) -> None:
    for path in (PATH, OTHER, THIRD):
        site.always(path, status(403))
    good = f"/healthqna/view/{CONSULTS[3].number}"
    with fetching(site, tmp_path / "store") as fetcher:
        for path in (PATH, OTHER, good, PATH, OTHER):
            fetch(fetcher, path)
        with pytest.raises(KormedError, match="3 pages in a row were refused.*HTTP 403.*same command"):
            fetch(fetcher, THIRD)
    asked = Store(tmp_path / "store").kept(f"{site.url}{good}")
    assert asked is not None


def test_a_redirect_off_the_site_is_never_followed(site: HidocSite, tmp_path: Path) -> None:
    with HidocSite(CONSULTS).serve() as other:
        site.on(PATH, redirect(f"{other.url}{PATH}"))
        site.on(OTHER, redirect(f"//127.0.0.1:{other.url.rsplit(':')[-1]}{OTHER}"))
        with fetching(site, tmp_path / "store") as fetcher:
            for path in (PATH, OTHER):
                problem = fetch(fetcher, path).problem
                assert problem is not None and problem.startswith("redirected away: off the site")
        assert other.seen == []


def test_a_redirect_on_the_site_is_followed_where_robots_txt_allows(site: HidocSite, tmp_path: Path) -> None:
    site.on(PATH, redirect(f"{OTHER}#top"))
    site.on(THIRD, redirect("/member/login"))
    with fetching(site, tmp_path / "store") as fetcher:
        visit = fetch(fetcher, PATH)
        assert (visit.problem, visit.location) == (None, f"{site.url}{OTHER}")
        assert "robots.txt disallows it" in str(fetch(fetcher, THIRD).problem)
    assert "/member/login" not in site.paths()


@pytest.mark.parametrize("target", [PATH, "http://[broken", "javascript:alert(1)", ""])
def test_redirects_in_circles_and_to_nowhere_end(site: HidocSite, tmp_path: Path, target: str) -> None:
    site.always(PATH, redirect(target))
    with fetching(site, tmp_path / "store") as fetcher:
        problem = fetch(fetcher, PATH).problem
    assert problem is not None and problem.startswith("redirected away")
    assert len(site.paths()) <= 6


def test_a_page_in_the_store_is_asked_for_only_if_it_has_changed(site: HidocSite, tmp_path: Path) -> None:
    with fetching(site, tmp_path / "store") as fetcher:
        first = fetch(fetcher, PATH)
        same = fetch(fetcher, PATH, first)
        assert (same.status, same.file, same.problem) == (304, first.file, None)
        assert fetcher.store.body(same) == fetcher.store.body(first)
    assert site.seen[-1].headers["if-none-match"] == first.etag
    assert site.seen[-1].headers["if-modified-since"] == first.last_modified


def test_a_changed_page_becomes_a_new_file_beside_the_old_one(site: HidocSite, tmp_path: Path) -> None:
    with fetching(site, tmp_path / "store") as fetcher:
        first = fetch(fetcher, PATH)
        site.on(PATH, hidoc_site.reply(b"<html>new</html>"))
        second = fetch(fetcher, PATH, first)
        assert fetcher.store.body(second) == b"<html>new</html>"
        assert fetcher.store.body(first).decode() == site.page(PATH)


def test_a_page_without_an_end_is_not_kept(site: HidocSite, tmp_path: Path) -> None:
    site.on(PATH, hidoc_site.reply(b"x" * (MAX_BYTES + 1)))
    with fetching(site, tmp_path / "store", timeout_seconds=20) as fetcher:
        visit = fetch(fetcher, PATH)
    assert visit.problem is not None and visit.problem.startswith("too large")
    assert Store(tmp_path / "store").kept(f"{site.url}{PATH}") is None


def test_a_half_written_index_line_costs_that_page_alone(site: HidocSite, tmp_path: Path) -> None:
    with fetching(site, tmp_path / "store") as fetcher:
        fetch(fetcher, PATH)
        fetch(fetcher, OTHER)
    index = tmp_path / "store" / "index.jsonl"
    index.write_bytes(index.read_bytes()[:-20])
    store = Store(tmp_path / "store")
    assert store.kept(f"{site.url}{PATH}") is not None
    assert store.kept(f"{site.url}{OTHER}") is None


def test_a_page_that_was_deleted_from_the_store_counts_as_never_fetched(site: HidocSite, tmp_path: Path) -> None:
    with fetching(site, tmp_path / "store") as fetcher:
        visit = fetch(fetcher, PATH)
        (tmp_path / "store" / str(visit.file)).unlink()
        assert fetcher.store.kept(visit.url) is None
        assert fetcher.store.asked(visit.url, {visit.sitting}) is None


@pytest.mark.parametrize("damage", [b"", b"no gzip", gzip.compress(b"another page")])
def test_a_damaged_page_is_named_with_the_way_out(site: HidocSite, tmp_path: Path, damage: bytes) -> None:
    with fetching(site, tmp_path / "store") as fetcher:
        visit = fetch(fetcher, PATH)
        (tmp_path / "store" / str(visit.file)).write_bytes(damage)
        with pytest.raises(KormedError, match=f"{visit.sha256}.*delete the file"):
            fetcher.store.body(visit)


AT = datetime(2026, 6, 8, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Mon, 08 Jun 2026 09:02:00 GMT", 120),
        ("Mon, 08 Jun 2026 18:02:00 +0900", 120),
        ("Mon, 08 Jun 2026 08:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_a_date_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after(value, AT) == seconds


def test_the_longest_wait_is_minutes_not_hours() -> None:
    assert MAX_WAIT_SECONDS <= 15 * 60
