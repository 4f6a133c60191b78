import os
import signal
from pathlib import Path

import pytest

from stages.core.pipeline import Run
from stages.core.recipe import Recipe, load_recipe
from stages.core.records import Comparison, Response, append_jsonl, read_jsonl

# Before a library reads it: tests never ask a hub, and never reach a team's own Argilla.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for name in ("ARGILLA_API_URL", "ARGILLA_API_KEY"):
    os.environ.pop(name, None)

# A script's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "recipes" / "demo"

TINY_RECIPE = """\
name: tiny
model: {{base: {base}, quantization: none, dtype: float32}}
prepare:
  benchmark: {demo}/kormedmcqa
  consults: {demo}/consults.jsonl
  preference_consults: 0.3
  reuse_sft_consults: true
sft: {{max_steps: 6, save_steps: 2, learning_rate: 1.0e-2, max_length: 1024, gradient_checkpointing: false}}
candidates: {{per_consult: 3, max_new_tokens: 24, batch_size: 16, allow_truncated: true, limit: 8}}
annotation: {{annotators: [simulated-1, simulated-2, simulated-3], responses_per_comparison: 3}}
preferences: {{heldout: 0.2}}
dpo: {{max_steps: 4, save_steps: 2, learning_rate: 1.0e-3, max_length: 1024, gradient_checkpointing: false}}
evaluate: {{fewshot: 1, limit: 2, max_gen_toks: 4, heldout_limit: 2, heldout_max_new_tokens: 8}}
"""


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Gemma 2 and its tokenizer, learned on the demo's texts."""
    from tests.tiny_gemma import write_tiny_gemma

    texts = [path.read_text(encoding="utf-8") for path in sorted(DEMO.rglob("*.jsonl"))]
    return write_tiny_gemma(tmp_path_factory.mktemp("base") / "tiny-gemma-2", texts)


@pytest.fixture(scope="session")
def tiny_recipe_file(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's data on the tiny base, with a few steps of everything."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY_RECIPE.format(base=tiny_base, demo=DEMO), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_recipe(tiny_recipe_file: Path) -> Recipe:
    return load_recipe(tiny_recipe_file)


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with prepare, sft and candidates done. Shared: tests read it and make nothing in it."""
    run = Run(tiny_recipe, tmp_path_factory.mktemp("models"))
    run.bring("candidates")
    return run


@pytest.fixture(scope="session")
def labelled_run(tiny_run: Run) -> Run:
    """`tiny_run` with a response to every comparison and the preferences made of them."""
    from datetime import UTC, datetime

    comparisons = read_jsonl(tiny_run.path("candidates") / "comparisons.jsonl", Comparison)
    tiny_run.responses.parent.mkdir(exist_ok=True)
    append_jsonl(
        tiny_run.responses,
        [
            Response(
                comparison_id=comparison.id,
                annotator="simulated-1",
                value="a" if at % 2 else "b",
                status="submitted",
                submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
            )
            for at, comparison in enumerate(comparisons)
        ],
    )
    tiny_run.bring("preferences")
    return tiny_run
