"""lm-eval's own result files, written by its own class: one results file and one file of samples a task."""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.errors import KormedError


@dataclass(frozen=True)
class Examined:
    """What `lm_eval.simple_evaluate` returned, samples and all, and how long it took."""

    seconds: float
    results: dict[str, Any]


def keep(path: Path, examined: Examined) -> None:
    """Put a part's results aside as JSON, on the disk once it returns, so that a stopped run need not ask again."""
    from lm_eval.utils import handle_non_serializable

    temporary = path.with_name(f".{path.name}.tmp")
    content = {"seconds": examined.seconds, "results": examined.results}
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, default=handle_non_serializable, ensure_ascii=False))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def kept(path: Path) -> Examined:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Examined(content["seconds"], content["results"])


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results of several calls as one call over all their tasks would give them.

    Dictionaries that name tasks are joined. What is said once a call (time, versions, environment) is the first's.
    """
    first, *others = parts
    whole = dict(first)
    by_task = ("results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "samples")
    for part in others:
        for key in by_task:
            whole[key] = whole.get(key, {}) | part.get(key, {})
    return whole


def write(folder: Path, parts: Sequence[Examined], model_args: Mapping[str, str], chat_template: str | None) -> None:
    """`folder`/<model>/results_<time>.json and samples_<task>_<time>.jsonl; what stood in `folder` goes.

    Raises:
        KormedError: lm-eval could not write them; it only logs why.
    """
    from lm_eval.loggers import EvaluationTracker

    shutil.rmtree(folder, ignore_errors=True)
    results = merged([part.results for part in parts])
    samples = results.pop("samples")
    results["config"] = results["config"] | {"model": "hf", "model_args": dict(model_args)}
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args("hf", dict(model_args), None, chat_template, False)
    # it counts from here on, and the work was done before, perhaps by a run that was stopped
    tracker.general_config_tracker.start_time = time.perf_counter() - sum(part.seconds for part in parts)
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
    written = [path.name for path in folder.rglob("*.json*")]
    missing = [task for task in samples if not any(name.startswith(f"samples_{task}_") for name in written)]
    if missing or not any(name.startswith("results_") for name in written):
        raise KormedError(
            f"{folder}: lm-eval did not write its result files ({missing or 'results'}); is the disk full?"
        )
