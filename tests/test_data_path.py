"""The data path as a user types it: a site's pages to training rows, and a spreadsheet to a benchmark of one's own."""

import csv
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stages.cli import main
from stages.core.records import Consult, Dropped, RawConsult, read_jsonl
from tests.hidoc_site import HidocSite, make_consults
from tests.llm_server import llm_server
from tests.test_prepare import consult_row, exam_row

DEMO = Path(__file__).parents[1] / "recipes" / "demo"

FROM_THE_SITE = """\
name: site
model: {{base: nowhere}}
collect: {{contact: me@example.org, site: "{site}", store: store, delay_seconds: 0, jitter_seconds: 0, pages: 3}}
restructure: {{rewriter: {{kind: server, model: rule-based}}}}
prepare: {{benchmark: {demo}/kormedmcqa, reuse_sft_consults: true}}
"""

FROM_A_SPREADSHEET = """\
name: own
model: {base: nowhere}
import:
  consults:
    path: consults.csv
    columns: {id: 번호, question: 질문, patient_information: 환자, answer: 답변, doctor: 의사}
  questions:
    path: questions.csv
    columns: {question: 문제, A: 보기1, B: 보기2, C: 보기3, D: 보기4, E: 보기5, answer: 정답}
restructure: {rewriter: {kind: none}}
prepare: {benchmark: null, subsets: [doctor], reuse_sft_consults: true}
"""


def kormed(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == exit_code, result.output
    return result


@pytest.fixture(scope="module")
def from_the_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run that collected, restructured and prepared; site and language model are gone by then."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch, HidocSite(make_consults(40)).serve() as site, llm_server() as llm:
        patch.chdir(folder)
        patch.setenv("OPENAI_BASE_URL", llm.url)
        Path("site.yaml").write_text(FROM_THE_SITE.format(site=site.url, demo=DEMO), encoding="utf-8")
        assert "`kormed collect RECIPE`" in kormed("prepare", "site.yaml", exit_code=2).stderr
        assert site.paths() == []
        kormed("collect", "site.yaml")
        assert "`kormed restructure RECIPE`" in kormed("prepare", "site.yaml", exit_code=2).stderr
        assert llm.asked == []
        kormed("restructure", "site.yaml")
        kormed("prepare", "site.yaml")
        yield folder / "models" / "site"


def test_every_page_is_a_row_or_has_a_reason(from_the_site: Path) -> None:
    raw = {row.id for row in read_jsonl(from_the_site / "collect" / "consults.jsonl", RawConsult)}
    rows = {row.id for row in read_jsonl(from_the_site / "restructure" / "consults.jsonl", Consult)}
    dropped = {row.id for row in read_jsonl(from_the_site / "restructure" / "dropped.jsonl", Dropped)}
    assert len(raw) > 20
    assert raw == rows | dropped
    trained = ids(from_the_site / "prepare" / "train.jsonl") & rows
    held = ids(from_the_site / "prepare" / "consults" / "heldout.jsonl")
    gone = ids(from_the_site / "prepare" / "dropped.jsonl") & rows
    assert rows == trained | held | gone
    assert trained
    assert held
    assert not held & (trained | gone)


def test_no_doctors_name_and_no_telephone_number_leaves_restructure(from_the_site: Path) -> None:
    raw = read_jsonl(from_the_site / "collect" / "consults.jsonl", RawConsult)
    doctors = {answer.doctor for consult in raw for answer in consult.answers} - {""}
    numbers = set(re.findall(r"010-\d{4}-\d{4}", " ".join(consult.model_dump_json() for consult in raw)))
    assert doctors
    assert numbers
    for path in [*(from_the_site / "restructure").iterdir(), *(from_the_site / "prepare").rglob("*.jsonl")]:
        text = path.read_text(encoding="utf-8")
        assert not [name for name in doctors | numbers if name in text], path


def test_similar_consults_do_not_stand_on_both_sides(from_the_site: Path) -> None:
    """The site's pages repeat each other on purpose; what is left of each theme is one row."""
    reasons = {row.reason for row in read_jsonl(from_the_site / "prepare" / "dropped.jsonl", Dropped)}
    assert "nearly repeats an earlier row" in reasons


def test_the_page_tells_the_whole_way_from_the_site_to_the_rows(from_the_site: Path) -> None:
    facts = json.loads((from_the_site / "prepare" / "eda.json").read_text(encoding="utf-8"))
    steps = [step for step in facts["flow"] if step["what"] == "consults"]
    names = [step["step"] for step in steps]
    assert names == ["collect", "restructure", "quality", "decontamination", "duplicates", "split"]
    for before, after in pairwise(steps):
        assert before["after"] == after["before"]
    for step in steps:
        assert step["before"] == step["after"] + sum(step["dropped"].values()) + sum(step["set_aside"].values())
    assert facts["masks"]["name"] > 20


def test_a_row_can_be_traced_to_its_page(from_the_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(from_the_site.parents[1])
    row = sorted(ids(from_the_site / "prepare" / "consults" / "preference.jsonl"))[0]
    told = kormed("trace", row).stdout
    assert f"/healthqna/view/{row.removeprefix('hidoc-')}" in told
    for artifact in ("collect", "restructure", "prepare"):
        assert f"models/site/{artifact}/" in told


def ids(path: Path) -> set[str]:
    return {json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()}


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="cp949", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_spreadsheet_of_ones_own_becomes_training_rows_and_a_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty consults and forty questions, as Excel writes them in Korea."""
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(FROM_A_SPREADSHEET, encoding="utf-8")
    consults: list[dict[str, object]] = []
    for at in range(20):
        row = consult_row(at)
        answer = f"안녕하세요. 하이닥 내과 상담의 김가람입니다. {row['answer']}"
        consults.append(
            {"번호": f"c{at}", "질문": row["question"], "환자": "30대 여성", "답변": answer, "의사": "김가람"}
        )
    write_csv(Path("consults.csv"), consults)
    questions = []
    for at in range(40):
        question = exam_row(f"{consult_row(100 + at)['question']} 먼저 할 일은?")
        choices = {f"보기{n}": question[letter] for n, letter in enumerate("ABCDE", start=1)}
        questions.append({"문제": question["question"], **choices, "정답": "①②③④⑤"[at % 5]})
    write_csv(Path("questions.csv"), questions)

    kormed("prepare", "own.yaml")
    made = tmp_path / "models" / "own"
    train = [json.loads(line) for line in (made / "prepare" / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["source"] for row in train} == {"own/doctor", "import"}
    assert not [row for row in train if "김가람" in json.dumps(row, ensure_ascii=False)]
    facts = json.loads((made / "prepare" / "eda.json").read_text(encoding="utf-8"))
    assert sum(facts["benchmark"]["doctor"].values()) == 40
    assert sum(facts["consult_parts"][part] for part in ("sft", "heldout")) == 20
    assert "questions.csv:" in kormed("trace", "own/doctor/train/1").stdout
    assert "consults.csv:2" in kormed("trace", "c0").stdout
