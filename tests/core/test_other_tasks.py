"""Other lm-eval tasks, found by name and read into figures."""

from pathlib import Path

import pytest

from stages.core import other_tasks
from stages.core.errors import KormedError

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}\\n답: "
doc_to_choice: ["예", "아니요"]
doc_to_target: "{{{{answer}}}}"
num_fewshot: 0
metadata: {{version: 1.0}}
"""


def write_task(folder: Path, name: str, rows: Path | str, kind: str = "multiple_choice") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, rows=rows, kind=kind), encoding="utf-8")


def write_whole_task(folder: Path) -> str:
    """The task "manners" with its data, which lm-eval can load; returns what its file says."""
    (folder / "rows.jsonl").write_text('{"question": "인사?", "answer": 0}\n', encoding="utf-8")
    write_task(folder / "tasks", "manners", folder / "rows.jsonl")
    return (folder / "tasks" / "manners.yaml").read_text(encoding="utf-8")


def test_an_unknown_task_is_refused_with_names_that_are_near() -> None:
    with pytest.raises(KormedError, match=r"hellaswagg: no task of lm-eval has this name.*did you mean.*hellaswag"):
        other_tasks.find(["hellaswagg"], None)


def test_a_folder_of_tasks_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KormedError, match=r"nowhere: no such folder \(evaluate.task_folder\)"):
        other_tasks.find(["manners"], tmp_path / "nowhere")


def test_a_task_without_its_data_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    write_task(tmp_path / "tasks", "manners", tmp_path / "missing.jsonl")
    with pytest.raises(KormedError, match=r"manners: lm-eval cannot load this task: FileNotFoundError.*missing.jsonl"):
        other_tasks.find(["manners"], tmp_path / "tasks")


def test_a_task_whose_prompt_cannot_be_written_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    content = write_whole_task(tmp_path).replace("{{question}}", "{{question.wrong.deeper}}")
    (tmp_path / "tasks" / "manners.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(KormedError, match=r"manners: lm-eval cannot load this task: UndefinedError"):
        other_tasks.find(["manners"], tmp_path / "tasks")


def test_a_task_that_runs_what_the_model_writes_is_refused(tmp_path: Path) -> None:
    content = write_whole_task(tmp_path) + "unsafe_code: true\n"
    (tmp_path / "tasks" / "manners.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(KormedError, match="manners: runs code that the model writes"):
        other_tasks.find(["manners"], tmp_path / "tasks")


def test_a_data_set_of_the_hub_that_is_not_on_this_machine_is_named(tmp_path: Path) -> None:
    write_task(tmp_path / "tasks", "far", "x")
    file = tmp_path / "tasks" / "far.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("dataset_path: json", "dataset_path: nobody/nothing"))
    with pytest.raises(KormedError, match=r"far: lm-eval cannot load this task: .*nobody/nothing"):
        other_tasks.find(["far"], tmp_path / "tasks")


def test_every_metric_of_a_task_and_of_its_group_is_a_figure() -> None:
    results = {
        "results": {
            "manners": {"alias": "manners", "sample_len": 4, "acc,none": 0.5, "acc_stderr,none": 0.29},
            "all": {"alias": "all", "exact_match,strict": 0.25, "exact_match_stderr,strict": "N/A"},
        },
        "versions": {"manners": 1.0},
        "n-shot": {"manners": 2},
        "n-samples": {"manners": {"original": 9, "effective": 4}},
    }
    assert other_tasks.figures("all", results) == [
        other_tasks.Figure("all", "manners", "1.0", 2, "acc", "none", 0.5, 0.29, 4),
        other_tasks.Figure("all", "all", "", None, "exact_match", "strict", 0.25, None, None),
    ]
