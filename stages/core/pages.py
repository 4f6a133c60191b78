"""What every page made of a template has in common."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.core.languages import ENGLISH, Language

TEMPLATES = Path(__file__).parent / "templates"


def environment(*, is_html: bool = True, language: Language = ENGLISH) -> Environment:
    """Templates of this folder: an unknown name is an error, and in HTML no text becomes markup.

    `_("…")` and `{% trans %}` say the template's own words in the language, `x | term` a phrase out of an artifact,
    `wording` and the other names of `Language.modules` are its sentences.
    """
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    templates.install_gettext_callables(  # type: ignore[attr-defined]  # the extension's
        language.translate, lambda one, many, count: language.translate(one if count == 1 else many), newstyle=True
    )
    templates.filters["term"] = language.term
    templates.globals |= {"code": language.code, **language.modules}
    return templates
