"""prepare: exam questions and consults in, training rows, consult parts and a local benchmark out.

Writes `train.jsonl` (Example), `consults/preference.jsonl` and `consults/heldout.jsonl` (Consult), `dropped.jsonl`
(Dropped), `decisions.jsonl` (Decision), `hits.jsonl` (Hit: what was alike, dropped or kept), the pages `data.html` and
`contamination.html`, their numbers `eda.json`, and `benchmark/` in the hub's layout, from which `evaluate` asks the
very items that were decontaminated against.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.core import chat, data_page, eda, tokens
from stages.core.artifacts import write_json
from stages.core.consults import mask, read_consults, told
from stages.core.contamination_page import Counts, Settings, render_contamination
from stages.core.decontamination import Hit, Item, as_dropped, clusters, find_hits, near_duplicates
from stages.core.eda import Eda
from stages.core.exam_sources import Exam, ExamSources, count, read_exam_sources
from stages.core.kormedmcqa import Questions, Split, write_mirror
from stages.core.quality import RULES, clean
from stages.core.recipe import Prepare
from stages.core.records import Consult, Example, Part, read_jsonl, write_jsonl
from stages.core.splitting import split
from stages.core.waterfall import Waterfall, masks_of, steps_before

log = logging.getLogger("kormed")

ALARMING = 0.3  # share of the exam questions; KorMedMCQA loses 2 % of its own


def run(
    config: Prepare,
    out: Path,
    *,
    collect: Path | None = None,
    import_: Path | None = None,
    restructure: Path | None = None,
) -> dict[str, float]:
    sources = read_exam_sources(config, import_)
    questions, exam = sources.benchmark, sources.train
    waterfall = Waterfall([sources.step, *steps_before(collect, import_, restructure)])
    waterfall.decisions += sources.decisions
    waterfall.masks += masks_of(restructure) if restructure else Counter()
    consults = read_jsonl(restructure / "consults.jsonl", Consult) if restructure else read_file(config, waterfall)
    consults = improve(consults, config, waterfall)
    looked_at = len(exam), len(consults)
    exam, consults = decontaminate(exam, consults, sources, config, waterfall)
    exam, consults = deduplicate(exam, consults, config, waterfall)
    parts = divide(consults, config, waterfall)
    train = [chat.exam_example(id, question, source=id.rpartition("/train/")[0]) for id, question in exam.items()]
    train += [chat.consult_example(consult) for consult in parts["sft"]]

    (out / "consults").mkdir(exist_ok=True)
    write_mirror(questions, out / "benchmark")
    write_jsonl(out / "train.jsonl", train)
    write_jsonl(out / "consults" / "preference.jsonl", parts["preference"])
    write_jsonl(out / "consults" / "heldout.jsonl", parts["heldout"])
    write_jsonl(out / "dropped.jsonl", waterfall.dropped)
    write_jsonl(out / "decisions.jsonl", waterfall.decisions)
    write_jsonl(out / "hits.jsonl", [*waterfall.hits, *waterfall.dev_hits])
    facts = explore(config, questions, train, consults, parts, waterfall, restructure)
    write_json(out / "eda.json", facts.model_dump(mode="json"))
    (out / "data.html").write_text(data_page.render(facts, out.parent.name), encoding="utf-8")
    (out / "contamination.html").write_text(contamination(config, questions, *looked_at, waterfall), encoding="utf-8")
    counts: dict[str, float] = {"rows": len(train), "dropped": len(waterfall.dropped)}
    return counts | {f"consults_{part}": len(rows) for part, rows in parts.items()} | label_counts(facts)


def read_file(config: Prepare, waterfall: Waterfall) -> list[Consult]:
    """The consults of the user's file, masked."""
    if config.consults is None:
        return []
    consults = read_consults(config.consults)
    if not config.deidentify:
        log.info("prepare: %s is taken as it is, not de-identified (prepare.deidentify is false)", config.consults)
        return consults
    masked = [mask(consult) for consult in consults]
    for consult, masks in masked:
        waterfall.masks += masks
        waterfall.decisions += [told(consult.id, masks)] if masks else []
    return [consult for consult, _ in masked]


def improve(consults: Sequence[Consult], config: Prepare, waterfall: Waterfall) -> list[Consult]:
    """What the quality rules leave of the consults, and as they leave it."""
    cleaned = [clean(consult, config.quality) for consult in consults]
    waterfall.decisions += [decision for one in cleaned for decision in one.decisions]
    dropped = [one.dropped for one in cleaned if one.dropped is not None]
    if consults:
        waterfall.drop("quality", "consults", len(consults), dropped)
    return [one.consult for one in cleaned if one.consult is not None]


def decontaminate(
    exam: Exam, consults: Sequence[Consult], sources: ExamSources, config: Prepare, waterfall: Waterfall
) -> tuple[Exam, list[Consult]]:
    """The rows that do not stand in the benchmark's test and few-shot items, as far as the recipe's rule goes."""
    protected = split_items(sources, "test", "fewshot")
    rows = [*items(exam), *map(Item.of_consult, consults)]  # together, since to index the benchmark takes a while
    hits = find_hits(rows, protected, rule=config.decontaminate, threshold=config.near)
    exam_hits = [hit for hit in hits if hit.row_id in exam]
    consult_hits = [hit for hit in hits if hit.row_id not in exam]
    waterfall.dev_hits += find_hits(
        split_items(sources, "dev"),
        split_items(sources, "test"),  # few-shot items are taken from dev
        rule=config.decontaminate,
        threshold=config.near,
        kept_because="dev questions are not trained on",
    )
    return without(exam, exam_hits, consults, consult_hits, "decontamination", waterfall)


def deduplicate(
    exam: Exam, consults: Sequence[Consult], config: Prepare, waterfall: Waterfall
) -> tuple[Exam, list[Consult]]:
    """The rows that do not repeat an earlier one."""
    exam_hits = near_duplicates(items(exam), threshold=config.near)
    consult_hits = near_duplicates([Item.of_consult(consult) for consult in consults], threshold=config.near)
    return without(exam, exam_hits, consults, consult_hits, "duplicates", waterfall)


def split_items(sources: ExamSources, *splits: Split) -> list[Item]:
    return [
        Item.of(f"{sources.name}/{subset}/{split}/{row}", question)
        for subset, by_split in sources.benchmark.items()
        for split in splits
        for row, question in enumerate(by_split[split], start=1)
    ]


def items(exam: Exam) -> list[Item]:
    return [Item.of(id, question) for id, question in exam.items()]


def without(
    exam: Exam,
    exam_hits: Sequence[Hit],
    consults: Sequence[Consult],
    consult_hits: Sequence[Hit],
    step: str,
    waterfall: Waterfall,
) -> tuple[Exam, list[Consult]]:
    waterfall.hits += [*exam_hits, *consult_hits]
    gone = waterfall.drop(step, "exam questions", len(exam), as_dropped(exam_hits))
    if len(gone) > ALARMING * len(exam):
        log.warning("prepare: %s took %d of %d exam questions; see contamination.html", step, len(gone), len(exam))
    kept = {id: question for id, question in exam.items() if id not in gone}
    if not consults:
        return kept, []
    left = waterfall.drop(step, "consults", len(consults), as_dropped(consult_hits))
    return kept, [consult for consult in consults if consult.id not in left]


def divide(consults: Sequence[Consult], config: Prepare, waterfall: Waterfall) -> dict[Part, list[Consult]]:
    parts, unused = split(
        consults,
        clusters([Item.of_consult(consult) for consult in consults], threshold=config.near),
        heldout=config.heldout_consults,
        preference=config.preference_consults,
        reuse=config.reuse_sft_consults,
        seed=config.seed,
    )
    if consults:
        waterfall.split(len(consults), parts, unused)
    return parts


def explore(
    config: Prepare,
    questions: Questions,
    train: Sequence[Example],
    consults: Sequence[Consult],
    parts: Mapping[Part, Sequence[Consult]],
    waterfall: Waterfall,
    restructure: Path | None,
) -> Eda:
    """What the data looks like, for data.html and the final report."""
    missing = None
    try:
        count = tokens.counter(config.tokenizer or "", config.tokenizer_revision)
    except tokens.NoTokenizer as error:
        count, missing = None, str(error)
        log.info("prepare: tokens are not counted: %s", missing)
    all_consults = eda.measure([chat.consult_example(consult) for consult in consults], count)
    return Eda(
        benchmark={
            subset: {split: len(rows) for split, rows in splits.items()} for subset, splits in questions.items()
        },
        consult_parts={part: len(rows) for part, rows in parts.items()},
        flow=tuple(waterfall.steps),
        lengths=tuple(eda.measure(train, count)),
        consult_lengths=tuple(all_consults),
        label_tokens=() if count is None else tuple(eda.label_tokens(train, count)),
        letters=eda.letters(train),
        extremes=eda.extremes(train),
        tokenizer=None if missing else config.tokenizer,
        tokens_missing=missing,
        quality=waterfall.rule_counts(RULES),
        masks=dict(waterfall.masks) if config.deidentify or restructure else None,
        hits=waterfall.hit_counts(),
    )


def label_counts(facts: Eda) -> dict[str, float]:
    """What SFT's loss is taken of, by kind of row; nothing where no tokens were counted."""
    if not facts.label_tokens:
        return {}
    return {
        "label_tokens_exam": facts.labels("exam questions"),
        "label_tokens_consults": facts.labels("consults"),
        "label_share_consults": facts.label_share("consults"),
    }


def contamination(config: Prepare, questions: Questions, exam: int, consults: int, waterfall: Waterfall) -> str:
    """The page of everything that was alike."""
    protected = {"test": count(questions, "test"), "fewshot": count(questions, "fewshot")}
    return render_contamination(
        [*waterfall.hits, *waterfall.dev_hits],
        Counts(exam, consults, protected),
        Settings(config.decontaminate, config.near),
    )
