"""What a run has cost, in English. `cost_wording_ko` says the same in Korean, under the same names."""

from collections.abc import Sequence

from stages.core import pipeline
from stages.core.cost import Cost, Total
from stages.core.figures import gibibytes, hours

HEADINGS = ("stage", "took", "device", "GPU hours", "peak memory")
MEANS = (
    "Time is from start to end of every session of a stage; the wait between a stop and the next start does not count. "
    "GPU hours are that time times the GPUs that worked. Peak memory on a GPU is the most that PyTorch had allocated "
    "on one GPU at a time (CUDA's own share and the allocator's reserve come on top); on a CPU the most of the process "
    "that was in main memory. Of several processes it is the first one's."
)
UNKNOWN = "unknown"
NAMES = {"sft": "SFT", "dpo": "DPO", "evaluate": "evaluation", "head_to_head": "head to head", "winrate": "win rate"}


def summary(totals: Sequence[Total]) -> list[str]:
    """A sentence or two for each kind of device."""
    return [sentence for total in totals for sentence in (took(total), left_out(total)) if sentence]


def took(total: Total) -> str:
    """What is known of a kind of device; empty where nothing is."""
    if not total.known:
        return ""
    named = names(total.known)
    cost = f"{hours(total.hours)} GPU hours on {gpus(total)}"
    if total.kind == "cpu":
        cost = f"{duration(3600 * total.hours)} without a GPU ({total.device})"
    return f"{named[0].upper()}{named[1:]} took {cost}{peak(total)}."


def peak(total: Total) -> str:
    """The end of a sentence; empty where no stage's memory was recorded."""
    if total.peak is None or total.peak.peak_memory is None:
        return ""
    of = {
        "gpu": "",
        "process": " of main memory",
        "process since it began": " of main memory, earlier stages of the same process among it",
    }
    which = "its peak" if len(total.known) + len(total.unknown) == 1 else "the largest peak"
    memory = gibibytes(total.peak.peak_memory) + of[total.peak.peak_memory_of or "gpu"]
    return f"; {which} was {memory} ({total.peak.stage})"


def left_out(total: Total) -> str:
    """What is not known of a kind of device; empty where all is."""
    if not total.unknown:
        return ""
    last = duration(sum(row.last_seconds for row in total.unknown))
    many = f"many GPU hours {names(total.unknown)} took on {total.device}"
    if total.kind == "cpu":
        many = f"long {names(total.unknown)} took without a GPU ({total.device})"
    if len(total.unknown) == 1:
        return f"How {many} is unknown, since it was made before that was recorded; the last session took {last}."
    return f"How {many} is unknown, since they were made before that was recorded; the last sessions took {last}."


def gpus(total: Total) -> str:
    """`1 x NVIDIA H100`, `up to 8 x NVIDIA H100`."""
    fewest, most = total.gpus
    return f"{'up to ' if fewest < most else ''}{most} x {total.device}"


def names(rows: Sequence[Cost]) -> str:
    """`SFT, candidates, DPO and evaluation`."""
    found = list(dict.fromkeys(NAMES.get(row.stage.split("/")[0], row.stage.split("/")[0]) for row in rows))
    return f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else found[0]


def time(row: Cost) -> str:
    """A cell of the table."""
    if row.seconds is None:
        return f"at least {duration(row.last_seconds)}"
    return duration(row.seconds) + (f" in {row.sessions} sessions" if row.sessions > 1 else "")


def gpu_hours(row: Cost) -> str:
    """A cell of the table; a dash for a stage that used no GPU."""
    if row.kind == "cpu":
        return "–"
    return UNKNOWN if row.gpu_hours is None else hours(row.gpu_hours)


def memory(row: Cost) -> str:
    """A cell of the table."""
    if row.peak_memory is None:
        return UNKNOWN
    of = {"gpu": "GPU", "process": "main memory", "process since it began": "main memory, earlier stages among it"}
    return f"{gibibytes(row.peak_memory)}, {of[row.peak_memory_of or 'gpu']}"


def duration(seconds: float) -> str:
    return pipeline.duration(seconds)
