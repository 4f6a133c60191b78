"""The whole job through the commands a user types: tiny Gemma, real Argilla server, simulated annotators, report."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from annotation.environment import environment_folder
from stages.cli import main
from stages.core.records import Comparison, Preference, Response, read_jsonl
from tests.annotation.examples import free_port

ENVIRONMENT = environment_folder()  # before a test changes folder


def kormed(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result


def test_from_questions_to_report(tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "argilla"))
    monkeypatch.setenv("KORMED_ARGILLA_VENV", str(ENVIRONMENT))
    recipe = str(tiny_recipe_file)
    made = tmp_path / "models" / "tiny"

    simulated = kormed("annotate", "simulate", recipe, "--set", f"annotation.port={free_port()}")
    comparisons = read_jsonl(made / "candidates" / "comparisons.jsonl", Comparison)
    responses = read_jsonl(made / "responses" / "responses.jsonl", Response)
    assert f"{len(comparisons)} comparisons, {len(comparisons)} of them new" in simulated.output
    assert {(r.comparison_id, r.annotator) for r in responses} == {
        (c.id, f"simulated-{n}") for c in comparisons for n in (1, 2, 3)
    }

    before_dpo = kormed("report", recipe)
    assert "report.html" in before_dpo.output
    assert not (made / "evaluate" / "dpo").exists()

    kormed("dpo", recipe)
    preferences = read_jsonl(made / "preferences" / "train.jsonl", Preference)
    by_id = {comparison.id: comparison for comparison in comparisons}
    for preference in preferences:
        texts = {by_id[preference.id].a.text, by_id[preference.id].b.text}
        assert {preference.chosen[0].content, preference.rejected[0].content} == texts
    assert json.loads((made / "dpo" / "proof.json").read_text())["largest_margin"] == 0

    kormed("evaluate", recipe)
    kormed("report", recipe)
    html = (made / "report" / "report.html").read_text(encoding="utf-8")
    manifest = json.loads((made / "report" / "manifest.json").read_text())
    assert manifest["metrics"]["checkpoints"] == 3
    assert "simulated" in html
    assert (made / ".previous").exists(), "the report without DPO made way, and is not lost"

    status = kormed("status", recipe).output
    assert status.count(" done ") == 9
    again = kormed("evaluate", recipe)
    assert again.output.count("done already") == 3
