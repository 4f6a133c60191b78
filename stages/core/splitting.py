"""Consults to the parts that train SFT, get candidate answers, or are held out: similar ones never on two sides."""

import logging
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from scipy.cluster.hierarchy import DisjointSet

from stages.core.errors import KormedError
from stages.core.records import Consult, Dropped, Part

log = logging.getLogger("kormed")


def split(
    consults: Sequence[Consult],
    similar: Iterable[set[str]],
    *,
    heldout: float,
    preference: float,
    reuse: bool,
    seed: int,
) -> tuple[dict[Part, list[Consult]], list[Dropped]]:
    """The parts, and the consults that fit into none.

    Consults that were made of one raw consult, or that stand together in one set of `similar`, go to one part. In the
    held-out and the preference part a question stands once, whatever number of doctors answered it.

    Args:
        heldout: share of all consults that no training step sees; at least one.
        preference: share of the others that get candidate answers; at least one.
        reuse: SFT trains on the preference prompts too.

    Raises:
        KormedError: too few consults, or too few that are not like each other, for every part to get one.
    """
    if not consults:
        return {"sft": [], "preference": [], "heldout": []}, []
    groups = grouped(consults, similar)
    random.Random(seed).shuffle(groups)
    if len(groups) < 2:
        raise KormedError(
            f"{len(consults)} consult{'s' * (len(consults) != 1)} in {len(groups)} group of similar ones: too few to "
            f"split; at least 2 groups were wanted (prepare.consults; prepare.heldout_consults holds some out)"
        )
    held, rest = take(groups, max(1, round(len(consults) * heldout)), leave=1)
    chosen, others = take(rest, max(1, round(sum(map(len, rest)) * preference)), leave=0)
    asked, again = once(flat(chosen))
    kept, repeats = once(flat(held))
    trained = flat(rest) if reuse else flat(others)
    if not trained:
        log.info("prepare: no consult is left for SFT; all of them are preference prompts or held out")
    dropped = [_repeats(consult, "held-out") for consult in repeats]
    dropped += [] if reuse else [_repeats(consult, "preference") for consult in again]
    return {"sft": trained, "preference": asked, "heldout": kept}, dropped


def grouped(consults: Sequence[Consult], similar: Iterable[set[str]]) -> list[list[Consult]]:
    """The consults in groups that must not be torn apart, sorted by id so that the file's order does not matter."""
    by_id = {consult.id: consult for consult in sorted(consults, key=lambda consult: consult.id)}
    groups = DisjointSet(by_id)
    by_raw: dict[str, set[str]] = {}
    for consult in consults:
        by_raw.setdefault(consult.raw_id or consult.id, set()).add(consult.id)
    for together in (*by_raw.values(), *similar):
        for one, other in pairwise(together & by_id.keys()):
            groups.merge(one, other)
    return [[by_id[id] for id in sorted(group)] for group in groups.subsets()]


def take(groups: list[list[Consult]], wanted: int, *, leave: int) -> tuple[list[list[Consult]], list[list[Consult]]]:
    """As many groups from the front as hold `wanted` consults, leaving at least `leave` groups; and the rest."""
    at, held = 0, 0
    while at < len(groups) - leave and held < wanted:
        held += len(groups[at])
        at += 1
    return groups[:at], groups[at:]


def once(consults: Iterable[Consult]) -> tuple[list[Consult], list[Consult]]:
    """The first consult of each raw consult, and the others, which ask the same question again."""
    first: dict[str, Consult] = {}
    others = []
    for consult in consults:
        if first.setdefault(consult.raw_id or consult.id, consult) is not consult:
            others.append(consult)
    return list(first.values()), others


def flat(groups: Iterable[list[Consult]]) -> list[Consult]:
    return [consult for group in groups for consult in group]


def _repeats(consult: Consult, part: str) -> Dropped:
    reason = f"another answer to a question of the {part} part"
    return Dropped(id=consult.id, reason=reason, text=consult.question, hit=consult.raw_id)
