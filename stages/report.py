"""report: everything measured in, report.html (self-contained, Korean and English) and report.md of the same numbers.

Without `evaluate_dpo` it is base against SFT. Checkpoints that were not asked the same questions in the same
way stop it.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import Environment
from markupsafe import Markup

from stages.core import (
    agreement_page,
    answer_form,
    beside,
    cost,
    data_page,
    figures,
    findings,
    learning,
    model_card,
    plots,
    preference_side,
    published,
    report_pictures,
    statistics,
    wording,
)
from stages.core.contaminated import read_contaminated, without_contaminated
from stages.core.elsewhere import elsewhere
from stages.core.languages import ENGLISH, Language, korean
from stages.core.pages import environment
from stages.core.recipe import Report
from stages.core.records import Consult, read_jsonl
from stages.core.variants import variant_rows

log = logging.getLogger("kormed")

Values = dict[str, Any]  # names in the templates
Trained = Literal["sft", "dpo"]

EXAMPLES = 3  # dropped rows shown for each reason


def run(
    config: Report,
    out: Path,
    *,
    prepare: Path,
    sft: Path,
    evaluate_base: Path,
    evaluate_sft: Path,
    candidates: Path | None = None,
    agreement: Path | None = None,
    preferences: Path | None = None,
    dpo: Path | None = None,
    evaluate_dpo: Path | None = None,
    winrate: Path | None = None,
) -> dict[str, float]:
    base, tuned = findings.read_evaluation("base", evaluate_base), findings.read_evaluation("sft", evaluate_sft)
    preferred = findings.read_evaluation("dpo", evaluate_dpo) if evaluate_dpo else None
    evaluations = [base, tuned, *([preferred] if preferred else [])]
    findings.require_pairs(evaluations)
    folders = (
        prepare,
        sft,
        candidates,
        agreement,
        preferences,
        dpo,
        evaluate_base,
        evaluate_sft,
        evaluate_dpo,
        winrate,
    )
    artifacts = [findings.manifest_of(folder) for folder in folders if folder]
    rows = findings.rows(evaluations)
    shown = findings.side_by_side(tuned, preferred, config.side_by_side)
    eda = findings.read_eda(prepare / "eda.json")
    questions = {subset: splits["test"] for subset, splits in eda.benchmark.items()}
    contaminated = read_contaminated(prepare / "hits.jsonl")
    costs = cost.costs(artifacts)
    values: Values = {
        "name": prepare.parent.name,
        "finished": max(manifest.finished_at for manifest in artifacts)[:10],
        "evaluations": evaluations,
        "settings": base.settings,
        "benchmark": artifacts[0].config.get("benchmark"),
        "rows": rows,
        "end": plots.ticks(0, max(100 * cell.score.interval.high for row in rows for cell in row.cells), 5)[-1],
        "contrasts": findings.contrasts(evaluations),
        "readings": beside.readings(evaluations),
        "unread": beside.unread(evaluations),
        "variants": variant_rows(evaluations),
        "clean": without_contaminated(evaluations, contaminated) if contaminated else None,
        "elsewhere": elsewhere(evaluations),
        **published_beside(base.settings, questions, evaluations),
        "uneven": findings.uneven(evaluations),
        "sft_log": findings.read_log(sft / "log.jsonl"),
        "sft_dropped": findings.reasons(sft / "dropped.jsonl", 0),
        "sft_epochs": findings.epochs(sft / "log.jsonl"),
        "dpo_log": findings.read_log(dpo / "log.jsonl") if dpo else [],
        "dpo_dropped": findings.reasons(dpo / "dropped.jsonl", 0) if dpo else [],
        "dpo_epochs": findings.epochs(dpo / "log.jsonl") if dpo else 0.0,
        "proof": findings.read_facts(dpo / "proof.json", findings.Proof) if dpo else None,
        "eda": eda,
        "dropped": findings.reasons(prepare / "dropped.jsonl", EXAMPLES),
        "consults": {
            part: len(read_jsonl(prepare / "consults" / f"{part}.jsonl", Consult)) for part in ("preference", "heldout")
        },
        "generated": findings.read_generated(candidates) if candidates else None,
        "labels": findings.read_facts(preferences / "labels.json", findings.Labels) if preferences else None,
        "pairs": findings.count_preferences(preferences) if preferences else None,
        "agreement": findings.read_agreement(agreement / "agreement.json") if agreement else None,
        "winrate": findings.read_facts(winrate / "winrate.json", findings.Winrate) if winrate else None,
        "preference_side": preference_side.read(dpo, preferences) if dpo and preferences else None,
        "answer_form": answer_form.measure(tuned.heldout, preferred.heldout if preferred else None)
        if tuned.heldout
        else None,
        "costs": costs,
        "cost_totals": cost.totals(costs),
        "side_by_side": shown,
        "heldout_answers": len(tuned.heldout),
        "artifacts": artifacts,
        "library_sets": findings.library_sets(artifacts),
    }
    bodies = [(language, Markup(body(language, values))) for language in (korean(), ENGLISH)]
    page = environment().get_template("report.html.j2").render(name=values["name"], bodies=bodies)
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "report.md").write_text(markdown(values), encoding="utf-8")
    trained: tuple[Trained, ...] = ("sft", "dpo") if preferred else ("sft",)
    for checkpoint in trained:
        (out / checkpoint).mkdir(exist_ok=True)
        (out / checkpoint / "README.md").write_text(card(checkpoint, values), encoding="utf-8")
    log.info("report: %d checkpoints on %d questions", len(evaluations), rows[-1].questions)
    return {"checkpoints": len(evaluations), "questions": rows[-1].questions, "side_by_side": len(shown)}


def published_beside(
    settings: findings.Settings, questions: Mapping[str, int], evaluations: Sequence[findings.Evaluation]
) -> Values:
    """Published figures, where this is the recipe that they are of; nothing else has a place beside them."""
    found = published.beside(settings.base, settings.limit, questions)
    by_source = {
        checkpoint: {(f.source.id, f.model): f for figures in by_subset.values() for f in figures}
        for checkpoint, by_subset in found.items()
    }
    columns = [(e.checkpoint, list(by_source.get(e.checkpoint, {}).values())) for e in evaluations]
    cells = {
        (checkpoint, subset, f.source.id, f.model): f
        for checkpoint, by_subset in found.items()
        for subset, figures in by_subset.items()
        for f in figures
    }
    sources = {figure.source.id: figure.source for _, figures in columns for figure in figures}
    return {"published": cells, "published_columns": columns, "published_sources": list(sources.values())}


def body(language: Language, values: Values) -> str:
    """The whole page in one language, as it stands within report.html."""
    templates = templates_in(language, is_html=True)
    said = sentences(language, values)
    found = {"sections": sections(language, values), **pictures(language, values), **said}
    return templates.get_template("report/body.html.j2").render(values | found)


def markdown(values: Values) -> str:
    templates = templates_in(ENGLISH, is_html=False)
    return templates.get_template("report.md.j2").render(
        values | pictures(ENGLISH, values) | sentences(ENGLISH, values)
    )


def card(checkpoint: Trained, values: Values) -> str:
    """The model card of an adapter, to stand beside it as README.md where it is shared."""
    names = ("name", "evaluations", "rows", "contrasts", "artifacts", "eda", "labels", "pairs", "winrate")
    return model_card.render(
        checkpoint,
        **{name: values[name] for name in names},
        heldout=side.accuracy if (side := values["preference_side"]) else None,
        dropped=values[f"{checkpoint}_dropped"],
        epochs=values[f"{checkpoint}_epochs"],
    )


def sections(language: Language, values: Values) -> list[tuple[str, str]]:
    """Those that this run has something for: file of the template, and how the contents call it."""
    wanted = (
        ("accuracy", "Accuracy", True),
        ("differences", "Differences", True),
        ("beside", "Other readings", True),
        ("elsewhere", "Other benchmarks", values["elsewhere"]),
        ("preference", "Preference", values["preference_side"] or values["answer_form"]),
        ("round_two", "Round two", values["winrate"]),
        ("answers", "Answers", True),
        ("training", "Training", True),
        ("data", "Data", True),
        ("labels", "Labels", values["generated"] or values["labels"]),
        ("cost", "Cost", True),
        ("provenance", "Provenance", True),
        ("limits", "Limits", True),
    )
    return [(name, language.translate(heading)) for name, heading, there in wanted if there]


def sentences(language: Language, values: Values) -> Values:
    """What is said of the run as a whole."""
    wording, said = language.modules["wording"], language.modules["costs_said"]
    labels, pairs, winrate, rows = values["labels"], values["pairs"], values["winrate"], values["rows"]
    side = values["preference_side"]
    annotators = list(labels.annotators) if labels else []
    note = wording.simulated_among(annotators)
    has_dpo = len(values["evaluations"]) > 2
    return {
        "summary": wording.summary(
            values["settings"].base,
            wording.seen(values["eda"].rows - findings.total(values["sft_dropped"]), values["sft_epochs"]),
            wording.seen(pairs[0] - findings.total(values["dpo_dropped"]), values["dpo_epochs"])
            if pairs and has_dpo
            else None,
            rows[-1],
            values["contrasts"],
            winrate,
            annotators,
            side.accuracy if side else None,
        ),
        "simulated": note,
        "winrate_simulated": wording.simulated_among(winrate.annotators) if winrate else "",
        "sft_remarks": [wording.remark(found) for found in learning.loss_remarks(values["sft_log"])],
        "dpo_remarks": [wording.remark(found) for found in learning.dpo_remarks(values["dpo_log"], pairs[1])]
        if values["dpo_log"] and pairs
        else [],
        "cost_rows": [
            (row.stage, said.time(row), row.device, said.gpu_hours(row), said.memory(row)) for row in values["costs"]
        ],
        "limits": wording.limits(rows[-1], note, texts_shown(values), winrate),
    }


def texts_shown(values: Values) -> int:
    """Answers side by side and rows that were left out: texts that may be patients'."""
    return len(values["side_by_side"]) + sum(len(reason.examples) for reason in values["dropped"])


def pictures(language: Language, values: Values) -> Values:
    proof, winrate = values["proof"], values["winrate"]
    return {
        "forest": report_pictures.forest(language, values["contrasts"]),
        "sft_charts": report_pictures.charts(language, values["sft_log"], "sft", report_pictures.SFT_CHARTS),
        "dpo_charts": report_pictures.charts(language, values["dpo_log"], "dpo", report_pictures.dpo_charts(proof))
        if proof
        else [],
        "winrate_picture": report_pictures.win_rate(language, winrate) if winrate else None,
    }


def templates_in(language: Language, *, is_html: bool) -> Environment:
    templates = environment(is_html=is_html, language=language)
    templates.filters |= {
        "duration": language.modules["costs_said"].duration,
        "markdown": wording.markdown,
        "signed": figures.signed,
        "unbroken": wording.unbroken,
        "yaml": as_yaml,
    }
    templates.globals |= {
        "plots": plots,
        "statistics": statistics,
        "Markup": Markup,
        **data_page.names(language),
        **agreement_page.names(language),
    }
    return templates


def as_yaml(section: dict[str, Any]) -> str:
    return yaml.safe_dump(section, allow_unicode=True, sort_keys=False)
