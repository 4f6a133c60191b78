"""winrate: pairs of SFT's and DPO's answers and what people said of them in, DPO's win rate with its interval out.

A strict majority of the submitted responses decides a comparison; a tie and two bad answers count half for each.
Consults to which both gave the same answer were not shown and are told apart (`identical`), not counted as ties.
Writes `winrate.json`.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy

from stages.core.artifacts import write_json
from stages.core.checkpoint_pairs import IDENTICAL, Outcome, outcome
from stages.core.errors import KormedError
from stages.core.recipe import HeadToHead
from stages.core.records import Comparison, Dropped, Response, is_simulated, read_jsonl, read_whole_lines
from stages.core.statistics import LEVEL, Interval, mcnemar, p_text, wilson
from stages.core.votes import majority, newest, submitted

log = logging.getLogger("kormed")

FEW = 40  # judged comparisons up to which Wilson's interval is the better one (Brown, Cai and DasGupta 2001)


def run(config: HeadToHead, out: Path, *, head_to_head: Path, verdicts: Path) -> dict[str, float]:
    comparisons = {row.id: row for row in read_jsonl(head_to_head / "comparisons.jsonl", Comparison)}
    identical = sum(row.kind == IDENTICAL for row in read_jsonl(head_to_head / "dropped.jsonl", Dropped))
    entered = read_whole_lines(verdicts, Response)
    if strangers := sum(response.comparison_id not in comparisons for response in entered):
        log.info("winrate: %d responses are to comparisons of other answers; they stay in the file", strangers)
    votes = {id: submitted(by_annotator) for id, by_annotator in newest(entered, comparisons, "compare").items()}
    choices = {id: majority(responses) for id, responses in votes.items()}
    outcomes = Counter(outcome(comparisons[id], choice) for id, choice in choices.items() if choice is not None)
    judged, unjudged = outcomes.total(), sum(not responses for responses in votes.values())
    counts = {
        "comparisons": len(comparisons),
        "identical": identical,
        "judged": judged,
        "undecided": len(comparisons) - judged - unjudged,
        "unjudged": unjudged,
        **{name: outcomes[name] for name in ("dpo", "sft", "tie", "both_bad")},
        "responses": sum(map(len, votes.values())),
    }
    if not judged:
        raise KormedError(
            f"{verdicts}: none of the {len(comparisons)} comparisons of {head_to_head} is decided "
            f"({counts['undecided']} undecided, {unjudged} without a submitted response); `make compare-label` shows "
            f"them to the annotators, `make pull` brings what they said"
        )
    range_95 = interval(outcomes, config)
    measured = {
        "win_rate": win_rate(outcomes),
        "low": range_95.low,
        "high": range_95.high,
        "p": mcnemar(outcomes["dpo"], outcomes["sft"]),  # the exact sign test
    }
    annotators = sorted({response.annotator for responses in votes.values() for response in responses})
    write_json(out / "winrate.json", {**counts, **measured, "annotators": annotators})
    log.info("winrate: %s", sentence(counts, measured))
    if simulated := [name for name in annotators if is_simulated(name)]:
        log.info("winrate: %d of %d annotators are simulated, by a rule", len(simulated), len(annotators))
    if judged <= FEW:
        log.info("winrate: %d are few, so the interval is at least as wide as Wilson's", judged)
    return counts | measured


def win_rate(outcomes: Counter[Outcome]) -> float:
    """DPO's share of the judged comparisons, 0 to 1. There is at least one."""
    return (outcomes["dpo"] + (outcomes["tie"] + outcomes["both_bad"]) / 2) / outcomes.total()


def interval(outcomes: Counter[Outcome], config: HeadToHead) -> Interval:
    """95 % interval of the win rate: the percentile bootstrap over consults, of few consults widened to Wilson's.

    Of 5 or 10 consults and a true win rate of 0.925 the bootstrap alone held it in 42 % and 66 % of 1,500 simulated
    rounds (five outcomes that are all alike give an interval without width), the wider of both in 99 %.
    """
    judged = outcomes.total()
    alike = outcomes["tie"] + outcomes["both_bad"]
    # Drawing consults with replacement is drawing their three outcomes from a multinomial distribution.
    shares = [outcomes["dpo"] / judged, alike / judged, outcomes["sft"] / judged]
    draws = numpy.random.default_rng(config.seed).multinomial(judged, shares, size=config.resamples)
    low, high = numpy.quantile((draws[:, 0] + draws[:, 1] / 2) / judged, (0.025, 0.975))
    if judged > FEW:
        return Interval(float(low), float(high))
    wins = outcomes["dpo"] + alike // 2  # of half a win, Wilson's bounds below and above it
    return Interval(min(float(low), wilson(wins, judged).low), max(float(high), wilson(wins + alike % 2, judged).high))


def sentence(counts: Mapping[str, int], measured: Mapping[str, float]) -> str:
    """What was found, in words that claim no more than the test does."""
    side = "DPO" if counts["dpo"] > counts["sft"] else "SFT"
    return (
        f"DPO preferred in {counts['dpo']} of {counts['judged']} judged comparisons, SFT in {counts['sft']}, neither "
        f"in {counts['tie'] + counts['both_bad']} ({counts['undecided']} undecided, {counts['unjudged']} not judged, "
        f"{counts['identical']} with the same answer): win rate {100 * measured['win_rate']:.0f} %, 95 % interval "
        f"{100 * measured['low']:.0f}-{100 * measured['high']:.0f} %, {p_text(measured['p'])}: "
        + (f"{side} is preferred" if measured["p"] < LEVEL else "no preference shown")
    )
