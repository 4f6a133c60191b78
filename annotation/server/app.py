"""The stock Argilla application, made to stand alone: own search engine, no Redis, nothing fetched from outside.

Import it only after `__main__` has set the environment: argilla_server reads it while it is imported.
"""

import base64
import hashlib
import json
import re
from pathlib import Path

import argilla_server
import engine  # noqa: F401  registers itself; the server looks it up by name when it starts
import jobs
from alembic import command
from alembic.config import Config
from argilla_server import _app
from argilla_server.contexts import accounts
from argilla_server.database import ALEMBIC_CONFIG_FILE, AsyncSessionLocal
from argilla_server.enums import UserRole
from argilla_server.models import User
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Korean is broken between words; the page itself breaks within them.
KOREAN_LINES = (
    ".content-area,.content-area *,.markdown-render *{word-break:keep-all!important;overflow-wrap:anywhere!important}"
)
WEB_FONTS = re.compile(r"@import url\(https?://fonts\.googleapis\.com/[^)]*\);?")
INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@event.listens_for(Engine, "connect")
def _durable(connection: object, _record: object) -> None:
    """An acknowledged answer survives a power cut (FULL), and readers do not wait for writers (WAL)."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA busy_timeout = 15000")  # milliseconds
    cursor.close()


def migrate() -> None:
    config = Config()  # not from the .ini file: that would reconfigure, and so silence, everybody's logging
    config.set_main_option("script_location", str(Path(ALEMBIC_CONFIG_FILE).with_name("alembic")))
    command.upgrade(config, "head")


async def ensure_owner(credentials: Path) -> None:
    """The owner of credentials.json exists and its key opens the server, even if that file was lost and made anew."""
    owner = json.loads(credentials.read_text(encoding="utf-8"))["owner"]
    async with AsyncSessionLocal() as db:
        user = await accounts.get_user_by_username(db, owner["username"])
        if user is not None and user.api_key == owner["api_key"]:
            return
        secrets = {"password_hash": accounts.hash_password(owner["password"]), "api_key": owner["api_key"]}
        if user is None:
            name = owner["username"]
            await User.create(db, first_name=name, username=name, role=UserRole.owner, **secrets)
        else:
            await user.update(db, **secrets)


def create_app() -> FastAPI:
    app = argilla_server.app
    _app.configure_redis = lambda: None  # its start-up ping; looked up as a global of the module when the app starts
    jobs.run_in_process()
    page = next(Path(route.app.directory) for route in app.routes if getattr(route, "name", None) == "static")
    _mend_style_sheets(page)
    app.add_middleware(jobs.Off)
    app.add_middleware(PagePolicy, policy=_page_policy(page))
    # Without this a page elsewhere could reach the server by pointing its own host name at 127.0.0.1.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return app


def _mend_style_sheets(page: Path) -> None:
    """The page's style sheets ask Google for fonts; the browser's own do as well and tell nobody."""
    for sheet in page.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        if "fonts.googleapis.com" in text:
            sheet.write_text(WEB_FONTS.sub("", text) + KOREAN_LINES, encoding="utf-8")
            for packed in (f"{sheet}.br", f"{sheet}.gz"):
                Path(packed).unlink(missing_ok=True)


def _page_policy(page: Path) -> str:
    """Only the page's own scripts run, and nothing is fetched from elsewhere, whatever stands in a record.

    The page shows records as HTML, and consults come from the web. Its own inline scripts are allowed by their hash.
    """
    sources = [path.read_text(encoding="utf-8") for path in page.rglob("*.html")]
    inline = {script for source in sources for script in INLINE_SCRIPT.findall(source)}
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in sorted(inline)]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'self'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; "
        "frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
    )


class PagePolicy:
    """Middleware: the headers that tell a browser what a page of ours may do."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app = app
        self.policy = policy.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", self.policy),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self.app(scope, receive, send_with_policy if scope["type"] == "http" else send)
