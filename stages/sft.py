"""sft: instruction rows in, LoRA adapter out (QLoRA on a GPU), the loss on the answer only.

Writes the adapter, `base.json` (which base it stands on), `log.jsonl` (a row a step) and `dropped.jsonl` (rows longer
than `max_length` tokens). A stopped run goes on from its last checkpoint.
"""

import logging
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from stages.core import chat, models, training
from stages.core.errors import KormedError
from stages.core.recipe import Sft
from stages.core.records import Example, read_jsonl, write_jsonl

log = logging.getLogger("kormed")


def run(config: Sft, out: Path, *, prepare: Path) -> dict[str, float]:
    models.release()
    tokenizer = models.load_tokenizer(config.model)
    examples, dropped = training.rows_that_fit(
        read_jsonl(prepare / "train.jsonl", Example),
        texts=lambda example: [(chat.example_prompt(example), chat.reply(example.answer))],
        id=lambda example: example.id,
        tokenizer=tokenizer,
        max_length=config.max_length,
    )
    write_jsonl(out / "dropped.jsonl", dropped)
    if not examples:
        raise KormedError(f"{prepare}: none of {len(dropped)} rows fits sft.max_length={config.max_length}; raise it")
    log.info("sft: %d rows, %d dropped as longer than %d tokens", len(examples), len(dropped), config.max_length)

    arguments = SFTConfig(**training.arguments(config, out), completion_only_loss=True, packing=False)
    base = models.load_base(config.model)
    training.score_answers_only()
    trainer = SFTTrainer(
        model=base,
        args=arguments,
        train_dataset=Dataset.from_list([row(example) for example in examples]),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=config.lora.r,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules=list(config.lora.targets),
            task_type="CAUSAL_LM",
        ),
    )
    training.train_in_float32(trainer)
    metrics = training.train(trainer, "sft", out)
    models.save_adapter(trainer.model, out, config.model)
    training.drop_checkpoints(out)
    return metrics | {"rows": len(examples), "dropped": len(dropped)}


def row(example: Example) -> dict[str, object]:
    """TRL's conversational prompt/completion form."""
    return {
        "prompt": [message.model_dump() for message in chat.example_prompt(example)],
        "completion": [message.model_dump() for message in chat.reply(example.answer)],
    }
