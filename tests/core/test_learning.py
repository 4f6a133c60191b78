"""What a training's curves show, as values: scatter is no change."""

from collections.abc import Sequence

from stages.core.learning import (
    ChosenFell,
    HeldOutAtChance,
    HeldOutStayed,
    LossNeverFell,
    LossRises,
    NoneHeldOut,
    NotLookedAt,
    PolicyAgrees,
    chosen_remarks,
    dpo_remarks,
    heldout_remark,
    loss_remarks,
)

JITTER = [0.05 * (-1) ** step for step in range(60)]


def logged(key: str, values: Sequence[float]) -> list[dict[str, object]]:
    return [{"step": step, key: value} for step, value in enumerate(values, start=1)]


def held_out(shares: Sequence[float], *, growing: bool = True) -> list[dict[str, object]]:
    """50 steps with growing, or level margins, and looks at the held-out preferences."""
    margins = [step / 50 + JITTER[step] if growing else JITTER[step] for step in range(50)]
    return [*logged("rewards/margins", margins), *logged("eval_rewards/accuracies", shares)]


def test_a_loss_that_falls_is_no_remark() -> None:
    assert loss_remarks(logged("loss", [2.4 - step / 40 + 4 * JITTER[step] for step in range(60)])) == []


def test_a_loss_that_rises_at_the_end_is_one_with_both_means() -> None:
    falling = [2.4 - step / 20 + JITTER[step] for step in range(40)]
    found = loss_remarks(logged("loss", [*falling, *(1.5 + JITTER[step] for step in range(20))]))
    assert len(found) == 1
    assert isinstance(found[0], LossRises)
    assert round(found[0].last, 6) == 1.5
    assert found[0].lowest < 1.0


def test_a_loss_that_never_fell_is_one() -> None:
    assert loss_remarks(logged("loss", [2.4 + JITTER[step] for step in range(60)])) == [LossNeverFell()]


def test_too_few_steps_show_no_trend() -> None:
    assert loss_remarks(logged("loss", [1.0] * 19)) == []


def test_chosen_answers_that_became_less_likely_are_said_with_their_reward() -> None:
    found = chosen_remarks(logged("rewards/chosen", [-step / 50 + JITTER[step] for step in range(50)]))
    assert len(found) == 1
    assert isinstance(found[0], ChosenFell)
    assert -0.95 < found[0].reward < -0.85
    assert chosen_remarks(logged("rewards/chosen", [JITTER[step] for step in range(50)])) == []


def test_without_held_out_preferences_nothing_is_said_of_them() -> None:
    assert heldout_remark(held_out([0.5, 0.75]), 0) == NoneHeldOut()
    assert heldout_remark(held_out([]), 12) == NotLookedAt()


def test_margins_that_grow_alone_are_told_from_a_policy_that_agrees() -> None:
    assert heldout_remark(held_out([0.75, 0.5]), 12) == HeldOutStayed(0.75, 0.5, 12)
    assert heldout_remark(held_out([0.75, 0.75]), 12) == HeldOutStayed(0.75, 0.75, 12)
    assert heldout_remark(held_out([0.5]), 12) == HeldOutAtChance(0.5, 12)
    assert heldout_remark(held_out([0.25, 0.5]), 12) == HeldOutAtChance(0.5, 12)
    assert heldout_remark(held_out([0.5, 0.75]), 12) == PolicyAgrees(0.75, 12)
    assert heldout_remark(held_out([0.75, 0.5], growing=False), 12) == PolicyAgrees(0.5, 12)


def test_dpo_is_looked_at_in_all_three_ways() -> None:
    rows = [
        *logged("loss", [0.69 + JITTER[step] for step in range(60)]),
        *logged("rewards/chosen", [-1 + JITTER[step] for step in range(60)]),
    ]
    assert [type(found) for found in dpo_remarks(rows, 3)] == [LossNeverFell, ChosenFell, NotLookedAt]
