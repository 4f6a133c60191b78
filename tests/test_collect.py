"""collect: a loopback Hidoc, well-behaved and not, becomes raw consults; no page is asked for twice or lost unsaid."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.collect import SITTINGS, run
from stages.core.artifacts import lock
from stages.core.errors import KormedError
from stages.core.recipe import Collect
from stages.core.records import Dropped, RawConsult, read_jsonl
from tests import hidoc_site
from tests.hidoc_site import HidocSite, SiteConsult, make_consults, redirect, status

ROOT = Path(__file__).parents[1]


@pytest.fixture
def site() -> Iterator[HidocSite]:
    with HidocSite(make_consults(40), per_page=3).serve() as served:
        yield served


def plain(count: int, department: str = "PN000", first: int = 1) -> list[SiteConsult]:
    """So many good consults of one department."""
    good = make_consults(1)[0]
    return [replace(good, number=f"C{first + at:010d}", department=department) for at in range(count)]


def settings(site: HidocSite, folder: Path, **changes: Any) -> Collect:
    quick = {"delay_seconds": 0, "jitter_seconds": 0, "retries": 1, "retry_seconds": 0.01, "timeout_seconds": 5}
    base = {"seed": 1, "contact": "me@example.com", "site": site.url, "pages": 20, "store": folder / "store"}
    return Collect(**(base | quick | changes))


def collect(site: HidocSite, folder: Path, out: str = "out", **changes: Any) -> dict[str, float]:
    (folder / out).mkdir(exist_ok=True)
    return run(settings(site, folder, **changes), folder / out)


def consults(folder: Path, out: str = "out") -> list[RawConsult]:
    return read_jsonl(folder / out / "consults.jsonl", RawConsult)


def reasons(folder: Path, out: str = "out", file: str = "dropped.jsonl") -> dict[str, str]:
    return {row.id: row.reason for row in read_jsonl(folder / out / file, Dropped)}


def view(consult: SiteConsult) -> str:
    return f"/healthqna/view/{consult.number}"


def listed(department: str, page: int) -> str:
    return f"/healthqna/part/list?code={department}&page={page}"


def test_every_consult_of_the_site_is_collected_or_dropped_with_its_reason(site: HidocSite, tmp_path: Path) -> None:
    metrics = collect(site, tmp_path)
    dropped = reasons(tmp_path)
    found = consults(tmp_path)
    assert {consult.id for consult in found} | set(dropped) == {f"hidoc-{consult.number}" for consult in site.consults}
    assert {reason.split(":")[0] for reason in dropped.values()} == {"deleted post", "no doctor's answer"}
    assert metrics["consults"] == len(found) and metrics["dropped"] == len(dropped)
    assert metrics["fetched"] == len(site.paths()) == metrics["pages"] + len(site.consults)
    assert (metrics["unread"], metrics["refused"], metrics["not_modified"], metrics["from_store"]) == (0, 0, 0, 0)
    wanted = {f"hidoc-{consult.number}": consult for consult in site.consults}
    for consult in found:
        assert consult.body == wanted[consult.id].body
        assert [answer.text for answer in consult.answers] == [one.text for one in wanted[consult.id].answers]
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["consults.jsonl", "dropped.jsonl", "lists.jsonl"]


def test_the_site_sees_one_request_at_a_time_and_no_page_twice(site: HidocSite, tmp_path: Path) -> None:
    collect(site, tmp_path)
    assert site.most_in_flight == 1
    assert max(Counter(site.paths()).values()) == 1
    assert site.seen[0].path == "/robots.txt"


def test_without_a_contact_nothing_is_asked(site: HidocSite, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match="collect.contact is not set"):
        collect(site, tmp_path, contact=None)
    assert site.seen == []


def test_a_number_of_consults_is_spread_over_the_departments(site: HidocSite, tmp_path: Path) -> None:
    metrics = collect(site, tmp_path, consults=8, pages=None)
    found = consults(tmp_path)
    assert metrics["consults"] == len(found) == 8
    assert len({consult.department for consult in found}) >= 3


def test_only_the_departments_and_pages_of_the_recipe_are_read(tmp_path: Path) -> None:
    with HidocSite(plain(9) + plain(9, "PD000", 100), per_page=3).serve() as site:
        collect(site, tmp_path, departments=("PN000",), pages=2)
        assert [path for path in site.paths() if "list" in path] == [listed("PN000", 1), listed("PN000", 2)]
    assert [consult.id for consult in consults(tmp_path)] == [f"hidoc-C{number:010d}" for number in range(1, 7)]


@pytest.mark.parametrize("behaviour", [{"endless": True}, {"paging": False}, {"paging": False, "endless": True}])
def test_a_list_that_never_ends_is_left_when_it_brings_nothing_new(tmp_path: Path, behaviour: Any) -> None:
    with HidocSite(plain(7), per_page=3, **behaviour).serve() as site:
        metrics = collect(site, tmp_path, departments=("PN000",), pages=None, consults=100)
        assert len([path for path in site.paths() if "list" in path]) <= 4
    assert metrics["consults"] == 7


def test_a_department_without_consults_is_no_trouble(tmp_path: Path) -> None:
    with HidocSite(plain(3)).serve() as site:
        assert collect(site, tmp_path, departments=("PD000", "PN000"))["consults"] == 3


CRAWL = """
import sys
from pathlib import Path
from stages.collect import run
from stages.core.recipe import Collect
config = Collect.model_validate_json(sys.argv[1])
run(config, Path(sys.argv[2]))
"""


def stop_midway(site: HidocSite, tmp_path: Path, config: Collect, how: int) -> set[str]:
    """Kill a crawl once it has kept a dozen pages. Returns the pages that are in the store then."""
    command = [sys.executable, "-c", CRAWL, config.model_dump_json(), str(tmp_path / "out")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    index = tmp_path / "store" / "index.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and (not index.exists() or index.read_bytes().count(b"\n") < 12):
        time.sleep(0.01)
    os.kill(process.pid, how)
    assert process.wait(timeout=10) != 0
    return {seen.path for seen in site.seen if f'{site.url}{seen.path}"' in index.read_text(encoding="utf-8")}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_crawl_goes_on_and_asks_for_no_page_twice(site: HidocSite, tmp_path: Path, how: int) -> None:
    (tmp_path / "out").mkdir()
    config = settings(site, tmp_path, delay_seconds=0.02)
    kept = stop_midway(site, tmp_path, config, how) - {"/robots.txt"}
    assert 11 <= len(kept) < 50
    metrics = run(config, tmp_path / "out")
    asked = Counter(site.paths())
    assert {path for path in kept if asked[path] > 1} == set()
    assert sum(asked.values()) - len(asked) <= 1  # the one request that the kill cut off
    assert metrics["fetched"] == len(asked) and metrics["from_store"] == 0
    whole = tmp_path / "whole"
    whole.mkdir()
    collect(site, whole)
    assert consults(tmp_path) == consults(whole) and reasons(tmp_path) == reasons(whole)


def test_a_crawl_resumed_days_later_is_not_fooled_by_a_list_that_moved_on(tmp_path: Path) -> None:
    old = plain(12, first=1)
    with HidocSite(old, per_page=3).serve() as site:
        site.always(listed("PN000", 3), hidoc_site.too_many(3600))
        with pytest.raises(KormedError, match="3,600 s"):
            collect(site, tmp_path, departments=("PN000",))
        site.on(listed("PN000", 3))
        site.consults = [*plain(3, first=100), *old]  # one page of new questions: page 3 is now what page 2 was
        collect(site, tmp_path, departments=("PN000",))
    assert {f"hidoc-{consult.number}" for consult in old} <= {consult.id for consult in consults(tmp_path)}


def test_a_new_crawl_asks_lists_if_they_have_changed_and_consults_not_at_all(site: HidocSite, tmp_path: Path) -> None:
    first = collect(site, tmp_path)
    before = len(site.seen)
    second = collect(site, tmp_path, "again")
    asked = [seen for seen in site.seen[before:] if seen.path != "/robots.txt"]
    assert all("list" in seen.path and "if-none-match" in seen.headers for seen in asked)
    assert second["not_modified"] == second["pages"] == first["pages"]
    assert (second["fetched"], second["from_store"]) == (0, len(site.consults))
    assert consults(tmp_path, "again") == consults(tmp_path)


def test_refresh_asks_consults_again_and_heeds_what_changed(tmp_path: Path) -> None:
    posts = plain(4)
    with HidocSite(posts).serve() as site:
        collect(site, tmp_path, departments=("PN000",))
        site.consults = [
            posts[0],
            replace(posts[1], title="고친 제목"),
            replace(posts[2], body=hidoc_site.DELETED_BODY),
            posts[3],
        ]
        site.always(view(posts[3]), status(500))
        metrics = collect(site, tmp_path, "again", departments=("PN000",), refresh=True)
    titles = {consult.id: consult.title for consult in consults(tmp_path, "again")}
    assert titles == {
        "hidoc-C0000000001": posts[0].title,
        "hidoc-C0000000002": "고친 제목",
        "hidoc-C0000000004": posts[3].title,  # the site would not say, so the copy counts
    }
    assert reasons(tmp_path, "again") == {"hidoc-C0000000003": "deleted post: at the asker's own request"}
    assert (metrics["not_modified"], metrics["from_store"]) == (1, 1)


def test_a_post_that_was_gone_once_does_not_come_back_from_the_store(tmp_path: Path) -> None:
    posts = plain(2)
    with HidocSite(posts).serve() as site:
        collect(site, tmp_path, departments=("PN000",))
        site.always(view(posts[1]), status(410))
        collect(site, tmp_path, "refreshed", departments=("PN000",), refresh=True)
        collect(site, tmp_path, "again", departments=("PN000",))
    for out in ("refreshed", "again"):
        assert reasons(tmp_path, out) == {"hidoc-C0000000002": "no such page: HTTP 410"}


def test_pages_that_cannot_be_had_are_dropped_with_the_reason(tmp_path: Path) -> None:
    posts = plain(9)
    with HidocSite(posts).serve() as site:
        site.robots = f"User-agent: *\nDisallow: {view(posts[0])}\n"
        site.on(view(posts[1]), status(404))
        site.on(view(posts[2]), status(410))
        site.on(view(posts[4]), redirect(view(posts[5])))
        site.on(view(posts[6]), redirect(f"/member/login?next={view(posts[6])}"))
        site.always(view(posts[8]), status(500))
        metrics = collect(site, tmp_path, departments=("PN000",))
        assert not any("login" in path for path in site.paths())
        url = site.url
    assert reasons(tmp_path) == {
        "hidoc-C0000000001": "robots.txt disallows it",
        "hidoc-C0000000002": "no such page: HTTP 404",
        "hidoc-C0000000003": "no such page: HTTP 410",
        "hidoc-C0000000005": f"redirected away: to {url}{view(posts[5])}",
        "hidoc-C0000000007": f"redirected away: to {url}/member/login?next={view(posts[6])}",
        "hidoc-C0000000009": "refused: HTTP 500 after 2 requests",
    }
    assert (metrics["consults"], metrics["refused"]) == (3, 1)


def test_a_site_that_wants_a_login_for_everything_is_not_asked_for_everything(tmp_path: Path) -> None:
    posts = plain(20)
    with HidocSite(posts, per_page=20).serve() as site:
        for post in posts:
            site.always(view(post), redirect("/member/login"))
        with pytest.raises(KormedError, match="3 pages in a row were refused"):
            collect(site, tmp_path, departments=("PN000",))
        assert len(site.paths()) == 4


def test_after_a_stop_for_refusals_the_same_command_asks_the_refused_pages_again(tmp_path: Path) -> None:
    posts = plain(8)
    with HidocSite(posts).serve() as site:
        for post in posts[3:6]:
            site.always(view(post), status(503))
        with pytest.raises(KormedError, match="3 pages in a row were refused"):
            collect(site, tmp_path, departments=("PN000",))
        assert (tmp_path / "out" / SITTINGS).exists()
        for post in posts[3:6]:
            site.on(view(post))
        assert collect(site, tmp_path, departments=("PN000",))["consults"] == 8
        asked = Counter(site.paths())
        assert [asked[view(post)] for post in posts] == [1, 1, 1, 3, 3, 3, 1, 1]


def test_a_disallowed_list_stops_the_crawl(site: HidocSite, tmp_path: Path) -> None:
    site.robots = "User-agent: *\nDisallow: /healthqna/part/\n"
    with pytest.raises(KormedError, match="robots.txt disallows it"):
        collect(site, tmp_path)
    assert site.paths() == []


def test_a_list_page_that_fails_is_named_apart_from_consults_and_the_next_one_read(tmp_path: Path) -> None:
    with HidocSite(plain(9), per_page=3).serve() as site:
        site.always(listed("PN000", 2), status(500))
        metrics = collect(site, tmp_path, departments=("PN000",))
    assert (metrics["consults"], metrics["pages"], metrics["refused"]) == (6, 2, 1)
    assert (metrics["dropped"], metrics["lists_missed"]) == (0, 1)
    assert reasons(tmp_path) == {}
    missed = reasons(tmp_path, file="lists.jsonl")
    assert missed == {"hidoc-list-PN000-2": "refused: HTTP 500 after 2 requests"}


def test_a_department_that_does_not_exist_is_named(site: HidocSite, tmp_path: Path) -> None:
    site.always(listed("PXX", 1), status(404))
    with pytest.raises(KormedError, match="PXX cannot be collected"):
        collect(site, tmp_path, departments=("PXX",))


def test_a_list_page_in_a_new_layout_stops_with_what_was_wanted(site: HidocSite, tmp_path: Path) -> None:
    changed = str(site.page(listed("PN000", 1))).replace("qna_main", "qna_card")
    site.always(listed("PN000", 1), hidoc_site.reply(changed.encode()))
    with pytest.raises(KormedError, match="fits no known layout; wanted cards div.qna_main"):
        collect(site, tmp_path, departments=("PN000",))


def test_too_many_unreadable_pages_stop_the_crawl_and_are_read_again_from_the_store(tmp_path: Path) -> None:
    posts = plain(20)
    with HidocSite(posts, per_page=20).serve() as site:
        for post in posts[5:15]:
            changed = str(site.page(view(post))).replace("hidoc_answer", "x").replace('class="desc"', 'class="y"')
            site.always(view(post), hidoc_site.reply(changed.encode()))
        with pytest.raises(KormedError, match=r"5 of 10 consult pages fit no known layout.*wanted div.view_question"):
            collect(site, tmp_path, departments=("PN000",))
        assert len(site.paths()) == 11
        metrics = collect(site, tmp_path, "lenient", departments=("PN000",), max_unread=0.9)
        assert max(Counter(path for path in site.paths() if "view" in path).values()) == 1
    assert (metrics["consults"], metrics["unread"]) == (10, 10)
    assert set(reasons(tmp_path, "lenient").values()) == {
        "unreadable page: wanted div.view_question div.desc",
    }


def test_broken_and_undeclared_encodings_are_read_or_counted(tmp_path: Path) -> None:
    posts = plain(4)
    with HidocSite(posts).serve() as site:
        pages = [str(site.page(view(post))) for post in posts]
        site.on(view(posts[0]), hidoc_site.reply(pages[0].encode("cp949"), Content_Type="text/html; charset=utf-8"))
        site.on(view(posts[1]), hidoc_site.reply(pages[1].encode("cp949"), Content_Type="text/html"))
        broken = pages[2].encode().replace("기침".encode(), b"\xea\xb8\xff\xec\xb9\xa8")
        site.on(view(posts[2]), hidoc_site.reply(broken, Content_Type="text/html; charset=utf-8"))
        garbled = pages[3].encode().replace("다".encode(), b"\xeb\x8b")
        site.on(view(posts[3]), hidoc_site.reply(garbled, Content_Type="text/html; charset=utf-8"))
        metrics = collect(site, tmp_path, departments=("PN000",))
    first, second, third = consults(tmp_path)
    assert first.body == second.body == posts[0].body
    assert "\ufffd" in third.body
    assert metrics["broken_characters"] > 1
    assert reasons(tmp_path) == {"hidoc-C0000000004": "unreadable page: wanted text in UTF-8 or CP949"}


def test_a_cut_connection_leaves_no_half_consult(tmp_path: Path) -> None:
    posts = plain(3)
    with HidocSite(posts).serve() as site:
        site.on(view(posts[0]), hidoc_site.cut())
        site.on(view(posts[1]), hidoc_site.cut(announced=False))
        collect(site, tmp_path, departments=("PN000",))
    assert [consult.body for consult in consults(tmp_path)] == [post.body for post in posts]


def test_a_crawl_that_finds_nothing_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    posts = [replace(post, body=hidoc_site.DELETED_BODY) for post in plain(3)]
    with HidocSite(posts).serve() as site, pytest.raises(KormedError, match="no usable consult.*deleted post"):
        collect(site, tmp_path, departments=("PN000",))


def test_two_crawls_into_one_store_do_not_meet(site: HidocSite, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (
        lock(tmp_path / "store", "a crawl"),
        pytest.raises(KormedError, match="another process is making a crawl"),
    ):
        collect(site, tmp_path)
    assert site.seen == []


# The store alone


def test_offline_gives_the_same_consults_once_the_site_is_gone(tmp_path: Path) -> None:
    with HidocSite(make_consults(40), per_page=3).serve() as site:
        online = collect(site, tmp_path)
        index = (tmp_path / "store" / "index.jsonl").read_bytes()
    asked = len(site.seen)
    offline = collect(site, tmp_path, "offline", offline=True, contact=None)
    assert len(site.seen) == asked
    assert (tmp_path / "store" / "index.jsonl").read_bytes() == index
    for file in ("consults.jsonl", "dropped.jsonl", "lists.jsonl"):
        assert (tmp_path / "offline" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
    assert offline["from_store"] == online["fetched"] and offline["fetched"] == 0
    assert (offline["consults"], offline["pages"]) == (online["consults"], online["pages"])


def test_offline_reads_the_newest_copy_and_heeds_that_a_post_is_gone(tmp_path: Path) -> None:
    posts = plain(3)
    with HidocSite(posts).serve() as site:
        collect(site, tmp_path, departments=("PN000",))
        site.consults = [posts[0], replace(posts[1], title="고친 제목"), posts[2]]
        site.always(view(posts[2]), status(410))
        collect(site, tmp_path, "refreshed", departments=("PN000",), refresh=True)
    collect(site, tmp_path, "offline", departments=("PN000",), offline=True)
    assert [consult.title for consult in consults(tmp_path, "offline")] == [posts[0].title, "고친 제목"]
    assert reasons(tmp_path, "offline") == {"hidoc-C0000000003": "no such page: HTTP 410"}


def test_offline_names_what_is_not_in_the_store_and_reads_on(tmp_path: Path) -> None:
    posts = plain(9)
    with HidocSite(posts, per_page=3).serve() as site:
        site.always(listed("PN000", 2), status(500))
        site.always(view(posts[0]), status(500))
        collect(site, tmp_path, departments=("PN000",))
    metrics = collect(site, tmp_path, "offline", departments=("PD000", "PN000"), offline=True)
    assert [consult.id[-1] for consult in consults(tmp_path, "offline")] == ["2", "3", "7", "8", "9"]
    assert reasons(tmp_path, "offline") == {"hidoc-C0000000001": "not in the store"}
    missed = reasons(tmp_path, "offline", "lists.jsonl")
    assert missed == dict.fromkeys(
        ("hidoc-list-PD000-1", "hidoc-list-PN000-2", "hidoc-list-PD000-2"), "not in the store"
    )
    assert (metrics["refused"], metrics["lists_missed"]) == (0, 3)


def test_offline_without_a_store_says_so(site: HidocSite, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match=r"collect.store is .*no index.jsonl in it.*collect.offline=false"):
        collect(site, tmp_path, offline=True)
    assert site.seen == []


def test_offline_and_refresh_contradict_each_other(site: HidocSite, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="offline asks nobody and refresh asks again"):
        settings(site, tmp_path, offline=True, refresh=True)


@pytest.mark.parametrize("place", ["store", "store/below"])
def test_a_store_that_is_no_folder_is_named(site: HidocSite, tmp_path: Path, place: str) -> None:
    (tmp_path / "store").write_text("a file", encoding="utf-8")
    with pytest.raises(KormedError, match=r"collect.store is .*a folder to keep pages in was wanted"):
        collect(site, tmp_path, store=tmp_path / place)
    assert site.seen == []


def test_unmasked_texts_are_their_owners_alone(site: HidocSite, tmp_path: Path) -> None:
    collect(site, tmp_path)
    kept = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(kept) > 40
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    assert {(tmp_path / folder).stat().st_mode & 0o777 for folder in ("store", "out")} == {0o700}


def test_a_reason_is_the_same_for_all_of_its_kind_up_to_the_colon(tmp_path: Path) -> None:
    posts = plain(8)
    with HidocSite(posts).serve() as site:
        site.on(view(posts[0]), status(404))
        site.on(view(posts[1]), status(410))
        site.on(view(posts[2]), redirect(view(posts[3])))
        site.on(view(posts[4]), redirect("http://elsewhere.example/"))
        site.always(view(posts[6]), status(503))
        collect(site, tmp_path, departments=("PN000",))
    kinds = Counter(reason.partition(":")[0] for reason in reasons(tmp_path).values())
    assert kinds == {"no such page": 2, "redirected away": 2, "refused": 1}
