"""The forms in which the exam is put: the headline's, which is lm-eval's stock task, and variants beside it.

`zero_shot` is the stock task without examples. `chat_form` is the form that SFT was trained in (stages/core/chat.py),
by a task file of our own (stages/core/tasks/), which anybody can run with the stock command as well.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.core.errors import KormedError
from stages.core.recipe import Evaluate
from stages.core.records import Variant

log = logging.getLogger("kormed")

TASK_VERSION = 3.0  # 2.0 read no letter out of sentences and scored Gemma 0.0 (lm-evaluation-harness#3103)
STOCK, CHAT_FORM = "kormedmcqa", "kormedmcqa_chat_form"  # groups; their tasks are <group>_<subset>
OURS = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class Form:
    """One way to put every question. `variant` None: the headline."""

    variant: Variant | None
    group: str
    fewshot: int
    chat_template: bool

    def task(self, subset: str) -> str:
        return f"{self.group}_{subset}"

    def part(self, subset: str) -> str:
        """What a subset's answers are called while they are put aside."""
        return subset if self.variant is None else f"{self.variant}_{subset}"

    @property
    def before_a_letter(self) -> str:
        """As lm-eval has it before a choice: a chat template opens the answer itself; elsewhere stands a space."""
        return "" if self.chat_template else " "


def headline(config: Evaluate) -> Form:
    return Form(None, STOCK, config.fewshot, config.chat_template)


def variants(config: Evaluate) -> list[Form]:
    """The recipe's variants; zero_shot only where the headline is something else."""
    found = []
    for name in config.variants:
        if name == "chat_form":
            found.append(Form(name, CHAT_FORM, 0, True))
        elif config.fewshot:
            found.append(Form(name, STOCK, 0, config.chat_template))
        else:
            log.info("evaluate: no variant zero_shot: evaluate.fewshot is 0, so the headline itself has no examples")
    return found


@contextmanager
def exam_tasks(benchmark: Path, subsets: Sequence[str]) -> Iterator[Any]:
    """lm-eval's TaskManager over its own YAML of each subset and ours of the chat form, each included whole, but with
    `dataset_path` set to our copy of the benchmark.

    Raises:
        KormedError: the installed lm-eval has another version of the task.
    """
    import lm_eval
    from lm_eval.tasks import TaskManager

    stock = Path(lm_eval.__file__).parent / "tasks" / STOCK
    path = str(benchmark.resolve())
    with tempfile.TemporaryDirectory() as folder:
        for group, files in ((STOCK, stock), (CHAT_FORM, OURS / "chat_form")):
            for subset in subsets:
                task = {
                    "include": str(files / f"{subset}.yaml"),
                    "task": f"{group}_{subset}",
                    "dataset_path": path,
                    # datasets 5.2 keys a local folder's cache by its last name and the layout of its files, not by its
                    # path or content: of two folders named `benchmark` the second is silently answered with the first
                    # one's rows
                    "dataset_kwargs": {"cache_dir": f"{folder}/cache"},
                }
                file = Path(folder) / f"{group}_{subset}.yaml"
                file.write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
        tasks = TaskManager(include_path=folder, include_defaults=False)
        version = float(stock_task(tasks, subsets[0]).VERSION)
        if version != TASK_VERSION:
            raise KormedError(
                f"lm-eval {lm_eval.__version__}: task kormedmcqa has version {version}, {TASK_VERSION} was wanted; "
                f"versions do not compare. pip install 'lm-eval>=0.4.13'"
            )
        yield tasks


def stock_task(tasks: Any, subset: str) -> Any:
    return tasks.load([f"{STOCK}_{subset}"])["tasks"][f"{STOCK}_{subset}"]


def prompts_sha256(samples: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of what was asked: of lm-eval's samples of one task each item's `doc_hash` and whole prompt, in order.

    One JSON array [doc_hash, prompt] a line, UTF-8, by `doc_id`. Equal where two runs asked the same items with the
    very same text, examples and chat template included.
    """
    found = hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        row = json.dumps([sample["doc_hash"], sample["arguments"][0][0]], ensure_ascii=False)
        found.update(f"{row}\n".encode())
    return found.hexdigest()
