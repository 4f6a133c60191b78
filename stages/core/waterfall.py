"""What became of every row, step by step: drops, changes and hits of one run of prepare, and of the stages before."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from stages.core.decontamination import KINDS, REASONS, Hit
from stages.core.eda import FlowStep, Hits, What
from stages.core.records import Consult, Decision, Dropped, Part, RawConsult, read_jsonl

log = logging.getLogger("kormed")


@dataclass
class Waterfall:
    """Grows as prepare goes on; `steps` begins with those of the stages before it."""

    steps: list[FlowStep] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    dev_hits: list[Hit] = field(default_factory=list)  # reported only: dev questions are not trained on
    masks: Counter[str] = field(default_factory=Counter)  # masked personal details by type

    def drop(self, step: str, what: What, before: int, dropped: Sequence[Dropped]) -> set[str]:
        """Enter a step that had `before` rows and lost `dropped` of them; their ids come back."""
        reasons = Counter(row.reason for row in dropped)
        self.steps.append(
            FlowStep(step=step, what=what, before=before, dropped=dict(reasons), after=before - len(dropped))
        )
        self.dropped += dropped
        for reason, count in reasons.items():
            log.info("prepare: dropped %d of %d %s: %s", count, before, what, reason)
        return {row.id for row in dropped}

    def split(self, before: int, parts: Mapping[Part, Sequence[Consult]], unused: Sequence[Dropped]) -> None:
        """Enter the split: held-out consults and preference prompts are set aside, as far as SFT does not use them."""
        trained = {consult.id for consult in parts["sft"]}
        asked = sum(consult.id not in trained for consult in parts["preference"])
        aside = {"held out from all training": len(parts["heldout"]), "for candidate answers": asked}
        reasons = Counter(row.reason for row in unused)
        self.steps.append(
            FlowStep(
                step="split",
                what="consults",
                before=before,
                dropped=dict(reasons),
                set_aside={use: rows for use, rows in aside.items() if rows},
                after=len(trained),
            )
        )
        self.dropped += unused

    def hit_counts(self) -> tuple[Hits, ...]:
        """Rows that are like an item of the benchmark, by how; each row once, by its gravest likeness."""
        gravest: dict[str, Hit] = {}
        for hit in self.hits:
            if hit.against == "benchmark":
                gravest.setdefault(hit.row_id, hit)
        kinds = Counter((hit.kind, hit.dropped) for hit in gravest.values())
        found = [
            Hits(reason=REASONS[kind], dropped=kinds[kind, True], kept=kinds[kind, False])
            for kind in KINDS
            if kinds[kind, True] or kinds[kind, False]
        ]
        if dev := len({hit.row_id for hit in self.dev_hits}):
            found.append(Hits(reason="dev questions, which are not trained on", dropped=0, kept=dev))
        return tuple(found)

    def rule_counts(self, rules: Iterable[str]) -> dict[str, int]:
        """Rows that each of the named rules changed or dropped."""
        changed = {(decision.rule, decision.id) for decision in self.decisions}  # one for each field of a row
        done = Counter([rule for rule, _ in changed] + [row.reason for row in self.dropped])
        return {rule: done[rule] for rule in rules if done[rule]}


def masks_of(restructure: Path) -> Counter[str]:
    """What restructure masked, by type, before and after the rewrite and wherever it stood."""
    times = json.loads((restructure / "masked.json").read_text(encoding="utf-8"))
    return sum((Counter(types) for places in times.values() for types in places.values()), Counter())


def steps_before(collect: Path | None, import_: Path | None, restructure: Path | None) -> list[FlowStep]:
    """The steps of the stages that prepare's consults come from, out of their artifacts."""
    source = collect or import_  # beside collected consults, import_ holds questions alone
    if restructure is None or source is None:
        return []
    raw = read_jsonl(source / "consults.jsonl", RawConsult)
    reasons = _reasons(source / "dropped.jsonl", {consult.id for consult in raw})
    more = 0 if collect else sum(len(consult.answers) - 1 for consult in raw)  # a row of the file each
    first = FlowStep(
        step="collect" if collect else "import",
        what="consults",
        before=len(raw) + more + sum(reasons.values()),
        dropped=reasons,
        set_aside={"one more answer to a consult": more} if more else {},
        after=len(raw),
    )
    made = read_jsonl(restructure / "consults.jsonl", Consult)
    reasons = _reasons(restructure / "dropped.jsonl", {consult.raw_id or consult.id for consult in made})
    return [first, FlowStep(step="restructure", what="consults", before=len(raw), dropped=reasons, after=len(made))]


def _reasons(path: Path, kept: Set[str]) -> dict[str, int]:
    """Dropped rows by reason, without what is told of the single row behind the colon.

    A dropped answer (`<consult>/<number>`) of a consult that was kept is no dropped consult.
    """
    gone = [row for row in read_jsonl(path, Dropped) if row.id.rpartition("/")[0] not in kept]
    return dict(Counter(row.kind for row in gone))
