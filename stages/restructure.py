"""restructure: raw consults in, consults out: de-identified, one answer chosen, rewritten by an LLM, checked.

Writes `consults.jsonl` (Consult), `dropped.jsonl` (Dropped), `decisions.jsonl` (Decision: what was tidied, which
answer, what was masked, what was rejected before), `masked.json` (masks by place and type) and, where a model rewrites,
`rewrites.jsonl` (Rewrite: each rewrite beside its masked original) and `prompt.md`. Every text in them is masked. A
stopped run goes on behind the last finished consult; what it finished counts only if original, prompt and model are
still the same.
"""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stages.core.artifacts import write_json
from stages.core.errors import KormedError
from stages.core.recipe import Restructure
from stages.core.records import (
    Consult,
    Dropped,
    RawConsult,
    append_jsonl,
    read_appended,
    read_jsonl,
    write_jsonl,
)
from stages.core.restructuring import Original, as_it_is, count_masks, decide, mask_consult, refused, row, select
from stages.core.rewriters import Rewrites, rewrite_on_server, server_address
from stages.core.rewriting import Pending, Rewrite, digest, load_prompt

log = logging.getLogger("kormed")

PROGRESS_SECONDS = 5.0  # from one line to the next


def run(
    config: Restructure, out: Path, *, collect: Path | None = None, import_: Path | None = None
) -> dict[str, float]:
    folder, source = (collect, "hidoc") if collect is not None else (import_, "import")
    if folder is None:
        raise KormedError("restructure: neither collected nor imported consults; give the recipe collect or import")
    prompt = ready(config)
    raws = read_raw(folder / "consults.jsonl", config)
    originals = [mask_consult(raw, config.max_characters, config.answer_characters[1]) for raw in raws]
    chosen, dropped = select(config, originals)
    usable = [original for original in originals if original.id in chosen]
    rewrites = rewrite_all(config, prompt, out, usable)
    consults, decisions = [], []
    for original in usable:
        done = rewrites[original.id]
        if done.taken is None:
            dropped.append(refused(done))
            continue
        for one in chosen[original.id]:
            consult = row(config.answers == "each", original, one, done.taken, source)
            consults.append(consult)
            decisions += decide(consult.id, original, one, done)
    masks = count_masks(originals, rewrites.values())
    write_jsonl(out / "consults.jsonl", consults)
    write_jsonl(out / "dropped.jsonl", dropped)
    write_jsonl(out / "decisions.jsonl", decisions)
    write_json(out / "masked.json", masks)
    return metrics(consults, dropped, [rewrite for rewrite in rewrites.values() if rewrite.tries], masks)


def ready(config: Restructure) -> str:
    """The prompt. What would stop the rewriter stops here, before minutes of masking.

    Raises:
        KormedError: a bad prompt, or a server is to rewrite and none is named.
    """
    if config.rewriter.kind == "server":
        server_address()
    return load_prompt(config.prompt)


def read_raw(path: Path, config: Restructure) -> list[RawConsult]:
    """The collected or imported consults.

    Raises:
        KormedError: there are none, an id stands there twice, or the rule for answers has nothing to go by.
    """
    raws = read_jsonl(path, RawConsult)
    if not raws:
        raise KormedError(f"{path}: no consults in it; collect or import some first")
    if twice := [id for id, count in Counter(raw.id for raw in raws).items() if count > 1]:
        raise KormedError(f"{path}: id {twice[0]!r} stands there twice; ids must be unique")
    counted = any(answer.recommendations is not None for raw in raws for answer in raw.answers)
    if config.answers == "most_recommended" and not counted:
        raise KormedError(
            f"{path}: restructure.answers is most_recommended, and no answer has a number of recommendations; set it "
            f"to longest_in_bounds or each (or name their column: import.consults.columns.recommendations)"
        )
    return raws


def rewrite_all(config: Restructure, prompt: str, out: Path, originals: Sequence[Original]) -> dict[str, Rewrite]:
    """A rewrite of each, by the recipe's rewriter; with `none` title, body and patient information as they are."""
    if config.rewriter.kind == "none":
        return {original.id: as_it_is(original) for original in originals}
    rewrites = rewrite(config, prompt, out / "rewrites.jsonl", originals)
    write_jsonl(out / "rewrites.jsonl", rewrites.values())  # in the consults' order, whatever came first
    (out / "prompt.md").write_text(prompt, encoding="utf-8")
    return rewrites


def rewrite(config: Restructure, prompt: str, file: Path, originals: Sequence[Original]) -> dict[str, Rewrite]:
    """A rewrite of each; those that stand in `file` from a stopped run are kept, the others are asked for."""
    model = " ".join(filter(None, (config.rewriter.kind, config.rewriter.model, config.rewriter.revision)))
    pending = [Pending(one.id, one.text, digest(one.text, prompt, model)) for one in originals]
    found = finished(file, pending, config.rewriter.tries)
    if found:
        log.info("restructure: going on behind %d of %d consults", len(found), len(pending))
    told = time.monotonic()

    def keep(row: Rewrite) -> None:
        nonlocal told
        append_jsonl(file, [row])
        found[row.id] = row
        if time.monotonic() - told >= PROGRESS_SECONDS or len(found) == len(pending):
            told = time.monotonic()
            failed = sum(row.question is None for row in found.values())
            log.info("restructure: %d of %d consults, %d of them rejected", len(found), len(pending), failed)

    if len(found) < len(pending):
        rewrites = rewriter_of(config.rewriter.kind)
        rewrites(config.rewriter, config.seed, prompt, pending, frozenset(found), keep)
    return {original.id: found[original.id] for original in originals}


def finished(file: Path, pending: Sequence[Pending], tries: int) -> dict[str, Rewrite]:
    """What a stopped run left of these, by id. A rejected one counts only if it had as many tries as there are now."""
    made_of = {one.id: one.made_of for one in pending}
    return {
        row.id: row
        for row in read_appended(file, Rewrite)
        if row.made_of == made_of.get(row.id) and (row.taken or row.tries >= tries)
    }


def rewriter_of(kind: str) -> Rewrites:
    """The function that asks; only the local one needs torch, and so only then it is imported."""
    if kind == "server":
        return rewrite_on_server
    from stages.core.local_rewriter import rewrite_locally

    return rewrite_locally


def metrics(
    consults: Sequence[Consult],
    dropped: Sequence[Dropped],
    rewrites: Sequence[Rewrite],
    masks: dict[str, dict[str, dict[str, int]]],
) -> dict[str, float]:
    reasons = Counter(row.kind for row in dropped)
    for reason, count in sorted(reasons.items()):
        log.info("restructure: dropped %d: %s", count, reason)
    if not consults:
        log.warning("restructure: no consult is left; dropped.jsonl has the reasons")
    return {
        "consults": len(consults),
        "dropped": len(dropped),
        "rewritten_first_try": sum(row.question is not None and row.tries == 1 for row in rewrites),
        "retried": sum(row.tries > 1 for row in rewrites),
        "rejected": sum(row.question is None for row in rewrites),
        "masks": sum(count for places in masks.values() for counts in places.values() for count in counts.values()),
    }
