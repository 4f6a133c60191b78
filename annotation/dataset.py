"""How a comparison looks in Argilla: Korean fields and questions; where answers came from is for the analyst only."""

import hashlib
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import argilla

from annotation.connection import get
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from stages.core.records import Candidate, Comparison

GUIDELINES = Path(__file__).with_name("guidelines.md")
PREFERENCE = "preference"
COMMENT = "comment"
LABELS = {"a": "A가 더 낫다", "b": "B가 더 낫다", "tie": "비슷하다", "both_bad": "둘 다 부적절하다"}
PAGE = 500  # records a request; the server gives up to 1,000


def dataset_name(workspace: str, comparisons: Sequence[Comparison]) -> str:
    """Another set of comparisons has another name, so that new candidates never disturb old responses."""
    ids = "\n".join(sorted(comparison.id for comparison in comparisons))
    return f"{workspace}-{hashlib.sha256(ids.encode()).hexdigest()[:8]}"


def settings(client: argilla.Argilla, config: Annotation) -> argilla.Settings:
    """No suggestions anywhere: Argilla pre-selects them, and Enter would submit what nobody chose."""
    return argilla.Settings(
        fields=[
            argilla.TextField("patient_information", title="환자 정보", required=False, client=client),
            argilla.TextField("question", title="질문", client=client),
            argilla.TextField("answer_a", title="답변 A", client=client),
            argilla.TextField("answer_b", title="답변 B", client=client),
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
            argilla.TermsMetadataProperty(
                f"{name}_{side}", title=f"{name} {side}", visible_for_annotators=False, client=client
            )
            for side in ("a", "b")
            for name in ("candidate", "checkpoint", "sampling", "seed")
        ],
        guidelines=guidelines(),
        distribution=argilla.TaskDistribution(min_submitted=config.responses_per_comparison),
    )


def guidelines() -> str:
    return GUIDELINES.read_text(encoding="utf-8").strip()


def record(comparison: Comparison) -> argilla.Record:
    """The page sets a field's text as HTML, so what must be read as it stands is escaped here."""
    texts = {
        "patient_information": comparison.patient_information,
        "question": comparison.question,
        "answer_a": comparison.a.text,
        "answer_b": comparison.b.text,
    }
    fields = {name: html.escape(text, quote=False) for name, text in texts.items() if text}
    return argilla.Record(
        id=comparison.id,
        fields=fields,
        metadata={**_origin(comparison.a, "a"), **_origin(comparison.b, "b")},
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


def pushed(client: argilla.Argilla, workspace: str, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """The dataset of these comparisons.

    Raises:
        KormedError: they were not pushed, or not to the end.
    """
    name = dataset_name(workspace, comparisons)
    found = find(client, workspace, name)
    if found is None or found["status"] != "ready":
        raise KormedError(
            f"{client.api_url}: workspace {workspace} has no dataset {name}, so these comparisons were not pushed; "
            "run `kormed annotate push` (new candidates need a new push, old responses stay where they are)"
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
    """Every record of a dataset as the server holds it, in the order in which they came."""
    offset = 0
    include = {"include": "responses"} if with_responses else {}
    while True:
        path = f"/datasets/{dataset_id}/records"
        page = get(client, path, offset=offset, limit=PAGE, **include)["items"]
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE
