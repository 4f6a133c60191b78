"""Training without padding: a batch's rows stand in one sequence, and attention is kept apart by row.

`remove_padding` wraps a Gemma's decoder. What goes in (padded rows with their attention mask, or rows packed into one
sequence with position ids that begin anew at each row) and what comes out keep their shapes, so the trainer above and
its loss are the same; only what is computed in between is less. On a GPU attention runs in flex attention's blocks of
tokens (arXiv 2412.05496) with Gemma 2's soft-capping as its score function; on a CPU, where flex attention does not
train, with a dense mask.

A preference's two sides begin with the same tokens: they are computed once and what follows them is a branch a side,
which does not see the other.

The block mask is made here from the rows' bounds. transformers would compile `create_block_mask` for it, which hung or
crashed with full packs (torch 2.11, transformers 5.17).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask
from transformers import PreTrainedModel

BLOCK = 128  # tokens; flex attention's default
FLEX = "flex_attention"


@dataclass(frozen=True)
class Layout:
    """Whose each token of the sequence is; all (T).

    `documents` never falls from one token to the next. `places` count within a document what a token's positions are
    apart. `branches`, None where there are no pairs: 0 for what a pair's sides share, 1 the rest of the chosen side,
    2 of the rejected one; they follow each other in this order.
    """

    documents: torch.Tensor
    places: torch.Tensor
    branches: torch.Tensor | None


def remove_padding(model: PreTrainedModel, multiple: int, pairs: bool = False) -> None:
    """Wrap the model's decoder; sequences are filled up to a multiple of `multiple` tokens.

    A compiled model sees few lengths that way. `multiple` itself is rounded up to one of 128. With `pairs` a batch's
    rows are TRL's for DPO: the chosen sides, then the rejected ones in the same order.
    """
    decoder: Any = model.base_model
    decoder.forward = without_padding(decoder.forward, decoder.config, -(-multiple // BLOCK) * BLOCK, pairs)


def without_padding(forward: Callable[..., Any], config: Any, multiple: int, pairs: bool) -> Callable[..., Any]:
    @wraps(forward)
    def flat_forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        real, branches, shared = None, None, None
        if attention_mask is None:
            if position_ids is None:
                raise AssertionError("neither an attention mask nor position ids say where rows end")
            ids, positions = input_ids.flatten(), position_ids.flatten()  # packed, so every token is one of a row
        else:
            if pairs:
                real, branches, shared = side_by_side(input_ids, attention_mask)
            else:
                real = attention_mask.flatten().nonzero().squeeze(1)
            ids, positions = input_ids.flatten()[real], (attention_mask.cumsum(1) - 1).flatten()[real]
        tokens = len(ids)  # known without asking the GPU again, which would wait for all that is under way there
        rows = layout(fill_up(positions, multiple), None if branches is None else fill_up(branches, multiple))
        mask = block_mask if config._attn_implementation == FLEX else dense_mask
        output = forward(
            input_ids=fill_up(ids, multiple)[None],
            position_ids=fill_up(positions, multiple)[None],
            attention_mask={
                "full_attention": mask(rows, None),
                "sliding_attention": mask(rows, config.sliding_window),
            },
            **{key: value for key, value in options.items() if key not in VARLEN},
        )
        hidden = output.last_hidden_state[0, :tokens]
        if real is not None:
            hidden = hidden.new_zeros(input_ids.numel(), hidden.shape[-1]).index_copy(0, real, hidden)
        hidden = hidden.view(*input_ids.shape, -1)
        if shared is not None:
            chosen, rejected = hidden.chunk(2)
            hidden = torch.cat([chosen, torch.where(shared[..., None], chosen, rejected)])
        output.last_hidden_state = hidden
        return output

    return flat_forward


def side_by_side(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is to be computed of padded pairs (2 n, L): each chosen side, then what its rejected side has alone.

    Returns the tokens' places in the flattened rows and their branches, and which tokens (n, L) a pair's sides share.
    """
    (chosen, rejected), (of_chosen, of_rejected) = ids.chunk(2), mask.bool().chunk(2)
    shared = ((chosen == rejected) & of_chosen & of_rejected).int().cumprod(1).bool()
    places = torch.arange(ids.numel(), device=ids.device).view(2, *shared.shape).transpose(0, 1)
    kept = places[torch.stack([of_chosen, of_rejected & ~shared], 1)]
    branches = torch.cat([(~shared).int(), torch.full_like(shared, 2, dtype=torch.int)])
    return kept, branches.flatten()[kept], shared


def layout(positions: torch.Tensor, branches: torch.Tensor | None) -> Layout:
    """A document begins at each position 0."""
    starts = torch.where(positions == 0, torch.arange(len(positions), device=positions.device), 0).cummax(0).values
    return Layout((positions == 0).cumsum(0), starts + positions, branches)


# What TRL's collator adds for FlashAttention; its own position ids are all that is needed here.
VARLEN = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")


def fill_up(values: torch.Tensor, multiple: int) -> torch.Tensor:
    """Zeros at the end up to a multiple: token 0 at position 0, so that each is a row of its own that nobody sees."""
    return torch.nn.functional.pad(values, (0, -len(values) % multiple))


def allowed(rows: Layout, window: int | None, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Whether token q may look at token kv: in the same row, not later, and within the sliding window if there is one.

    A window of w lets a token see itself and the w - 1 before it (transformers' sliding_window_overlay).
    """
    seen = (rows.documents[q] == rows.documents[kv]) & (kv <= q)
    if rows.branches is not None:
        seen = seen & ((rows.branches[kv] == 0) | (rows.branches[kv] == rows.branches[q]))
    return seen if window is None else seen & (rows.places[q] - rows.places[kv] < window)


def dense_mask(rows: Layout, window: int | None) -> torch.Tensor:
    """(1, 1, T, T): 0 where a token may look, the type's lowest value elsewhere."""
    at = torch.arange(len(rows.documents), device=rows.documents.device)
    seen = allowed(rows, window, at[:, None], at[None, :])
    mask = torch.zeros(seen.shape, device=rows.documents.device)
    return mask.masked_fill(~seen, torch.finfo(mask.dtype).min)[None, None]


def block_mask(rows: Layout, window: int | None) -> BlockMask:
    """The same for flex attention, in blocks of 128 x 128 tokens: none, part or all of one may be seen.

    A block's lowest and highest document, place and branch say enough; where they leave a doubt, it is a part.
    """
    first, last = bounds(rows.documents)
    at = torch.arange(len(first), device=first.device)
    q, kv = at[:, None], at[None, :]
    touched = (kv <= q) & (last[kv] >= first[q])
    whole = (kv < q) & (first[kv] == last[q])
    if rows.branches is not None:
        low, high = bounds(rows.branches)
        whole &= (high[kv] == 0) | ((low[kv] == high[q]) & (high[kv] == low[q]))
    if window is not None:
        nearest, farthest = bounds(rows.places)
        touched &= nearest[q] - farthest[kv] < window
        whole &= farthest[q] - nearest[kv] < window

    def mask_mod(batch: torch.Tensor, head: torch.Tensor, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return allowed(rows, window, q, kv)

    return BlockMask.from_kv_blocks(
        *listed(touched & ~whole), *listed(touched & whole), BLOCK_SIZE=BLOCK, mask_mod=mask_mod
    )


def bounds(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and the highest of each block."""
    low, high = values.view(-1, BLOCK).aminmax(dim=1)
    return low, high


def listed(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row of a (n, n) mask: how many are set, and their columns first; int32, with batch and head in front."""
    columns = blocks.int().argsort(dim=1, descending=True, stable=True)
    return blocks.sum(1).int()[None, None], columns.int()[None, None]
