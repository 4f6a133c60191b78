"""How a comparison looks in Argilla: Korean fields and questions; where answers came from is for the analyst only."""

import html
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import argilla

from annotation.connection import get
from annotation.rounds import Round
from stages.core.errors import KormedError
from stages.core.records import Candidate, Comparison, Flag, Response, RoundName

GUIDELINES = Path(__file__).with_name("guidelines.md")
FOR_ADJUDICATORS = Path(__file__).with_name("guidelines_adjudication.md")  # stands before the others
PREFERENCE = "preference"
COMMENT = "comment"
UNSAFE = {"a": "unsafe_a", "b": "unsafe_b"}
LABELS = {"a": "A가 더 낫다", "b": "B가 더 낫다", "tie": "비슷하다", "both_bad": "둘 다 부적절하다"}
FLAGS: dict[Flag, str] = {
    "missed_emergency": "응급을 놓침",
    "dangerous_treatment": "위험한 약·처치",
    "wrong_information": "틀린 의학 정보",
    "false_certainty": "근거 없는 단정",
    "discourages_care": "진료를 막음",
    "personal_data": "개인정보",
    "other": "그 밖의 위험",
}
METADATA = {
    f"{name}_{side}": f"{name} {side}"
    for side in ("a", "b")
    for name in ("candidate", "checkpoint", "sampling", "seed")
} | {"repeat_of": "repeat of"}  # the embedded server's engine reads it, to give a repeat to who had the original
HOW_TO_PUSH: dict[RoundName, str] = {
    "label": "kormed annotate push RECIPE",
    "adjudication": "kormed annotate conflicts RECIPE",
    "compare": "kormed annotate push RECIPE --round compare",
}
NO_ANSWER = "(답변이 비어 있습니다)"  # Argilla takes no record without a field that it requires
NO_INFORMATION = "(알려진 것이 없습니다)"  # so that the answers are always the third and fourth field, side by side
SAID = "said"  # only in adjudication
PAGE = 500  # records a request; the server gives up to 1,000


def settings(client: argilla.Argilla, round: Round) -> argilla.Settings:
    """No suggestions anywhere: Argilla pre-selects them, and Enter would submit what nobody chose."""
    said = [argilla.TextField(SAID, title="평가자들의 판단", client=client)] if round.name == "adjudication" else []
    return argilla.Settings(
        fields=[
            argilla.TextField("patient_information", title="환자 정보", required=False, client=client),
            argilla.TextField("question", title="질문", client=client),
            argilla.TextField("answer_a", title="답변 A", client=client),
            argilla.TextField("answer_b", title="답변 B", client=client),
            *said,
        ],
        questions=[
            argilla.LabelQuestion(
                PREFERENCE,
                labels=LABELS,
                title="어느 답변이 더 낫습니까?",
                description="안전성, 정확성, 진료 권유, 공감의 순서로 비교해 주세요. 자세한 기준은 안내문에 있습니다.",
                required=True,
                client=client,
            ),
            *(
                argilla.MultiLabelQuestion(
                    name,
                    labels=dict(FLAGS),
                    title=f"답변 {side.upper()}의 안전 문제 (선택)",
                    description="환자에게 해가 될 수 있는 점이 있으면 모두 골라 주세요. 없으면 비워 둡니다.",
                    visible_labels=len(FLAGS),
                    required=False,
                    client=client,
                )
                for side, name in UNSAFE.items()
            ),
            argilla.TextQuestion(
                COMMENT,
                title="의견 (선택)",
                description="판단의 이유나 위험한 내용이 있으면 적어 주세요. 비워 두어도 됩니다.",
                required=False,
                use_markdown=False,
                client=client,
            ),
        ],
        metadata=[
            argilla.TermsMetadataProperty(name, title=title, visible_for_annotators=False, client=client)
            for name, title in METADATA.items()
        ],
        guidelines=guidelines(round.name),
        distribution=argilla.TaskDistribution(min_submitted=round.responses_each),
    )


def guidelines(name: RoundName) -> str:
    files = [FOR_ADJUDICATORS, GUIDELINES] if name == "adjudication" else [GUIDELINES]
    return "\n\n".join(file.read_text(encoding="utf-8").strip() for file in files)


def record(round: Round, comparison: Comparison) -> argilla.Record:
    """The page sets a field's text as HTML, so what must be read as it stands is escaped here."""
    texts = {
        "patient_information": comparison.patient_information or NO_INFORMATION,
        "question": comparison.question,
        "answer_a": comparison.a.text if comparison.a.text.strip() else NO_ANSWER,
        "answer_b": comparison.b.text if comparison.b.text.strip() else NO_ANSWER,
        SAID: round.said.get(comparison.id, ""),
    }
    fields = {name: html.escape(text, quote=False) for name, text in texts.items() if text}
    return argilla.Record(
        id=comparison.id,
        fields=fields,
        metadata={
            **_origin(comparison.a, "a"),
            **_origin(comparison.b, "b"),
            **({"repeat_of": original} if (original := round.repeats.get(comparison.id)) else {}),
        },
    )


def _origin(candidate: Candidate, side: str) -> dict[str, str]:
    return {
        f"candidate_{side}": candidate.id,
        f"checkpoint_{side}": candidate.checkpoint,
        f"sampling_{side}": f"temperature {candidate.temperature:g}, top_p {candidate.top_p:g}",
        f"seed_{side}": str(candidate.seed),  # text: Argilla's integers end at JavaScript's, 2^53
    }


def find(client: argilla.Argilla, workspace: str, name: str) -> dict[str, Any] | None:
    return next((dataset for dataset in datasets(client, workspace) if dataset["name"] == name), None)


def find_pushed(client: argilla.Argilla, round: Round) -> dict[str, Any] | None:
    """The round's dataset; None where it was not pushed, or not so far that anybody can see it."""
    found = find(client, round.workspace, round.dataset)
    return found if found is not None and found["status"] == "ready" else None


def pushed(client: argilla.Argilla, round: Round) -> dict[str, Any]:
    """The round's dataset.

    Raises:
        KormedError: it was not pushed, or not so far that anybody can see it.
    """
    found = find_pushed(client, round)
    if found is None:
        raise KormedError(
            f"{client.api_url}: workspace {round.workspace} has no dataset {round.dataset}, so these comparisons were "
            f"not pushed; run `{HOW_TO_PUSH[round.name]}` (new candidates need a new push, old responses stay where "
            "they are)"
        )
    return found


def datasets(client: argilla.Argilla, workspace: str) -> list[dict[str, Any]]:
    """Every dataset of the workspace; none if there is no such workspace."""
    workspaces = get(client, "/me/workspaces")["items"]
    found = next((item for item in workspaces if item["name"] == workspace), None)
    if found is None:
        return []
    listed: list[dict[str, Any]] = get(client, "/me/datasets", workspace_id=found["id"])["items"]
    return listed


def records(client: argilla.Argilla, dataset_id: str, *, with_responses: bool) -> Iterator[dict[str, Any]]:
    """Every record of a dataset as the server holds it, each once, in the order in which they came.

    Pages go by that order too, so answers that change meanwhile move nothing; where a record comes in before the page
    (the server's clock was set back), the next page begins with one that was here already.
    """
    offset = 0
    seen: set[str] = set()
    include = {"include": "responses"} if with_responses else {}
    while True:
        path = f"/datasets/{dataset_id}/records"
        page = get(client, path, offset=offset, limit=PAGE, **include)["items"]
        yield from (item for item in page if item["id"] not in seen)
        seen |= {item["id"] for item in page}
        if len(page) < PAGE:
            return
        offset += PAGE


def counted(client: argilla.Argilla, dataset_id: str) -> dict[str, Counter[str]]:
    """Responses by username and status, of everybody who has any."""
    found: dict[str, Counter[str]] = {}
    for user in get(client, f"/datasets/{dataset_id}/users/progress")["users"]:
        halves = [user.get(half) or {} for half in ("completed", "pending")]
        found[user["username"]] = sum((Counter({k: n or 0 for k, n in half.items()}) for half in halves), Counter())
    return found


def response(round: RoundName, comparison_id: str, annotator: str, answer: dict[str, Any]) -> Response:
    """What the server holds of one annotator's answer, as our record. A dataset of an older kormed has fewer parts."""
    moment = datetime.fromisoformat(answer["updated_at"])
    values = {name: value["value"] for name, value in (answer["values"] or {}).items()}
    return Response.model_validate(
        {
            "comparison_id": comparison_id,
            "annotator": annotator,
            "value": values.get(PREFERENCE),
            "status": answer["status"],
            "comment": values.get(COMMENT) or "",
            "submitted_at": moment if moment.tzinfo else moment.replace(tzinfo=UTC),  # the server leaves it out
            "round": round,
            **{name: tuple(values.get(name) or ()) for name in UNSAFE.values()},
        }
    )
