"""lm-eval's model over one loaded base: its requests answered from slots, with the same texts as its own HFLM.

The few-shot examples that all questions of a subset begin with are read once instead of once a question, rows of any
length stand side by side, and each ends as soon as a stop string stands in it, where HFLM waits for a batch's last one.
What is asked, how it is tokenised, cut and scored is lm-eval's: requests come from its task and go back to it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text

from stages.core.errors import KormedError
from stages.core.generation import Progress
from stages.core.slots import Next, Row, Stops, decode, score_next

LOOKED_AT = 32  # last tokens of an answer that are looked through for a stop string; a longer one costs time only


class ExamModel(HFLM):  # type: ignore[misc]  # lm-eval has no types
    """What is neither greedy nor, for a log-probability, one token long is left to HFLM itself.

    `watched`: tokens whose log-probabilities are kept for every prompt that an answer is generated to, as the first
    token of that answer; a later request for them costs nothing, until `forget`. A token's own logit is float32, where
    HFLM in bf16 has two decimals and ties.
    """

    watched: tuple[int, ...] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: dict[tuple[int, ...], dict[int, tuple[float, bool]]] = {}

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        if not requests:
            return []
        asked = [request.args[1] for request in requests]
        self.require_room(asked[0], "a task", "set evaluate.max_gen_toks, or the task's own, to fewer")
        settings: dict[str, Any] = dict(normalize_gen_kwargs(asked[0], self.max_gen_toks))
        limit = settings.pop("max_gen_toks")
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        strings = handle_stop_sequences(settings.pop("until", None), eos=eos)
        if not is_greedy(settings) or any(other != asked[0] for other in asked):
            with told_of_memory(self.batch_size):
                found: list[str] = super().generate_until(requests, disable_tqdm)
            return found
        rows = [Row(at, self.context(request.args[0], limit), limit) for at, request in enumerate(requests)]
        texts = [""] * len(rows)
        progress = Progress(len(rows))
        answers = decode(
            self.model,
            rows,
            slots=int(self.batch_size),
            end=list(self.model.generation_config.eos_token_id),
            sampling=None,
            seed=0,
            stops=stops_at(strings, lambda tokens: self.tok_decode(tokens, skip_special_tokens=False)),
            first=(lambda rows, after: self.keep(rows, after, self.watched)) if self.watched else None,
        )
        with told_of_memory(self.batch_size):
            for ended in answers:
                progress.count(len(ended), sum(len(tokens) for _, tokens in ended))
                for row, tokens in ended:
                    texts[row.index] = postprocess_generated_text(self.tok_decode(tokens), strings, None)
        return texts

    def require_room(self, settings: Mapping[str, Any], who: str, way_out: str) -> None:
        """
        Raises:
            KormedError: lm-eval's settings of a generation ask for as many new tokens as the base holds, or more.
        """
        limit = normalize_gen_kwargs(dict(settings), self.max_gen_toks)["max_gen_toks"]
        if limit >= self.max_length:
            raise KormedError(
                f"evaluate: {who} asks for up to {limit} new tokens, which leave no room for a question in the base's "
                f"{self.max_length}; {way_out}"
            )

    def forget(self) -> None:
        """Watch nothing, and keep nothing of what was asked: the prompts of all subsets would grow to no use."""
        self.watched = ()
        self.seen.clear()

    def context(self, text: str, limit: int) -> tuple[int, ...]:
        """Token ids as HFLM makes them, with room for `limit` more; alone, so without padding."""
        ids, _ = self.tok_batch_encode([text], left_truncate_len=self.max_length - limit, truncation=self.truncation)
        return tuple(ids[0].tolist())

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Each continuation's log-probability, and whether it is the most likely one."""
        if any(len(after) != 1 or len(before) >= self.max_length for _, before, after in requests):
            with told_of_memory(self.batch_size):
                found: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
            return found
        wanted: dict[tuple[int, ...], list[int]] = {}  # several continuations, such as the letters, of one context
        for _, before, (token,) in requests:
            if token not in self.seen.get(tuple(before), {}):
                wanted.setdefault(tuple(before), []).append(token)
        rows = [Row(at, before, 1) for at, before in enumerate(wanted)]
        progress = Progress(len(rows))
        with told_of_memory(self.batch_size):
            for read, after in score_next(self.model, rows, slots=int(self.batch_size)):
                progress.count(len(read), len(read))
                self.keep(read, after, sorted({token for row in read for token in wanted[row.ids]}))
        return [self.seen[tuple(before)][token] for _, before, (token,) in requests]

    def keep(self, rows: Sequence[Row], after: Next, tokens: Sequence[int]) -> None:
        """Log-probabilities of tokens after each prompt, and whether each is the likeliest."""
        for row, values, best in zip(rows, after.of(tokens).tolist(), after.likeliest.tolist(), strict=True):
            kept = {token: (value, token == best) for token, value in zip(tokens, values, strict=True)}
            self.seen[row.ids] = self.seen.get(row.ids, {}) | kept


def is_greedy(settings: dict[str, Any]) -> bool:
    """Whether lm-eval's settings beside length and stop strings ask for the likeliest token each time."""
    return settings.keys() <= {"do_sample", "temperature"} and not settings.get("do_sample")


def stops_at(strings: Sequence[str], read: Callable[[Sequence[int]], str]) -> Stops:
    """Whether one of the strings stands in an answer; looked for near its end, then in all of it, to be sure."""
    wanted = [string for string in strings if string]

    def stops(tokens: Sequence[int]) -> bool:
        near = read(tokens[-LOOKED_AT:])
        found = [string for string in wanted if string in near]
        return bool(found) and (len(tokens) <= LOOKED_AT or any(string in read(tokens) for string in found))

    return stops


@contextmanager
def told_of_memory(batch_size: object) -> Iterator[None]:
    """Raises KormedError, with the setting to change, where it does not fit into the GPU's memory."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise KormedError(
            f"evaluate: out of GPU memory with batch_size {batch_size}; lower evaluate.batch_size, or free the GPU"
        ) from None
