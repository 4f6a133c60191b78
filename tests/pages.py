"""What a reader sees of a page."""

from html.parser import HTMLParser


def words(html: str) -> str:
    """The page's visible text, white space folded."""

    class Text(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []
            self.hidden = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.hidden = self.hidden or tag in ("style", "title")

        def handle_endtag(self, tag: str) -> None:
            self.hidden = self.hidden and tag not in ("style", "title")

        def handle_data(self, data: str) -> None:
            if not self.hidden:
                self.found.append(data)

    parser = Text()
    parser.feed(html)
    return " ".join(" ".join(parser.found).split())


def assert_asks_nothing_of_the_network(html: str) -> None:
    """No tag, attribute or style that fetches, and a policy that would forbid it."""

    class Outside(HTMLParser):
        found: list[tuple[str, str | None]] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link", "iframe", "object", "embed", "base")
            self.found += [(n, v) for n, v in attrs if n in ("src", "srcset", "href", "action", "poster", "xlink:href")]

    outside = Outside()
    outside.feed(html)
    assert all(value is not None and value.startswith("#") for _, value in outside.found)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
