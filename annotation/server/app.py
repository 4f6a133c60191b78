"""The stock Argilla application, made to stand alone: own search engine, no Redis, nothing fetched from outside.

Import it only after `__main__` has set the environment: argilla_server reads it while it is imported.
"""

import base64
import hashlib
import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import argilla_server
import disk
import engine  # noqa: F401  registers itself; the server looks it up by name when it starts
import jobs
import korean
import privacy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from argilla_server import _app, database
from argilla_server.contexts import accounts
from argilla_server.database import ALEMBIC_CONFIG_FILE, AsyncSessionLocal, async_engine, sync_engine
from argilla_server.enums import UserRole
from argilla_server.models import User
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Korean is broken between words, where the page itself breaks within them. The answers stand side by side where there
# is room, and nothing is wide where it need not be, so that a comparison fits a laptop. What the hub would do is off.
STYLE = """
.content-area,.content-area *,.markdown-render *{word-break:keep-all!important;overflow-wrap:anywhere!important}
.text_field_component{padding:12px 16px!important;gap:4px!important}
.text_field_component .content-area{white-space:normal!important}
.text_field_component .content-area>div{white-space:pre-wrap!important}
.questions{gap:16px!important}
@media (min-width:1100px){
.record__content .fields{display:grid!important;grid-template-columns:1fr 1fr;align-content:start}
.record__content .fields>div{grid-column:1/-1;min-width:0}
.record__content .fields>div:nth-child(3),.record__content .fields>div:nth-child(4){grid-column:auto}
}
.record__content .fields>div:nth-child(3)>.text_field_component,
.record__content .fields>div:nth-child(4)>.text_field_component{height:100%}
.import-from-hub,.export-to-hub,.home__sidebar{display:none!important}
"""
WEB_FONTS = re.compile(r"@import url\(https?://fonts\.googleapis\.com/[^)]*\);?")
INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@event.listens_for(Engine, "connect")
def _durable(connection: object, _record: object) -> None:
    """An acknowledged answer survives a power cut (FULL), and readers do not wait for writers (WAL)."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten, not only marked as free
    cursor.execute("PRAGMA busy_timeout = 15000")  # milliseconds
    cursor.close()


def migrate(file: Path) -> None:
    """The database file with Argilla's newest tables.

    They are made in a copy, which then takes the file's place: what changes tables in SQLite is not one transaction,
    and half of it, after a kill or on a full disk, could neither be used nor be taken up again.
    """
    config = Config()  # not from the .ini file: that would reconfigure, and so silence, everybody's logging
    config.set_main_option("script_location", str(Path(ALEMBIC_CONFIG_FILE).with_name("alembic")))
    if _revision(file) == ScriptDirectory.from_config(config).get_current_head():
        return
    copy = file.with_name(f"{file.name}.new")
    for left in file.parent.glob(f"{copy.name}*"):
        left.unlink()
    if file.exists():
        with closing(sqlite3.connect(file)) as before, closing(sqlite3.connect(copy)) as after:
            before.backup(after)
        if Path(f"{file}-wal").exists():  # closing empties and removes it, unless the disk refuses
            raise RuntimeError(f"{file}-wal is still in use; was it opened by another program?")
    stock, database.database_url_sync = database.database_url_sync, lambda: f"sqlite:///{copy}"
    command.upgrade(config, "head")
    database.database_url_sync = stock
    copy.replace(file)


def _revision(file: Path) -> str | None:
    if not file.exists():
        return None
    with closing(sqlite3.connect(file)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or (None,)
    return revision


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


def create_app(origins: Sequence[str]) -> FastAPI:
    """The application for these origins (http://127.0.0.1:6900), which are all that a browser may reach it by."""
    app = argilla_server.app
    for one in (async_engine.sync_engine, sync_engine):
        one.hide_parameters = True  # else the log of a failed statement holds what somebody wrote about a patient
    _app.configure_redis = lambda: None  # its start-up ping; looked up as a global of the module when the app starts
    jobs.run_in_process()
    disk.acknowledge_what_is_kept()
    privacy.keep()
    page = next(Path(route.app.directory) for route in app.routes if getattr(route, "name", None) == "static")
    _mend_style_sheets(page)
    _add_korean(page)
    app.add_middleware(disk.Refusals)
    app.add_middleware(jobs.Off)
    app.add_middleware(PagePolicy, policy=_page_policy(page))
    app.add_middleware(OwnOrigin, origins=origins)
    # Without this a page elsewhere could reach the server by pointing its own host name at 127.0.0.1.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted({str(urlsplit(one).hostname) for one in origins}))
    return app


def _mend_style_sheets(page: Path) -> None:
    """The page's style sheets ask Google for fonts; the browser's own do as well and tell nobody. Ours stands last."""
    for sheet in page.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        if "fonts.googleapis.com" in text:
            sheet.write_text(WEB_FONTS.sub("", text) + STYLE, encoding="utf-8")
            for packed in (f"{sheet}.br", f"{sheet}.gz"):
                Path(packed).unlink(missing_ok=True)


def _add_korean(page: Path) -> None:
    """The page has a language for each browser's that it knows; teach it Korean. Another Argilla stays English."""
    known, loader = '{code:"ja",name:"日本語",file:"ja.js"}', '"ja.js":function'
    for script in page.glob("_nuxt/*.js"):
        text = script.read_text(encoding="utf-8")
        if known not in text or loader not in text:
            continue
        messages = json.dumps(korean.MESSAGES, ensure_ascii=False)
        text = text.replace(known, known + ',{code:"ko",name:"한국어",file:"ko.js"}')
        text = text.replace('localeCodes:["en","de","es","ja"]', 'localeCodes:["en","de","es","ja","ko"]')
        text = text.replace(loader, f'"ko.js":function(){{return Promise.resolve({messages})}},{loader}')
        script.write_text(text, encoding="utf-8")
        for packed in (f"{script}.br", f"{script}.gz"):
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


class OwnOrigin:
    """Middleware: refuses what another site's page sends. Browsers say where a page comes from, programs do not."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app = app
        self.origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.origins.issuperset(Headers(scope=scope).getlist("origin")):
            sentence = "kormed's embedded Argilla: a page from elsewhere may send nothing here"
            await JSONResponse({"detail": sentence}, status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


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
