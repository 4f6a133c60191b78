"""report: everything measured in, report.html (self-contained, Korean and English) and report.md of the same numbers.

Without `evaluate_dpo` it is base against SFT. Checkpoints that were not asked the same questions in the same
way stop it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment
from markupsafe import Markup

from stages.core import agreement_page, beside, data_page, findings, learning, plots, statistics, wording
from stages.core.languages import ENGLISH, Language, korean
from stages.core.pages import environment
from stages.core.pipeline import duration
from stages.core.recipe import Report
from stages.core.records import Checkpoint, Consult, read_jsonl

log = logging.getLogger("kormed")

Values = dict[str, Any]  # names in the templates

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
    values = {
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
        "uneven": findings.uneven(evaluations),
        "sft_log": findings.read_log(sft / "log.jsonl"),
        "sft_dropped": findings.reasons(sft / "dropped.jsonl", 0),
        "sft_epochs": findings.epochs(sft / "log.jsonl"),
        "dpo_log": findings.read_log(dpo / "log.jsonl") if dpo else [],
        "dpo_dropped": findings.reasons(dpo / "dropped.jsonl", 0) if dpo else [],
        "dpo_epochs": findings.epochs(dpo / "log.jsonl") if dpo else 0.0,
        "proof": findings.read_facts(dpo / "proof.json", findings.Proof) if dpo else None,
        "eda": findings.read_eda(prepare / "eda.json"),
        "dropped": findings.reasons(prepare / "dropped.jsonl", EXAMPLES),
        "consults": {
            part: len(read_jsonl(prepare / "consults" / f"{part}.jsonl", Consult)) for part in ("preference", "heldout")
        },
        "generated": findings.read_generated(candidates) if candidates else None,
        "labels": findings.read_facts(preferences / "labels.json", findings.Labels) if preferences else None,
        "pairs": findings.count_preferences(preferences) if preferences else None,
        "agreement": findings.read_agreement(agreement / "agreement.json") if agreement else None,
        "winrate": findings.read_facts(winrate / "winrate.json", findings.Winrate) if winrate else None,
        "side_by_side": shown,
        "heldout_answers": len(tuned.heldout),
        "artifacts": artifacts,
        "library_sets": findings.library_sets(artifacts),
    }
    bodies = [(language, Markup(body(language, values))) for language in (korean(), ENGLISH)]
    page = environment().get_template("report.html.j2").render(name=values["name"], bodies=bodies)
    (out / "report.html").write_text(page, encoding="utf-8")
    (out / "report.md").write_text(markdown(values), encoding="utf-8")
    log.info("report: %d checkpoints on %d questions", len(evaluations), rows[-1].questions)
    return {"checkpoints": len(evaluations), "questions": rows[-1].questions, "side_by_side": len(shown)}


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


def sections(language: Language, values: Values) -> list[tuple[str, str]]:
    """Those that this run has something for: file of the template, and how the contents call it."""
    wanted = (
        ("accuracy", "Accuracy", True),
        ("differences", "Differences", True),
        ("beside", "Other readings", True),
        ("round_two", "Round two", values["winrate"]),
        ("answers", "Answers", True),
        ("training", "Training", True),
        ("data", "Data", True),
        ("labels", "Labels", values["generated"] or values["labels"]),
        ("provenance", "Provenance", True),
        ("limits", "Limits", True),
    )
    return [(name, language.translate(heading)) for name, heading, there in wanted if there]


def sentences(language: Language, values: Values) -> Values:
    """What is said of the run as a whole."""
    wording = language.modules["wording"]
    labels, pairs, winrate, rows = values["labels"], values["pairs"], values["winrate"], values["rows"]
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
        ),
        "simulated": note,
        "winrate_simulated": wording.simulated_among(winrate.annotators) if winrate else "",
        "sft_remarks": [wording.remark(found) for found in learning.loss_remarks(values["sft_log"])],
        "dpo_remarks": [wording.remark(found) for found in learning.dpo_remarks(values["dpo_log"], pairs[1])]
        if values["dpo_log"] and pairs
        else [],
        "limits": wording.limits(rows[-1], note, len(values["side_by_side"]), winrate),
    }


def pictures(language: Language, values: Values) -> Values:
    proof, winrate = values["proof"], values["winrate"]
    return {
        "sft_charts": charts(language, values["sft_log"], "sft", [Chart("loss", "loss")]),
        "dpo_charts": charts(language, values["dpo_log"], "dpo", dpo_curves(proof)) if proof else [],
        "winrate_picture": win_rate_picture(language, winrate) if winrate else None,
    }


@dataclass(frozen=True)
class Chart:
    """A picture of the training log: a key over the steps, what it shows, the level drawn for comparison, and a second
    key on the same scale with its own name. Names are terms, which each language has its own word for.
    """

    key: str
    label: str
    level: float | None = None
    beside: str | None = None
    beside_label: str = ""


def charts(
    language: Language, logged: Sequence[dict[str, object]], hue: Checkpoint, wanted: Sequence[Chart]
) -> list[dict[str, Any]]:
    """Each with its curves; no picture where nothing was logged."""
    found = []
    for chart in wanted:
        line = plots.curve(logged, chart.key)
        beside = plots.curve(logged, chart.beside) if chart.beside else None
        picture = None
        if line.points:
            svg = plots.line_chart(
                line,
                label=language.term(chart.label),
                hue=hue,
                level=chart.level,
                beside=beside,
                beside_label=language.term(chart.beside_label),
                words=language.pictures,
            )
            picture = Markup(svg)
        shown = beside if beside and beside.points else None
        found.append({**asdict(chart), "curve": line, "beside": shown, "picture": picture})
    return found


def win_rate_picture(language: Language, winrate: findings.Winrate) -> Markup:
    wording = language.modules["wording"]
    low, win_rate, high = (100 * share for share in (winrate.low, winrate.win_rate, winrate.high))
    row = plots.Place(wording.DPO_BETTER, (low, win_rate, high), f"{win_rate:.1f} % ({low:.1f}–{high:.1f} %)", "dpo")
    return Markup(plots.intervals([row], label=wording.WIN_RATE, scale=plots.PERCENT, levels=(50,)))


def dpo_curves(proof: findings.Proof) -> list[Chart]:
    return [
        Chart("loss", "loss", proof.expected_loss),
        Chart("rewards/margins", "reward margin, chosen minus rejected", 0.0, "eval_rewards/margins", "held out"),
        Chart(
            "rewards/accuracies",
            "share of pairs with chosen above rejected",
            0.5,
            "eval_rewards/accuracies",
            "held out",
        ),
        Chart("logps/chosen", "log-probability of the chosen answers", None, "logps/rejected", "rejected"),
    ]


def templates_in(language: Language, *, is_html: bool) -> Environment:
    templates = environment(is_html=is_html, language=language)
    templates.filters |= {
        "duration": duration,
        "markdown": wording.markdown,
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
