"""What a run has cost, in Korean. `cost_wording` says the same in English, under the same names."""

from collections.abc import Sequence

from stages.core.cost import Cost, Total
from stages.core.figures import gibibytes, hours

HEADINGS = ("단계", "걸린 시간", "장치", "GPU 시간", "최대 메모리")
MEANS = (
    "걸린 시간은 한 단계의 모든 세션을 시작부터 끝까지 더한 것이며, 멈춘 뒤 다시 시작할 때까지 기다린 시간은 넣지 "
    "않았습니다. GPU 시간은 여기에 실제로 쓴 GPU 수를 곱한 값입니다. GPU의 최대 메모리는 PyTorch가 GPU 한 장에 한 번에 "
    "할당한 최댓값이고(CUDA 자체의 몫과 할당자의 여유분은 별도), CPU에서는 프로세스가 주 메모리를 차지한 최댓값입니다. "
    "프로세스가 여럿이면 첫 번째 프로세스의 값입니다."
)
UNKNOWN = "알 수 없음"
NAMES = {
    "collect": "수집",
    "import": "가져오기",
    "restructure": "재구성",
    "prepare": "데이터 준비",
    "sft": "SFT",
    "candidates": "후보 답변 생성",
    "agreement": "일치도 계산",
    "preferences": "선호 데이터 생성",
    "dpo": "DPO",
    "evaluate": "평가",
    "head_to_head": "2차 비교 준비",
    "winrate": "승률 계산",
    "report": "보고서",
}


def summary(totals: Sequence[Total]) -> list[str]:
    """A sentence or two for each kind of device."""
    return [sentence for total in totals for sentence in (took(total), left_out(total)) if sentence]


def took(total: Total) -> str:
    """What is known of a kind of device; empty where nothing is."""
    if not total.known:
        return ""
    cost = f"GPU 시간은 {gpus(total)}에서 {hours(total.hours)}시간"
    if total.kind == "cpu":
        cost = f"시간은 GPU 없이({total.device}) {duration(3600 * total.hours)}"
    return f"{names(total.known)} 단계에 든 {cost}{f'이고, {peak(total)}.' if peak(total) else '입니다.'}"


def peak(total: Total) -> str:
    """The end of a sentence; empty where no stage's memory was recorded."""
    if total.peak is None or total.peak.peak_memory is None:
        return ""
    of = {"gpu": "", "process": "주 메모리, ", "process since it began": "같은 프로세스의 앞 단계를 포함한 주 메모리, "}
    words = of[total.peak.peak_memory_of or "gpu"]
    return f"최대 메모리는 {gibibytes(total.peak.peak_memory)}({words}{total.peak.stage})였습니다"


def left_out(total: Total) -> str:
    """What is not known of a kind of device; empty where all is."""
    if not total.unknown:
        return ""
    what = "GPU 시간" if total.kind == "gpu" else "전체 시간"
    last = duration(sum(row.last_seconds for row in total.unknown))
    sessions = "마지막 세션" if len(total.unknown) == 1 else "마지막 세션들을 합하면"
    return (
        f"{names(total.unknown)} 단계는 이를 기록하기 전에 만들어져 {what}을 알 수 없습니다"
        f"(장치: {total.device}, {sessions} {last})."
    )


def gpus(total: Total) -> str:
    """`1 x NVIDIA H100`, `최대 8 x NVIDIA H100`."""
    fewest, most = total.gpus
    return f"{'최대 ' if fewest < most else ''}{most} x {total.device}"


def names(rows: Sequence[Cost]) -> str:
    """`SFT, 후보 답변 생성, DPO, 평가`."""
    return ", ".join(dict.fromkeys(NAMES.get(row.stage.split("/")[0], row.stage.split("/")[0]) for row in rows))


def time(row: Cost) -> str:
    """A cell of the table."""
    if row.seconds is None:
        return f"적어도 {duration(row.last_seconds)}"
    return duration(row.seconds) + (f" (세션 {row.sessions}개)" if row.sessions > 1 else "")


def gpu_hours(row: Cost) -> str:
    """A cell of the table; a dash for a stage that used no GPU."""
    if row.kind == "cpu":
        return "–"
    return UNKNOWN if row.gpu_hours is None else hours(row.gpu_hours)


def memory(row: Cost) -> str:
    """A cell of the table."""
    if row.peak_memory is None:
        return UNKNOWN
    of = {"gpu": "GPU", "process": "주 메모리", "process since it began": "앞 단계를 포함한 주 메모리"}
    return f"{gibibytes(row.peak_memory)}, {of[row.peak_memory_of or 'gpu']}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}시간 {minutes:02d}분" if hours else f"{minutes}분 {rest:02d}초" if minutes else f"{seconds:.1f}초"
