"""pull: what people entered arrives once, whole, and is never lost."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argilla
import pytest

from annotation import dataset as dataset_module
from annotation.api import Api
from annotation.dataset import records
from annotation.embedded import Server
from annotation.people import Credential
from annotation.pull import count_missing, pull
from annotation.push import push
from stages.core.errors import KormedError
from stages.core.recipe import Annotation
from stages.core.records import Response, read_jsonl, write_jsonl
from stages.core.votes import newest
from tests.annotation.examples import comparisons, respond, round_of


def test_every_answer_arrives_with_its_annotator_value_comment_and_time(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(200, 4), tmp_path / "responses.jsonl"
    push(client, round_of(some, config))
    for one, value in zip(some, ("a", "b", "tie", "both_bad"), strict=True):
        respond(doctor, one.id, value, comment="A는 진료를 권하지 않음")
    pulled = pull(client, round_of(some, config, file))
    assert (pulled.submitted, pulled.appended) == (4, 4)
    responses = read_jsonl(file, Response)
    assert [response.value for response in responses] == ["a", "b", "tie", "both_bad"]
    assert {response.annotator for response in responses} == {"doctor-kim"}
    assert {response.comment for response in responses} == {"A는 진료를 권하지 않음"}
    assert all(abs(datetime.now(UTC) - response.submitted_at) < timedelta(minutes=1) for response in responses)


def test_pulling_twice_appends_nothing_and_a_changed_answer_one_line(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(210, 3), tmp_path / "responses.jsonl"
    push(client, round_of(some, config))
    for one in some:
        respond(doctor, one.id, "a")
    pull(client, round_of(some, config, file))
    before = file.read_text(encoding="utf-8")
    assert pull(client, round_of(some, config, file)).appended == 0
    assert file.read_text(encoding="utf-8") == before

    respond(doctor, some[1].id, "b")
    assert pull(client, round_of(some, config, file)).appended == 1
    after = file.read_text(encoding="utf-8")
    assert after.startswith(before)
    assert read_jsonl(file, Response)[-1].value == "b"
    assert pull(client, round_of(some, config, file)).appended == 0


def test_drafts_and_discarded_ones_are_kept_but_not_as_submitted(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(220, 3), tmp_path / "responses.jsonl"
    push(client, round_of(some, config))
    respond(doctor, some[0].id, "a")
    respond(doctor, some[1].id, "b", status="draft")
    respond(doctor, some[2].id, None, status="discarded")
    pulled = pull(client, round_of(some, config, file))
    assert (pulled.submitted, pulled.draft, pulled.discarded) == (1, 1, 1)
    statuses = {response.comparison_id: (response.status, response.value) for response in read_jsonl(file, Response)}
    assert statuses[some[1].id] == ("draft", "b")
    assert statuses[some[2].id] == ("discarded", None)


def test_no_answers_yet_is_zero_and_makes_no_file(client: argilla.Argilla, config: Annotation, tmp_path: Path) -> None:
    some, file = comparisons(230, 1), tmp_path / "responses.jsonl"
    push(client, round_of(some, config))
    pulled = pull(client, round_of(some, config, file))
    assert (pulled.submitted, pulled.draft, pulled.discarded, pulled.appended) == (0, 0, 0, 0)
    assert not file.exists()


def test_comparisons_that_were_never_pushed_are_named_with_the_way_out(
    client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    with pytest.raises(KormedError, match="kormed annotate push"):
        pull(client, round_of(comparisons(240, 1), config, tmp_path / "responses.jsonl"))


def test_answers_to_older_candidates_break_nothing_and_serve_where_the_comparison_stayed(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    old, new = comparisons(250, 2), comparisons(251, 2)  # 251 stands in both
    push(client, round_of(old, config))
    for one in old:
        respond(doctor, one.id, "tie")
    push(client, round_of(new, config))
    pulled = pull(client, round_of(new, config, file := tmp_path / "responses.jsonl"))
    assert [response.comparison_id for response in read_jsonl(file, Response)] == [old[1].id]
    assert pulled.submitted == 1
    assert pulled.unknown >= 1  # other tests' datasets in this workspace count as well


def test_repeats_come_with_ids_of_their_own_and_the_marks_of_both_sides(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    some, file = comparisons(3100, 4), tmp_path / "responses.jsonl"
    round = round_of(some, config.model_copy(update={"repeats": 0.25}), file)
    push(client, round)
    ((repeat, original),) = round.repeats.items()
    respond(doctor, original, "a")
    mark(doctor, round.dataset, repeat, {"preference": "b", "unsafe_a": ["missed_emergency", "other"]})
    assert pull(client, round).submitted == 2
    responses = {response.comparison_id: response for response in read_jsonl(file, Response)}
    assert responses.keys() == {original, repeat}
    assert (responses[repeat].value, responses[repeat].unsafe_a) == ("b", ("missed_emergency", "other"))
    assert (responses[original].unsafe_a, responses[original].unsafe_b) == ((), ())


def test_what_was_discarded_after_it_was_submitted_counts_as_discarded(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    round = round_of(comparisons(3110, 1), config, tmp_path / "responses.jsonl")
    push(client, round)
    respond(doctor, "comparison-3110", "a")
    pull(client, round)
    respond(doctor, "comparison-3110", None, status="discarded")
    pulled = pull(client, round)
    assert (pulled.submitted, pulled.discarded, pulled.appended) == (0, 1, 1)
    assert [response.status for response in read_jsonl(round.file, Response)] == ["submitted", "discarded"]


def test_an_answer_that_is_gone_from_the_server_stays_in_the_file(
    client: argilla.Argilla, config: Annotation, owner: Api, doctor: Api, tmp_path: Path
) -> None:
    round = round_of(comparisons(3120, 2), config, tmp_path / "responses.jsonl")
    push(client, round)
    respond(doctor, "comparison-3120", "a")
    pull(client, round)
    dataset = next(item for item in owner.get("/me/datasets")["items"] if item["name"] == round.dataset)
    record = next(item for item in records(client, dataset["id"], with_responses=True) if item["responses"])
    owner.call("DELETE", f"/responses/{record['responses'][0]['id']}")
    before = round.file.read_bytes()
    pulled = pull(client, round)
    assert (pulled.submitted, pulled.appended) == (1, 0)
    assert round.file.read_bytes() == before


def test_a_changed_answer_counts_though_the_servers_clock_was_set_back(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    """The file has the first answer under a later time than the second one gets."""
    round = round_of(comparisons(3130, 1), config, tmp_path / "responses.jsonl")
    push(client, round)
    respond(doctor, "comparison-3130", "a")
    pull(client, round)
    (first,) = read_jsonl(round.file, Response)
    write_jsonl(round.file, [first.model_copy(update={"submitted_at": first.submitted_at + timedelta(hours=3)})])
    respond(doctor, "comparison-3130", "b")
    assert pull(client, round).appended == 1
    assert newest(read_jsonl(round.file, Response), round.known)["comparison-3130"]["doctor-kim"].value == "b"


def test_a_comparison_that_was_judged_again_in_newer_candidates_keeps_both_and_counts_the_later(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    old, new = comparisons(3140, 2), comparisons(3141, 2)  # 3141 stands in both
    file = tmp_path / "responses.jsonl"
    for some, value in ((old, "a"), (new, "tie")):
        push(client, round := round_of(some, config))
        mark(doctor, round.dataset, "comparison-3141", {"preference": value})
    round = round_of(new, config, file)
    assert (pull(client, round).appended, pull(client, round).appended) == (2, 0)
    assert [response.value for response in read_jsonl(file, Response)] == ["a", "tie"]
    mark(doctor, round_of(old, config).dataset, "comparison-3141", {"preference": "b"})
    assert pull(client, round).submitted == 1
    assert newest(read_jsonl(file, Response), round.known)["comparison-3141"]["doctor-kim"].value == "b"


def test_pulling_while_people_label_loses_nothing_and_writes_nothing_twice(
    client: argilla.Argilla,
    config: Annotation,
    server: Server,
    people: dict[str, Credential],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_module, "PAGE", 7)  # many pages, between which answers come and change
    some = comparisons(3200, 40)
    round = round_of(some, config, tmp_path / "responses.jsonl")
    push(client, round)
    values = ("a", "b", "tie")

    def label(name: str) -> None:
        person = Api(server.url, people[name].api_key)
        for at, one in enumerate(some):
            respond(person, one.id, values[at % 3])
            if at % 4 == 0:
                respond(person, some[at // 2].id, "both_bad")

    with ThreadPoolExecutor(2) as desks:
        labelling = [desks.submit(label, name) for name in ("doctor-kim", "simulated-1")]
        while not all(one.done() for one in labelling):
            pull(client, round)
    for desk in labelling:
        desk.result()
    assert pull(client, round).submitted == 80
    lines = read_jsonl(round.file, Response)
    assert len(set(lines)) == len(lines)
    last = newest(lines, round.known)
    for at, one in enumerate(some):  # the second half is never changed once more
        if at >= 20:
            assert {response.value for response in last[one.id].values()} == {values[at % 3]}
    assert {response.value for response in last[some[0].id].values()} == {"both_bad"}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from annotation.connection import connect
from annotation.pull import pull
from stages.core.recipe import Annotation
from tests.annotation.examples import WORKSPACE, comparisons, round_of

config, file = Annotation.model_validate_json(sys.argv[1]), Path(sys.argv[2])
with connect(config, WORKSPACE) as client:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 100, resource.RLIM_INFINITY))  # half a line more
    pull(client, round_of(comparisons(3180, 6), config, file))
"""


def test_a_full_disk_takes_nothing_from_the_file_and_the_next_pull_brings_the_rest(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    round = round_of(comparisons(3180, 6), config, tmp_path / "responses.jsonl")
    push(client, round)
    for one in round.comparisons[:3]:
        respond(doctor, one.id, "a")
    pull(client, round)
    before = round.file.read_bytes()
    for one in round.comparisons[3:]:
        respond(doctor, one.id, "b")
    command = [sys.executable, "-c", FULL_DISK, config.model_dump_json(), str(round.file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "File too large" in done.stderr, done.stderr
    assert round.file.read_bytes().startswith(before)
    pull(client, round)
    assert round.file.read_bytes().startswith(before)
    assert [response.value for response in read_jsonl(round.file, Response)] == ["a"] * 3 + ["b"] * 3


def test_what_was_not_pulled_yet_can_be_counted_without_pulling(
    client: argilla.Argilla, config: Annotation, doctor: Api, tmp_path: Path
) -> None:
    round = round_of(comparisons(3190, 2), config, tmp_path / "responses.jsonl")
    push(client, round)
    respond(doctor, "comparison-3190", "a")
    assert count_missing(client, round) == 1
    assert not round.file.exists()
    pull(client, round)
    assert count_missing(client, round) == 0


def mark(person: Api, dataset: str, comparison_id: str, values: dict[str, Any]) -> None:
    """Answer a comparison in the named dataset, all questions at once."""
    found = next(item for item in person.get("/me/datasets")["items"] if item["name"] == dataset)
    page = person.post(f"/me/datasets/{found['id']}/records/search?limit=500", {})["items"]
    record = next(item["record"] for item in page if item["record"]["external_id"] == comparison_id)
    answer = {name: {"value": value} for name, value in values.items()}
    body = {"items": [{"record_id": record["id"], "status": "submitted", "values": answer}]}
    done = person.post("/me/responses/bulk", body)["items"]
    assert done[0]["error"] is None, done
