"""agreement: comparisons and responses in; how far annotators agree, with themselves too, and what moves them out.

Writes agreement.json (`core.agreement.Agreement`) and agreement.html (self-contained; ids, no patient's text). Nobody
is dropped for what stands there: who is far off is named to the analyst.
"""

import logging
from dataclasses import asdict
from pathlib import Path

from stages.core import agreement_page, agreement_wording
from stages.core.agreement import measure
from stages.core.artifacts import write_json
from stages.core.errors import KormedError
from stages.core.recipe import Agreement
from stages.core.records import Comparison, Response, read_jsonl, read_whole_lines

log = logging.getLogger("kormed")


def run(config: Agreement, out: Path, *, candidates: Path, responses: Path) -> dict[str, float]:
    comparisons = read_jsonl(candidates / "comparisons.jsonl", Comparison)
    found = measure(comparisons, read_whole_lines(responses, Response), config)
    if not found.responses:
        raise KormedError(
            f"{responses}: no submitted response to the {len(comparisons)} comparisons of {candidates}; "
            f"label some (make label), then make pull"
        )
    write_json(out / "agreement.json", asdict(found))
    (out / "agreement.html").write_text(agreement_page.render(found, candidates.parent.name), encoding="utf-8")
    for sentence in agreement_wording.far_off(found):
        log.info("agreement: %s", sentence)
    measured = {
        "alpha": found.alpha.value,
        "alpha_low": found.alpha.low,
        "alpha_high": found.alpha.high,
        "self_consistency": found.repeats.same.value,
        "share_of_a": found.side_a.value,
        "share_of_longer": found.length.longer.value,
    }
    return {
        "responses": found.responses,
        "annotators": len(found.annotators),
        "comparisons": found.judged,
        "undecided": len(found.undecided),
        "flagged": found.flags.comparisons,
        "far_off": len(found.far_off),
        **{name: value for name, value in measured.items() if value is not None},
    }
