"""The way through Hidoc's lists: which page is read next, which from the store, and what became of each."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from stages.core import hidoc
from stages.core.errors import KormedError
from stages.core.fetching import DISALLOWED, Fetcher, Store, Visit, now
from stages.core.recipe import Collect
from stages.core.records import Dropped, RawConsult

log = logging.getLogger("kormed")

NOT_IN_STORE = "not in the store"
ENOUGH_TO_JUDGE = 10  # consult pages read before the share of unreadable ones means anything


@dataclass
class Department:
    """How far one department's list has been read."""

    code: str
    page: int = 0  # the last one read
    missed: int = 0  # list pages in a row that were refused or, offline, are not in the store
    seen: dict[str, set[str]] = field(default_factory=dict)  # consult numbers by the sitting that saw them


class Crawl:
    """What was found so far, and how much is left to do. Without a `fetcher` all is read from the store."""

    def __init__(self, config: Collect, store: Store, fetcher: Fetcher | None, sittings: set[str]) -> None:
        self.config = config
        self.store = store
        self.fetcher = fetcher
        self.sittings = sittings
        self.consults: list[RawConsult] = []
        self.dropped: list[Dropped] = []  # consults and answers
        self.lists: list[Dropped] = []  # list pages that were not had; nobody knows how many consults they name
        self.counts: Counter[str] = Counter()
        self._numbers: set[str] = set()  # consults met, whatever became of them
        self._misfit = ""  # what the last unreadable page lacked

    @property
    def enough(self) -> bool:
        return self.config.consults is not None and len(self.consults) >= self.config.consults

    def walk(self) -> None:
        """The next list page of each department in turn, with its consults, until there are enough or no more."""
        departments = [Department(code) for code in dict.fromkeys(self.config.departments)]
        while departments:
            for department in list(departments):
                department.page += 1
                if not self._read_list(department) or department.page == self.config.pages:
                    departments.remove(department)
                if self.enough:
                    return

    def _read_list(self, department: Department) -> bool:
        """Read one list page and its consults. Returns whether the department may have more."""
        url = hidoc.list_url(self.config.site, department.code, department.page)
        visit = self._obtain(url, anew=True, outdated_will_do=False, follows=lambda target: True)
        if visit.problem:
            return self._miss_list(department, visit)
        department.missed = 0
        self.counts["pages"] += 1
        try:
            listed = hidoc.read_list(hidoc.decode(self.store.body(visit)), department.page)
        except hidoc.LayoutChanged as wanted:
            raise KormedError(
                f"{visit.location or url}: a list page that fits no known layout; wanted {wanted}. It is in "
                f"{self.store.folder / (visit.file or '')}; once stages/core/hidoc.py knows it, the same command goes "
                f"on. If it was a passing one (maintenance), --force asks for the lists again, not for the consults"
            ) from None
        # Only against pages of the same sitting: days later the list has moved on, and page 5 shows what page 4 did.
        seen = department.seen.setdefault(visit.sitting, set())
        if seen.issuperset(listed.ids):
            what = "brings nothing new" if listed.ids else "is empty"
            log.info("collect: %s ends: page %d %s", department.code, department.page, what)
            return False
        seen.update(listed.ids)
        for number in listed.ids:
            if number not in self._numbers and not self.enough:
                self._numbers.add(number)
                self._read_consult(number, department.code)
        if self.fetcher is None or visit.sitting == self.fetcher.sitting:
            self._tell(department)
        return listed.more is not False

    def _miss_list(self, department: Department, visit: Visit) -> bool:
        may_be_passing = visit.refused or visit.problem == NOT_IN_STORE
        if visit.problem == DISALLOWED or (department.page == 1 and not may_be_passing):
            raise KormedError(
                f"{visit.url}: {visit.problem}, so {department.code} cannot be collected; check collect.site and "
                f"collect.departments"
            )
        self.lists.append(self._gone(f"hidoc-list-{department.code}-{department.page}", visit))
        department.missed += 1
        if may_be_passing and department.missed < 2:
            return True
        log.warning("collect: %s ends at page %d: %s", department.code, department.page, visit.problem)
        return False

    def _read_consult(self, number: str, department: str) -> None:
        url = hidoc.consult_url(self.config.site, number)
        visit = self._obtain(
            url,
            anew=self.config.refresh,
            outdated_will_do=True,
            follows=lambda target: hidoc.consult_number(target) == number,
        )
        if visit.problem:
            self.dropped.append(self._gone(hidoc.consult_id(number), visit))
            return
        self.counts["read"] += 1
        html = hidoc.decode(self.store.body(visit))
        self.counts["broken_characters"] += hidoc.broken_characters(html)
        try:
            reading = hidoc.read_consult(html, number=number, url=url, department=department)
        except hidoc.LayoutChanged as wanted:
            reason = f"unreadable page: wanted {wanted}"
            self.dropped.append(Dropped(id=hidoc.consult_id(number), reason=reason, text=url))
            self.counts["unread"] += 1
            self._misfit = f"wanted {wanted} on {url}"
        else:
            self.dropped += reading.dropped
            self.consults += [reading.consult] if reading.consult else []
        self._judge()

    def _judge(self) -> None:
        """Stop where so many pages are unreadable that it is the layout, not the page."""
        unread, read = self.counts["unread"], self.counts["read"]
        if read >= ENOUGH_TO_JUDGE and unread > self.config.max_unread * read:
            raise KormedError(
                f"{self.config.site}: {unread} of {read} consult pages fit no known layout (collect.max_unread is "
                f"{self.config.max_unread:g}); {self._misfit}. All pages are in {self.store.folder}: once "
                f"stages/core/hidoc.py knows them, the same command reads them from there; if they were passing ones "
                f"(maintenance), collect.refresh=true asks for them again"
            )

    def _gone(self, id: str, visit: Visit) -> Dropped:
        """A page that was not had; its reason is a fixed phrase, then a colon and what is told of this page alone."""
        self.counts["refused"] += visit.refused
        reason = visit.problem or ""
        if visit.refused:
            reason = f"refused: {visit.problem} after {visit.requests} requests"
        elif reason.startswith("HTTP "):
            reason = f"no such page: {reason}"
        return Dropped(id=id, reason=reason, text=visit.url)

    def _obtain(self, url: str, *, anew: bool, outdated_will_do: bool, follows: Callable[[str], bool]) -> Visit:
        """The visit whose body is to be read, or which says why there is none; asks only if it must.

        `anew`: a copy from before this crawl will not do unless the site says that it has not changed;
        `outdated_will_do`: or unless the site refuses to say.
        """
        visit, kept = self.store.asked(url, self.sittings), self.store.kept(url)
        if self.fetcher is None:
            nothing = Visit(url=url, status=None, fetched_at=now(), sitting="", problem=NOT_IN_STORE)
            visit = self.store.answered(url) or nothing
        elif visit is None or visit.refused:  # otherwise this crawl has its answer
            visit = kept if kept and not anew else self.fetcher.fetch(url, kept=kept, follows=follows)
            if visit.refused and kept and outdated_will_do:
                log.warning("collect: %s: not refreshed, the copy of %s is read", url, kept.fetched_at[:10])
                visit = kept
        if not visit.problem:
            own = visit.sitting in self.sittings
            self.counts["from_store" if not own else "not_modified" if visit.status == 304 else "fetched"] += 1
        return visit

    def _tell(self, department: Department) -> None:
        wanted = f" of {self.config.consults}" if self.config.consults else ""
        log.info(
            "collect: %s page %d: %d%s consults, %d dropped; %d pages fetched, %d not modified, %d from the store",
            department.code,
            department.page,
            len(self.consults),
            wanted,
            len(self.dropped),
            self.counts["fetched"],
            self.counts["not_modified"],
            self.counts["from_store"],
        )
