"""What annotators entered and what became of it, in numbers: preferences' `labels.json`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, get_args

from stages.core.preference_lengths import lengths
from stages.core.records import Choice, Dropped, Preference, Response
from stages.core.votes import Votes, submitted


def labels(
    votes: Votes, rulings: Votes, preferences: Sequence[Preference], dropped: Sequence[Dropped]
) -> dict[str, Any]:
    """`votes` are the annotators', `rulings` the adjudicators', by the same comparisons.

    Responses, values, annotators, overlap and agreement (the share of pairs of responses to the same comparison that
    say the same, not corrected for chance; None where no comparison was judged twice) are of annotators only. `overlap`
    is how many comparisons have so many submitted responses; `adjudicated` is of the preferences, `unsafe` of all.
    """
    responses = [response for by_name in votes.values() for response in by_name.values()]
    own = [response for response in responses if response.status == "submitted"]
    counted = {id: submitted(by_name) for id, by_name in votes.items()}
    pairs = [(one.value, other.value) for opinions in counted.values() for one, other in combinations(opinions, 2)]
    balance = lengths(preferences)
    return {
        "responses": {s: sum(r.status == s for r in responses) for s in ("submitted", "draft", "discarded")},
        "values": values(own),
        "annotators": {
            name: {
                "submitted": sum(r.annotator == name for r in own),
                **values([r for r in own if r.annotator == name]),
            }
            for name in sorted({r.annotator for r in own})
        },
        "comparisons": len(votes),
        "labelled": sum(any(r.status == "submitted" for r in by_name.values()) for by_name in votes.values()),
        "overlap": {str(n): count for n, count in sorted(Counter(map(len, counted.values())).items())},
        "kept": len(preferences),
        "dropped": dict(Counter(row.kind for row in dropped)),
        "agreement": sum(one == other for one, other in pairs) / len(pairs) if pairs else None,
        "adjudicated": sum(row.adjudicated for row in preferences),
        "unsafe": sum(
            any(r.unsafe_a or r.unsafe_b for r in (*opinions, *submitted(rulings[id])))
            for id, opinions in counted.items()
        ),
        "lengths": asdict(balance) | {"p": balance.p, "warning": balance.warning},
    }


def values(responses: Sequence[Response]) -> dict[str, int]:
    return {value: sum(r.value == value for r in responses) for value in get_args(Choice)}
