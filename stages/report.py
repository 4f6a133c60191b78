"""report: everything measured in, report.html (self-contained) and report.md from the same numbers out.

Without `evaluate_dpo` it is base against SFT. Checkpoints that were not asked the same questions in the same
way stop it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from stages.core import agreement_page, beside, data_page, findings, learning, plots, statistics, wording
from stages.core.pages import environment
from stages.core.pipeline import duration
from stages.core.recipe import Report
from stages.core.records import Checkpoint, Consult, read_jsonl

log = logging.getLogger("kormed")

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
    rows, contrasts = findings.rows(evaluations), findings.contrasts(evaluations)
    eda = findings.read_eda(prepare / "eda.json")
    labels = findings.read_facts(preferences / "labels.json", findings.Labels) if preferences else None
    pairs = findings.count_preferences(preferences) if preferences else None
    agreed = findings.read_agreement(agreement / "agreement.json") if agreement else None
    judged = findings.read_facts(winrate / "winrate.json", findings.Winrate) if winrate else None
    proof = findings.read_facts(dpo / "proof.json", findings.Proof) if dpo else None
    sft_dropped = findings.reasons(sft / "dropped.jsonl", 0)
    dpo_dropped = findings.reasons(dpo / "dropped.jsonl", 0) if dpo else []
    sft_epochs = findings.epochs(sft / "log.jsonl")
    dpo_epochs = findings.epochs(dpo / "log.jsonl") if dpo else 0.0
    shown = findings.side_by_side(tuned, preferred, config.side_by_side)
    note = wording.simulated(labels)
    page = {
        "name": prepare.parent.name,
        "finished": max(manifest.finished_at for manifest in artifacts)[:10],
        "summary": wording.summary(
            base.settings.base,
            wording.seen(eda.rows - findings.total(sft_dropped), sft_epochs),
            wording.seen(pairs[0] - findings.total(dpo_dropped), dpo_epochs) if pairs and preferred else None,
            rows[-1],
            contrasts,
            judged,
        ),
        "simulated": note,
        "evaluations": evaluations,
        "settings": base.settings,
        "benchmark": artifacts[0].config.get("benchmark"),
        "rows": rows,
        "end": plots.ticks(0, max(100 * cell.score.interval.high for row in rows for cell in row.cells), 5)[-1],
        "contrasts": contrasts,
        "readings": beside.readings(evaluations),
        "unread": beside.unread(evaluations),
        "uneven": findings.uneven(evaluations),
        "sft_charts": charts(sft, "sft", [Chart("loss", "loss")]),
        "sft_remarks": learning.loss_remarks(findings.read_log(sft / "log.jsonl")),
        "dpo_charts": charts(dpo, "dpo", dpo_curves(proof)) if dpo and proof else [],
        "dpo_remarks": learning.dpo_remarks(findings.read_log(dpo / "log.jsonl"), pairs[1]) if dpo and pairs else [],
        "proof": proof,
        "sft_dropped": sft_dropped,
        "sft_epochs": sft_epochs,
        "dpo_epochs": dpo_epochs,
        "dpo_dropped": dpo_dropped,
        "eda": eda,
        "dropped": findings.reasons(prepare / "dropped.jsonl", EXAMPLES),
        "consults": {
            part: len(read_jsonl(prepare / "consults" / f"{part}.jsonl", Consult)) for part in ("preference", "heldout")
        },
        "generated": findings.read_generated(candidates) if candidates else None,
        "labels": labels,
        "pairs": pairs,
        "agreement": agreed,
        "winrate": judged,
        "winrate_picture": win_rate_picture(judged) if judged else None,
        "winrate_simulated": wording.simulated_among(judged.annotators) if judged else "",
        "side_by_side": shown,
        "heldout_answers": len(tuned.heldout),
        "artifacts": artifacts,
        "library_sets": findings.library_sets(artifacts),
        "limits": wording.limits(rows[-1], note, len(shown), judged),
    }
    for name in ("report.html", "report.md"):
        (out / name).write_text(render(name, page), encoding="utf-8")
    log.info("report: %d checkpoints on %d questions", len(evaluations), rows[-1].questions)
    return {"checkpoints": len(evaluations), "questions": rows[-1].questions, "side_by_side": len(shown)}


@dataclass(frozen=True)
class Chart:
    """A picture of the training log: a key over the steps, what it shows, the level drawn for comparison, and a second
    key on the same scale with its own name.
    """

    key: str
    label: str
    level: float | None = None
    beside: str | None = None
    beside_label: str = ""


def charts(folder: Path, hue: Checkpoint, wanted: Sequence[Chart]) -> list[dict[str, Any]]:
    """Each with its curves; no picture where nothing was logged."""
    logged = findings.read_log(folder / "log.jsonl")
    found = []
    for chart in wanted:
        line = plots.curve(logged, chart.key)
        beside = plots.curve(logged, chart.beside) if chart.beside else None
        picture = None
        if line.points:
            svg = plots.line_chart(
                line, label=chart.label, hue=hue, level=chart.level, beside=beside, beside_label=chart.beside_label
            )
            picture = Markup(svg)
        shown = beside if beside and beside.points else None
        found.append({**asdict(chart), "curve": line, "beside": shown, "picture": picture})
    return found


def win_rate_picture(winrate: findings.Winrate) -> Markup:
    low, win_rate, high = (100 * share for share in (winrate.low, winrate.win_rate, winrate.high))
    row = plots.Place("DPO’s answer better", (low, win_rate, high), f"{win_rate:.1f} % ({low:.1f}–{high:.1f} %)", "dpo")
    return Markup(plots.intervals([row], label="DPO’s win rate", scale=plots.PERCENT, levels=(50,)))


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


def render(name: str, page: dict[str, Any]) -> str:
    templates = environment(is_html=name.endswith(".html"))
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
        **data_page.TEMPLATE_NAMES,
        **agreement_page.TEMPLATE_NAMES,
    }
    return templates.get_template(f"{name}.j2").render(page)


def as_yaml(section: dict[str, Any]) -> str:
    return yaml.safe_dump(section, allow_unicode=True, sort_keys=False)
