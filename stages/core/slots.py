"""Continuous batching: rows of different lengths decoded side by side in slots that are refilled as rows end.

Every slot has its own keys and values, with every position kept: a sliding window is a mask, not a shorter cache. New
rows are read (prefilled) together, longest first, each prompt once however many rows it has, and what all prompts begin
with (an exam's few-shot examples) once for all; then all slots take a step at a time. On a GPU the step is a CUDA
graph: at one token a row it is some thousand small kernels, and launching them one by one takes longer than running
them.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from stages.core.merged import Forward, merged, merged_bytes, replacing
from stages.core.nucleus import choose, uniforms
from stages.core.recipe import Sampling

log = logging.getLogger("kormed")

ATTENTION = "kormed_grouped"  # the name that our attention is registered under
WIDTH = 256  # a step attends over the cache up to the longest live row, rounded up to a multiple of this
PREFILL_TOKENS = 8192  # padding included, read in one forward
REFILL = 8  # a share of 1/8 of the slots is waited for before new rows are read, since reading stops all the others
MERGED_SHARE = 0.25  # of a GPU's free memory, that merged weights may take
MEMORY_SHARE = (
    0.6  # of what is free then, for keys, values and logits; the rest for reading prompts and matrix products
)


Stops = Callable[[Sequence[int]], bool]  # of an answer's tokens so far, whether it is over


@dataclass(frozen=True)
class Row:
    """A prompt to answer: its index (which seeds its sampling), its token ids, and how many new tokens at most."""

    index: int
    ids: tuple[int, ...]
    limit: int


@dataclass
class Live:
    """A row in a slot, and its answer so far."""

    row: Row
    drawn: Sequence[float]
    tokens: list[int] = field(default_factory=list)

    def ended(self, end: Sequence[int], stops: Stops | None) -> bool:
        if self.tokens[-1] in end or len(self.tokens) == self.row.limit:
            return True
        return stops is not None and stops(self.tokens)


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What transformers' eager attention gives, without its copy of keys and values for every query head.

    Args:
        query: [batch, heads, length, size].
        key, value: [batch, key heads, width, size]; heads that share a key head stand together.
        attention_mask: [batch or 1, 1, length, width], added to the scores.

    Returns:
        [batch, length, heads, size].
    """
    batch, heads, length, size = query.shape
    shared, width = key.shape[1:3]
    grouped = (query * scaling).reshape(batch * shared, -1, size)
    scores = grouped @ key.reshape(batch * shared, width, size).transpose(1, 2)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    masked = scores.view(batch, shared, -1, length, width) + attention_mask[:, :, None]
    weights = masked.softmax(-1, dtype=torch.float32).to(value.dtype).view(batch * shared, -1, width)
    output = weights @ value.reshape(batch * shared, width, size)
    return output.view(batch, heads, length, size).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, grouped_attention)


@contextmanager
def attending(config: Any) -> Iterator[None]:
    """With our attention for as long as it lasts; the model's own afterwards."""
    own = config._attn_implementation
    config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = own


def masks(seen: Tensor, distance: Tensor, window: int | None, dtype: torch.dtype) -> dict[str, Tensor]:
    """The two that Gemma takes ready-made: `seen` positions, and of those the ones nearer than the window."""

    def added(allowed: Tensor) -> Tensor:
        return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(
            ~allowed, torch.finfo(dtype).min
        )

    full = added(seen)
    return {
        "full_attention": full,
        "sliding_attention": full if window is None else added(seen & (distance < window)),
    }


@dataclass(frozen=True)
class Next:
    """What may come next after each of some prompts: the likeliest token, and log-probabilities [prompts, tokens] of
    tokens that one asks for. Their own logits are float32: in bf16 two of five letters often have the same.
    """

    likeliest: Tensor
    of: Callable[[Sequence[int]], Tensor]


First = Callable[[Sequence[Row], Next], None]  # told of every prompt as it is read


class Prefilled(Cache):
    """Keys and values of new prompts, layer by layer, as they were computed; `before` them stand those of a prefix."""

    def __init__(self, before: Sequence[tuple[Tensor, Tensor]] = ()) -> None:
        super().__init__(layers=[])
        self.before = before
        self.kept: list[tuple[Tensor, Tensor]] = []

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        self.kept.append((key_states, value_states))
        if not self.before:
            return key_states, value_states
        key, value = (one.expand(len(key_states), -1, -1, -1) for one in self.before[layer_idx])
        return torch.cat([key, key_states], 2), torch.cat([value, value_states], 2)


class Stepped(Cache):
    """All slots' keys and values, of which a step writes one position a slot and sees the first `width`."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], positions: Tensor, width: int) -> None:
        super().__init__(layers=[])
        self.keys, self.values, self.positions, self.width = keys, values, positions, width
        self.slots = torch.arange(len(positions), device=positions.device)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        keys[self.slots, :, self.positions] = key_states[:, :, 0]
        values[self.slots, :, self.positions] = value_states[:, :, 0]
        return keys[:, :, : self.width], values[:, :, : self.width]


class Slots:
    """The model with its slots' keys and values, and what a step reads and writes: buffers that never move."""

    def __init__(self, model: Any, count: int, width: int, forwards: Mapping[nn.Module, Forward]) -> None:
        self.count, self.width, self.forwards = count, width, forwards
        self.config = model.config.get_text_config()
        self.decoder, self.head = model.get_decoder(), model.get_output_embeddings()
        self.device, self.dtype = model.device, self.decoder.embed_tokens.weight.dtype
        shape = (count, self.config.num_key_value_heads, width, self.config.head_dim)
        layers = range(self.config.num_hidden_layers)
        self.keys = [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in layers]
        self.values = [torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in layers]
        self.tokens = torch.zeros(count, dtype=torch.long, device=self.device)
        self.positions = torch.zeros(count, dtype=torch.long, device=self.device)
        self.logits = torch.zeros(count, self.head.weight.shape[0], device=self.device)
        self.prefix: Sequence[int] = ()
        self.before: list[tuple[Tensor, Tensor]] = []  # the prefix's keys and values, [1, key heads, length, size]
        self.last = torch.empty(0)  # of the prompts that were read last, what the head made their logits of
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.capturing = self.device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if self.capturing else None

    @torch.inference_mode()
    def read_prefix(self, prefix: Sequence[int]) -> None:
        """Read what all prompts begin with, once."""
        self.prefix = prefix
        if prefix:
            places = torch.arange(len(prefix), device=self.device)
            distance = (places[:, None] - places)[None, None]
            cache = Prefilled()
            self.run(torch.tensor([prefix], device=self.device), places[None], distance >= 0, distance, cache)
            self.before = cache.kept

    @torch.inference_mode()
    def read(self, prompts: Sequence[Sequence[int]], slots: Sequence[int], which: Sequence[int]) -> Tensor:
        """Read prompts and put number `which[i]` of them into slot `slots[i]`; the logits of each slot's next token.

        Padding stands on the right, where no prompt's token sees it; a slot's next steps write over it.
        """
        start = len(self.prefix)
        rests = [prompt[start:] for prompt in prompts]
        width = max(len(rest) for rest in rests)
        ids = torch.tensor([[*rest, *[0] * (width - len(rest))] for rest in rests], device=self.device)
        places = torch.arange(start + width, device=self.device)
        distance = (places[start:, None] - places)[None, None]
        cache = Prefilled(self.before)
        hidden = self.run(ids, places[None, start:].expand_as(ids), distance >= 0, distance, cache)
        into, of = torch.tensor(slots, device=self.device), torch.tensor(which, device=self.device)
        for layer, (key, value) in enumerate(cache.kept):
            if start:  # each time: a step writes at position 0 of the slots that are not in use
                self.keys[layer][into, :, :start], self.values[layer][into, :, :start] = self.before[layer]
            self.keys[layer][into, :, start : start + width] = key[of]
            self.values[layer][into, :, start : start + width] = value[of]
        last = torch.tensor([len(rest) - 1 for rest in rests], device=self.device)
        self.last = hidden[torch.arange(len(rests), device=self.device), last][of]
        return self.score(self.last)

    @torch.inference_mode()
    def step(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Each slot's next logits, [slots, vocabulary], after its token at its position; unused slots are at 0."""
        self.tokens.copy_(torch.tensor(tokens))
        self.positions.copy_(torch.tensor(positions))
        width = min(multiple(max(positions) + 1, WIDTH), self.width)
        if self.capturing and width not in self.graphs:
            self.capture(width)
        if width in self.graphs:
            self.graphs[width].replay()
        else:
            self.forward(width)
        return self.logits

    def forward(self, width: int) -> None:
        """From the buffers into the buffers alone, without a look at any value: so it can be captured."""
        places = torch.arange(width, device=self.device)
        distance = (self.positions[:, None] - places)[:, None, None]
        cache = Stepped(self.keys, self.values, self.positions, width)
        hidden = self.run(self.tokens[:, None], self.positions[:, None], distance >= 0, distance, cache)
        self.logits.copy_(self.score(hidden[:, 0]))

    def run(self, ids: Tensor, positions: Tensor, seen: Tensor, distance: Tensor, cache: Cache) -> Tensor:
        with attending(self.config), replacing(self.forwards):
            hidden: Tensor = self.decoder(
                input_ids=ids,
                position_ids=positions,
                attention_mask=masks(seen, distance, self.config.sliding_window, self.dtype),
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
        return hidden

    def score(self, hidden: Tensor) -> Tensor:
        """float32 logits, soft-capped where the model has it, as its own forward and transformers' sampling do."""
        return self.capped(self.head(hidden)).float()

    def capped(self, logits: Tensor) -> Tensor:
        cap: float | None = self.config.final_logit_softcapping
        return logits if cap is None else (logits / cap).tanh() * cap

    @torch.inference_mode()
    def next_scores(self, logits: Tensor) -> Next:
        """Of the prompts that were read last, whose `logits` these are."""
        last, weight = self.last.float(), self.head.weight

        @torch.inference_mode()
        def of(tokens: Sequence[int]) -> Tensor:
            asked = torch.tensor(tokens, device=weight.device)
            exact = logits.clone()
            exact[:, asked] = self.capped(last @ weight[asked].float().T)
            return exact.log_softmax(-1)[:, asked]

        return Next(logits.argmax(-1), of)

    def capture(self, width: int) -> None:
        """Record the step over `width` positions as a CUDA graph; without one where that fails."""
        graph = torch.cuda.CUDAGraph()
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        try:
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # libraries choose and allocate in the first run; a graph may not
                self.forward(width)
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(graph, pool=self.pool):
                self.forward(width)
            self.graphs[width] = graph
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.capturing = False
            log.info("generation: steps run without a CUDA graph: %s", " ".join(str(error).split())[:300])


def slots_that_fit(model: Any, width: int, wanted: int) -> int:
    """`wanted`, or as many as find room in MEMORY_SHARE of the free memory, at least one.

    A slot has keys and values of every layer and position, and four float32 copies of its logits while it is sampled.
    """
    config = model.config.get_text_config()
    numbers = config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * width
    size = numbers * model.get_input_embeddings().weight.element_size() + 16 * config.vocab_size
    return max(1, min(wanted, int(MEMORY_SHARE * free_memory(model.device) / size)))


def merged_if_it_fits(model: Any) -> dict[nn.Module, Forward]:
    """On a GPU with room for them, merged weights; else none, and the layers stay as they are."""
    decoder, dtype = model.get_decoder(), model.get_input_embeddings().weight.dtype
    if model.device.type != "cuda" or merged_bytes(decoder, dtype) > MERGED_SHARE * free_memory(model.device):
        return {}
    return merged(decoder, dtype)


def free_memory(device: torch.device) -> int:
    """Bytes, what torch holds without using it included."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + unused)


def decode(
    model: Any,
    rows: Sequence[Row],
    *,
    slots: int,
    end: Sequence[int],
    sampling: Sampling | None,
    seed: int,
    stops: Stops | None = None,
    first: First | None = None,
) -> Iterator[list[tuple[Row, list[int]]]]:
    """Rows and their new tokens as they end: with one of `end` (their last token then), where `stops` says so, or at
    their limit. What all prompts begin with is read once. `first` hears what may come after each prompt.
    """
    if not rows:
        return
    held = slots_for(model, rows, slots)
    waiting = longest_first(rows)
    live: dict[int, Live] = {}
    while waiting or live:
        free = [slot for slot in range(held.count) if slot not in live]
        if waiting and len(free) >= min(len(waiting), -(-held.count // REFILL)):
            for group in groups(waiting, free, len(held.prefix)):
                live |= admit(held, group, sampling, seed, first)
        else:
            step(held, live, sampling)
        ended = [slot for slot, one in live.items() if one.ended(end, stops)]
        if ended:
            yield [(one.row, one.tokens) for one in map(live.pop, ended)]


def score_next(model: Any, rows: Sequence[Row], *, slots: int) -> Iterator[tuple[list[Row], Next]]:
    """Rows and what may come next after them, as they are read."""
    if not rows:
        return
    held = slots_for(model, rows, slots)
    waiting = longest_first(rows)
    while waiting:
        for group in groups(waiting, range(held.count), len(held.prefix)):
            yield [row for _, row in group], held.next_scores(read(held, group))


def slots_for(model: Any, rows: Sequence[Row], wanted: int) -> Slots:
    """Room for the longest row, in `wanted` slots or as many as fit, with what all prompts begin with read."""
    width = multiple(max(len(row.ids) + row.limit for row in rows), 64)
    prefix = common_prefix([row.ids for row in rows])
    forwards = merged_if_it_fits(model)
    count = slots_that_fit(model, width, min(wanted, len(rows)))
    log.info(
        "generation: %d rows over %d slots (of %d at most) of %d tokens, the first %d of them read once, weights %s",
        *(len(rows), count, wanted, width, len(prefix), "merged" if forwards else "as they are"),
    )
    held = Slots(model, count, width, forwards)
    held.read_prefix(prefix)
    return held


def longest_first(rows: Sequence[Row]) -> deque[Row]:
    return deque(sorted(rows, key=lambda row: (-len(row.ids), row.ids, row.index)))


def common_prefix(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """What all begin with, but not all of any: its last token's logits choose the first new one."""
    first, last = min(prompts), max(prompts)  # in the order of their tokens the two that have least in common
    most = min(map(len, prompts)) - 1
    same = (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: min(next(same, most), most)]


def groups(waiting: deque[Row], free: Sequence[int], shared: int) -> Iterator[list[tuple[int, Row]]]:
    """Take rows for the free slots, in groups whose prompts, each once and padded, have at most PREFILL_TOKENS behind
    the `shared` ones.
    """
    group: list[tuple[int, Row]] = []
    for slot in free[: len(waiting)]:
        prompts = {row.ids for _, row in group} | {waiting[0].ids}
        if group and len(prompts) * (len(group[0][1].ids) - shared) > PREFILL_TOKENS:
            yield group
            group = []
        group.append((slot, waiting.popleft()))
    yield group


def admit(
    held: Slots, group: Sequence[tuple[int, Row]], sampling: Sampling | None, seed: int, first: First | None
) -> dict[int, Live]:
    """Read the group's prompts into its slots, and choose every row's first token."""
    logits = read(held, group)
    if first is not None:
        first([row for _, row in group], held.next_scores(logits))
    new = {slot: Live(row, uniforms(seed, row.index, row.limit) if sampling else ()) for slot, row in group}
    take(list(new.values()), logits, sampling)
    return new


def read(held: Slots, group: Sequence[tuple[int, Row]]) -> Tensor:
    """Each row's logits of its next token; a prompt that several rows have is read once."""
    prompts = {row.ids: 0 for _, row in group}
    number = {ids: at for at, ids in enumerate(prompts)}
    return held.read(list(prompts), [slot for slot, _ in group], [number[row.ids] for _, row in group])


def step(held: Slots, live: dict[int, Live], sampling: Sampling | None) -> None:
    """One more token for every live row."""
    rows = [live.get(slot) for slot in range(held.count)]
    tokens = [one.tokens[-1] if one else 0 for one in rows]
    positions = [len(one.row.ids) + len(one.tokens) - 1 if one else 0 for one in rows]
    take(rows, held.step(tokens, positions), sampling)


@torch.inference_mode()
def take(rows: Sequence[Live | None], logits: Tensor, sampling: Sampling | None) -> None:
    drawn = [one.drawn[len(one.tokens)] if one and sampling else 0.0 for one in rows]
    chosen = choose(logits, torch.tensor(drawn, device=logits.device), sampling).tolist()
    for one, token in zip(rows, chosen, strict=True):
        if one:
            one.tokens.append(token)


def multiple(number: int, of: int) -> int:
    """The least multiple that is not below."""
    return -(-number // of) * of
