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
    # So few steps at an ordinary rate leave every greedy answer as it was, and there would be nothing to compare.
    recipe = [str(tiny_recipe_file), "--set", "dpo.learning_rate=0.3", "--set", f"annotation.port={free_port()}"]
    made = tmp_path / "models" / "tiny"

    simulated = kormed("annotate", "simulate", *recipe)
    comparisons = read_jsonl(made / "candidates" / "comparisons.jsonl", Comparison)
    responses = read_jsonl(made / "responses" / "responses.jsonl", Response)
    assert f"{len(comparisons)} comparisons and 1 hidden repeat" in simulated.output
    originals = {comparison.id for comparison in comparisons}
    answered = {(r.comparison_id, r.annotator) for r in responses}
    assert {pair for pair in answered if pair[0] in originals} == {
        (id, f"simulated-{n}") for id in originals for n in (1, 2, 3)
    }
    assert {annotator for id, annotator in answered if id not in originals} == {f"simulated-{n}" for n in (1, 2, 3)}

    before_dpo = kormed("report", *recipe)
    assert "report.html" in before_dpo.output
    assert not (made / "evaluate" / "dpo").exists()

    kormed("dpo", *recipe)
    preferences = read_jsonl(made / "preferences" / "train.jsonl", Preference)
    by_id = {comparison.id: comparison for comparison in comparisons}
    for preference in preferences:
        texts = {by_id[preference.id].a.text, by_id[preference.id].b.text}
        assert {preference.chosen[0].content, preference.rejected[0].content} == texts
    assert json.loads((made / "dpo" / "proof.json").read_text())["largest_margin"] == 0

    kormed("evaluate", *recipe)
    round_two = kormed("annotate", "simulate", *recipe, "--round", "compare")
    assert "win_rate" in round_two.output
    kormed("report", *recipe)
    html = (made / "report" / "report.html").read_text(encoding="utf-8")
    manifest = json.loads((made / "report" / "manifest.json").read_text())
    assert manifest["metrics"]["checkpoints"] == 3
    assert "simulated" in html
    assert "Krippendorff" in html
    assert json.loads((made / "winrate" / "winrate.json").read_text())["judged"] >= 1
    assert (made / ".previous").exists(), "the report without DPO made way, and is not lost"

    status = kormed("status", *recipe).output
    assert status.count(" done ") == 12
    again = kormed("evaluate", *recipe)
    assert again.output.count("done already") == 3
