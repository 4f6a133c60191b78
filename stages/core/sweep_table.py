"""DPO adapters beside each other by held-out preference accuracy: which agrees more with people, and what is noise.

Values in, words out; the one that reads takes an artifact's `heldout.jsonl`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.artifacts import Manifest
from stages.core.errors import KormedError
from stages.core.pipeline import duration
from stages.core.records import Judged, read_jsonl
from stages.core.statistics import PairedTest, Score, p_text, paired_tests, smallest_shown

HELDOUT = "preferences:heldout.jsonl"  # among the inputs of DPO's manifest
HEADER = ("settings", "held-out accuracy (95 %)", "margin", "loss", "chosen logp", "steps", "took", "against the first")


@dataclass(frozen=True)
class Tried:
    """A DPO adapter. `agrees`: whether its policy agrees with the people, by held-out pair's id; at least one pair."""

    name: str
    manifest: Manifest
    agrees: dict[str, bool]

    @property
    def score(self) -> Score:
        return Score(sum(self.agrees.values()), len(self.agrees))


def agreements(heldout: Path) -> dict[str, bool]:
    """DPO's heldout.jsonl: a margin above 0 is the people's choice.

    Raises:
        KormedError: the file is missing or malformed.
    """
    return {judged.id: judged.margin > 0 for judged in read_jsonl(heldout, Judged)}


def ranked(tried: Sequence[Tried]) -> list[Tried]:
    """The most accurate first; of equally good ones the one with the larger mean margin."""
    return sorted(tried, key=lambda one: (-one.score.accuracy, -one.manifest.metrics["heldout_margin"]))


def rows(best_first: Sequence[Tried], tests: Sequence[PairedTest]) -> list[tuple[str, ...]]:
    """HEADER's cells, a row each; `tests` are those of all but the first."""
    return [row(one, test) for one, test in zip(best_first, [None, *tests], strict=True)]


def row(one: Tried, test: PairedTest | None) -> tuple[str, ...]:
    score, metrics = one.score, one.manifest.metrics
    return (
        one.name,
        f"{100 * score.accuracy:.1f} % ({100 * score.interval.low:.0f}-{100 * score.interval.high:.0f}), "
        f"{score.correct} of {score.questions}",
        f"{metrics['heldout_margin']:.4g}",
        f"{metrics['loss']:.4g}",
        f"{metrics['chosen_logps_change']:+.3g}",
        f"{metrics['steps']:.0f}",
        duration(one.manifest.seconds),
        "" if test is None else test.verdict,
    )


def against_best(best_first: Sequence[Tried]) -> list[PairedTest]:
    """Each of the others against the first, on the held-out pairs that both have (McNemar's exact test, Holm)."""
    best = best_first[0].agrees
    counts = []
    for other in best_first[1:]:
        both = [id for id in best if id in other.agrees]
        gained = sum(other.agrees[id] and not best[id] for id in both)
        lost = sum(best[id] and not other.agrees[id] for id in both)
        counts.append((len(both), gained, lost))
    return paired_tests(counts)


def noise(best_first: Sequence[Tried], tests: Sequence[PairedTest]) -> str:
    """Which differences the held-out pairs can show, and that the first was chosen by them."""
    pairs = len(best_first[0].agrees)
    if not tests:
        return f"One combination on {pairs} held-out pairs: nothing to compare it with."
    shown = sum(test.shown for test in tests)
    differing = max(test.gained + test.lost for test in tests)
    least = smallest_shown(differing)
    possible = (
        f"of the {differing} pairs that the first and another judge differently at most, one would have to be right in "
        f"{least} more than the other, before correction"
        if least is not None
        else f"the first and another judge at most {differing} pairs differently, too few to show anything"
    )
    verdict = (
        f"The first is shown to be better than {shown} of {len(tests)} others; the other differences are noise"
        if shown
        else "No difference to the first is shown: with so few held-out pairs all of it may be noise"
    )
    return (
        f"{verdict} ({pairs} held-out pairs, McNemar's exact test, Holm's correction, smallest "
        f"{p_text(min(test.adjusted for test in tests))}); {possible}. The first was chosen by these pairs, so its "
        f"accuracy is flattered; people's judgement of fresh answers is not (kormed winrate)."
    )


def require_same_pairs(tried: Sequence[Tried]) -> None:
    """
    Raises:
        KormedError: not all were held against the same held-out pairs.
    """
    first = tried[0]
    for other in tried[1:]:
        if other.manifest.inputs.get(HELDOUT) != first.manifest.inputs.get(HELDOUT):
            raise KormedError(
                f"{other.name} cannot be compared with {first.name}: other pairs were held out (other labels, or "
                f"another split); train both on the same preferences"
            )
        if not other.agrees.keys() & first.agrees.keys():
            raise KormedError(f"{other.name} and {first.name} judged no held-out pair in common (dpo.max_length)")


def unlike_inputs(tried: Sequence[Tried]) -> list[str]:
    """What else than DPO's settings is not the same for all, in words."""
    said = {
        "sft": "they start from different SFT adapters, so a difference is not of DPO's settings alone",
        "preferences:train.jsonl": "they were trained on different preference pairs",
    }
    return [words for name, words in said.items() if len({one.manifest.inputs.get(name) for one in tried}) > 1]
