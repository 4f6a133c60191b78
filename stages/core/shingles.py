"""Character shingles: how much two texts share, exactly, and which texts may share much, without comparing them all.

Words do not work for Korean, whose particles and endings are glued to them. Three characters were chosen by measuring
(tests/benchmarks/decontamination.py). Three code points fit into one 64-bit number, so a set of shingles is an exact
set of numbers, not of hashes, and its Jaccard similarity is exact too.

Candidates come from MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman, Ullman, Mining of Massive Datasets,
section 3.4), of datasketch, with a fixed seed: the same texts give the same candidates in every process.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

Shingles = NDArray[np.uint64]  # sorted, each once

CHARACTERS = 3
CODE_POINT_BITS = 21  # Unicode ends at 0x10FFFF; three of them leave the highest bit of 64 free
OTHER_FIELD = np.uint64(1 << 63)
NO_CHARACTER = 0x1FFFFF  # the code point slot's last value, which Unicode never gives out

PERMUTATIONS = 128
FOUND = 0.99  # chance of a pair exactly at the threshold to share a band; farther above it is greater
MARGIN = 0.15  # of an estimate: 3.4 standard deviations, sqrt(0.25 / 128) = 0.044 at a similarity of 0.5
AT_ONCE = 4096  # shingles that are permuted together: 2 MB, however long the text
MOST_CANDIDATES = 50  # of one text, the likeliest first
NEIGHBOURS = 16  # rows of a bucket on either side that a row is compared with
SORTED_BY = 4  # further values of the signature; two rows half alike share the first of them every second time
LIKELIEST, EARLIEST = 12, 4  # partners of a row among those before it; the earliest are those that stay

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 by the golden ratio
NOTHING: Shingles = np.array([], dtype=np.uint64)
UNSIGNED = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int)

MEANT = re.compile(r"(?<=\d)\.(?=\d)|(?<![\w)])[-+](?=\d)|[<>≤≥]")  # 1.5, -1, pH < 7.35


def fold(text: str) -> str:
    """NFKC, lower case, letters and numbers only: `HbA1c 검사는?` is `hba1c검사는`, but `1.5 mg` is not `15 mg`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    meant = {match.start() for match in MEANT.finditer(folded)}
    return "".join(c for at, c in enumerate(folded) if at in meant or unicodedata.category(c)[0] in "LNM")


def fold_choice(text: str) -> str:
    """Less than `fold`: in a choice, the point of `1.5 mg` and the sign of `-1` are what it is about."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".")


UNITS: dict[str, tuple[float, str]] = {  # a unit in another one
    **dict.fromkeys(("μg", "mcg", "마이크로그램"), (0.001, "mg")),
    **dict.fromkeys(("mg", "밀리그램"), (1, "mg")),
    **dict.fromkeys(("g", "그램"), (1000, "mg")),
    **dict.fromkeys(("kg", "킬로그램"), (1_000_000, "mg")),
    **dict.fromkeys(("ml", "cc", "밀리리터"), (1, "ml")),
    **dict.fromkeys(("dl",), (100, "ml")),
    **dict.fromkeys(("l", "리터"), (1000, "ml")),
    **dict.fromkeys(("mm", "밀리미터"), (1, "mm")),
    **dict.fromkeys(("cm", "센티미터", "센티"), (10, "mm")),
    **dict.fromkeys(("주일", "주"), (7, "일")),
    **dict.fromkeys(("시간",), (60, "분")),
    **dict.fromkeys(("년",), (12, "개월")),
}
NUMBER = r"(?<![\d./^a-z])(\d{1,9}(?:\.\d{1,4})?)\s*"
NOT_A_RATE = r"(?![a-z0-9^])(?!\s*/)"  # mg/dL is another thing than mg
QUANTITY = re.compile(NUMBER + f"({'|'.join(sorted(UNITS, key=len, reverse=True))})" + NOT_A_RATE)
FAHRENHEIT = re.compile(NUMBER + r"(?:°\s*f|화씨)" + NOT_A_RATE)
CELSIUS = re.compile(r"(?:섭씨\s*)?" + NUMBER + r"(?:°\s*c|도)" + NOT_A_RATE)
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def in_one_unit(text: str) -> str:
    """Numbers with units, each kind in one unit: `1.5 g` and `1,500 mg`, `101.3°F` and `38.5도`, `2주` and `14일`."""
    plain = THOUSANDS.sub("", unicodedata.normalize("NFKC", text).casefold())
    plain = FAHRENHEIT.sub(lambda found: f"{round((float(found[1]) - 32) / 1.8, 1):g}도", plain)
    plain = CELSIUS.sub(lambda found: f"{float(found[1]):g}도", plain)
    return QUANTITY.sub(_converted, plain)


def _converted(found: re.Match[str]) -> str:
    factor, unit = UNITS[found[2]]
    return f"{round(float(found[1]) * factor, 4):.15g}{unit}"


ASK = re.compile(
    r"(?:[에의]?(?:관한|대한)?(?:설명|내용|사항)|다음)?(?:으로|로|중|중에서)?(?:가장)?"
    r"(옳은|바른|맞는|알맞은|적절한|해당하는|해당되는|속하는|"
    r"옳지않은|틀린|적절하지않은|아닌|해당하지않는|해당되지않는|속하지않는)?것은?$"
)
LONGEST_ASK = 30  # folded characters; keeps the search short in a long text
RIGHT, NOT_RIGHT, WHICH = range(3)  # what is asked for


def split_ask(folded: str) -> tuple[str, int | None]:
    """A folded stem as its subject and what is asked of it; None where it closes with a question of its own."""
    start = max(0, len(folded) - LONGEST_ASK)
    found = ASK.search(folded, start)
    if found is None or found.start() == 0:
        return folded, None
    word = found[1]
    asked = WHICH if word is None else NOT_RIGHT if "않" in word or word in ("틀린", "아닌") else RIGHT
    return folded[: found.start()], asked


LAW = re.compile(
    r"(?:[「｢『][^」｣』]{2,60}[」｣』]|[가-힣]{2,20}법(?=상\s|에서\s*정한|에\s*따른))\s*(?:상|에서\s*정한|에\s*따른)?"
)
GLOSS = re.compile(r"\([^()]{1,60}\)")
OPEN = re.compile(  # nouns that many right statements fit: 봉합의 특징은, 봉합사의 업무로 옳은 것은
    r"의?(?:설명|내용|사항|특징|특성|간호중재|간호|업무|임무|역할|책임|기능|원칙|목적|방법|종류|범위|경우)?"
    r"(?:으로|로|은|는|이|가|에)?$"
)


def bare_subject(stem: str) -> str:
    """What is left of a stem, folded, without the law it stands in, glosses in brackets, its ask and an open noun.

    `「가상법」상 봉합사의 업무는?` is `봉합사`, `뜰채(net) 봉합의 특징으로 옳은 것은?` is `뜰채봉합`.
    """
    subject, _ = split_ask(fold(GLOSS.sub("", LAW.sub("", stem))))
    return OPEN.sub("", subject) if len(subject) <= LONGEST_ASK else subject


EXCEPTION = re.compile(
    r"(?:않[은는을]|않아[야도]|아닌|아니[한하]\w?|틀린|잘못된|부적절한|부적합한|수없는|안되는|피해야\w{1,2}|제외[되하]\w|거리가먼|금기인?|금지[된되]\w?)"
    r"\w{0,6}$"  # 것은, 약물은, 경우는; farther from the end it belongs to what is asked about, not to the ask
)
SENTENCE = re.compile(r"[.?!\n]\s*")


def asks_for_exception(stem: str) -> bool:
    """Whether a stem asks what is not so (옳지 않은, 해당하지 않는, 아닌, 금기) where its twin asks what is.

    The ask is the last sentence with a question mark: test results may follow it.
    """
    asked = stem[: stem.rindex("?")] if "?" in stem else stem.rstrip(" .\n")
    return EXCEPTION.search(fold(SENTENCE.split(asked)[-1])[-LONGEST_ASK:]) is not None


def pairs_of_characters(text: str) -> frozenset[str]:
    """Every run of two: an answer of four syllables has three of them, and of runs of three only two."""
    return frozenset(text[at : at + 2] for at in range(max(1, len(text) - 1))) - {""}


def shingles(text: str) -> Shingles:
    """Every run of three characters; a shorter text is one shingle, an empty one has none."""
    if not text:
        return NOTHING
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(points) < CHARACTERS:
        points = np.pad(points, (0, CHARACTERS - len(points)))
    bits = np.uint64(CODE_POINT_BITS)
    return np.unique(((points[:-2] << bits) | points[1:-1]) << bits | points[2:])


def token(number: int) -> Shingles:
    """A shingle that no text has, for something that counts as one thing."""
    return np.array([(NO_CHARACTER << 2 * CODE_POINT_BITS) | number], dtype=np.uint64)


def other_field(of: Shingles) -> Shingles:
    """The same shingles as those of another field: they are equal to each other and to no shingle of the first."""
    return of | OTHER_FIELD


def union(sets: Iterable[Shingles]) -> Shingles:
    return np.unique(np.concatenate([NOTHING, *sets]))


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared shingles by all shingles, 0 to 1; 0 where there is nothing to compare."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def containment(part: Shingles, whole: Shingles) -> float:
    """The share of `part` that stands in `whole`, 0 to 1."""
    return len(np.intersect1d(part, whole, assume_unique=True)) / len(part) if len(part) else 0.0


def bands(threshold: float) -> tuple[int, int]:
    """How many bands of how many permutations: the widest that still find a pair at `threshold` 99 times of 100.

    With b bands of r, a pair of similarity s shares a band with probability 1 - (1 - s^r)^b.
    """
    for width in range(PERMUTATIONS // 2, 1, -1):
        if 1 - (1 - threshold**width) ** (PERMUTATIONS // width) >= FOUND:
            return PERMUTATIONS // width, width
    return PERMUTATIONS, 1


def sketch(of: Shingles) -> MinHash:
    minhash = UNSIGNED.copy()
    mixed = (of * GOLDEN) >> np.uint64(32)  # 64 bits into the 32 that it takes (Knuth's multiplicative hashing)
    for start in range(0, len(of), AT_ONCE):
        minhash.update_batch(mixed[start : start + AT_ONCE].tolist())
    return minhash


class Index:
    """Sets of shingles, to be asked which of them are near another one."""

    def __init__(self, sets: Sequence[Shingles], threshold: float) -> None:
        self.sets = sets
        self.threshold = threshold
        self.signatures = np.zeros((len(sets), PERMUTATIONS), dtype=np.uint32)
        self.buckets = MinHashLSH(num_perm=PERMUTATIONS, params=bands(threshold))
        for number, of in enumerate(sets):
            if len(of):
                minhash = sketch(of)
                self.signatures[number] = minhash.hashvalues
                self.buckets.insert(number, minhash, check_duplication=False)

    def near(self, of: Shingles) -> list[int]:
        """Numbers of the sets whose Jaccard similarity is at least the threshold, in order.

        Of more than 50 candidates, those whose similarity is estimated highest.
        """
        if not len(of):
            return []
        minhash = sketch(of)
        candidates = np.array(sorted(self.buckets.query(minhash)), dtype=np.int64)
        estimates = (self.signatures[candidates] == minhash.hashvalues).mean(axis=1)
        likely = candidates[estimates >= self.threshold - MARGIN]
        if len(likely) > MOST_CANDIDATES:
            best = np.argsort(-estimates[estimates >= self.threshold - MARGIN], kind="stable")[:MOST_CANDIDATES]
            likely = np.sort(likely[best])
        return [int(number) for number in likely if jaccard(of, self.sets[number]) >= self.threshold]


def near_pairs(sets: Sequence[Shingles], threshold: float) -> list[tuple[int, int, float]]:
    """Pairs of numbers (smaller first, in order) at least `threshold` alike, with their Jaccard similarity.

    Bands are sorted instead of kept in a MinHashLSH, whose tables took 128 MB for 10,000 rows. Time stays linear where
    thousands look alike: a row is compared with its bucket's first row and the 16 likeliest others in it, and paired
    with its 12 likeliest and its 4 earliest partners.
    """
    filled = np.array([number for number, of in enumerate(sets) if len(of)], dtype=np.int64)
    if len(filled) < 2:
        return []
    signatures = np.stack([sketch(sets[number]).hashvalues for number in filled])
    count, width = bands(threshold)
    found = np.array([], dtype=np.int64)
    for band in range(count):
        pairs = np.setdiff1d(_neighbours(np.roll(signatures, -band * width, axis=1), width), found)
        likely = pairs[_estimates(signatures, pairs) >= threshold - MARGIN]
        found = _partners(signatures, np.union1d(found, likely))
    verified = []
    for one, other in zip(*np.divmod(found, len(filled)), strict=True):
        first, second = int(filled[one]), int(filled[other])
        similarity = jaccard(sets[first], sets[second])
        if similarity >= threshold:
            verified.append((first, second, similarity))
    return verified


def _neighbours(signatures: NDArray[np.uint32], width: int) -> NDArray[np.int64]:
    """Pairs of rows whose first `width` values are equal, each as one number: smaller row times rows plus greater row.

    The next values order a bucket, so that like rows stand side by side however many others share it.
    """
    rows = len(signatures)
    order = np.lexsort(signatures[:, width + SORTED_BY - 1 :: -1].T)
    band = signatures[order, :width]
    new = np.ones(rows, dtype=bool)
    new[1:] = (band[1:] != band[:-1]).any(axis=1)
    bucket = np.cumsum(new) - 1
    first = np.minimum.reduceat(order, np.flatnonzero(new))[bucket]
    pairs = [_number(first, order, rows)[first != order]]
    for step in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(bucket[step:] == bucket[:-step])
        if not len(same):
            break
        pairs.append(_number(order[same], order[same + step], rows))
    return np.unique(np.concatenate(pairs))


def _number(one: NDArray[np.int64], other: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    return np.minimum(one, other) * rows + np.maximum(one, other)


def _partners(signatures: NDArray[np.uint32], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pairs, without those of a greater row with smaller ones beyond its likeliest and its earliest."""
    one, other = np.divmod(pairs, len(signatures))
    if not len(pairs) or np.bincount(other).max() <= LIKELIEST + EARLIEST:
        return pairs
    by_likeness = np.lexsort((one, -_estimates(signatures, pairs), other))
    by_row = np.lexsort((one, other))
    starts = np.concatenate([[0], np.cumsum(np.bincount(other))])
    place = np.arange(len(pairs)) - starts[other[by_row]]  # the same for both: each is grouped by the greater row
    return np.unique(np.concatenate([pairs[by_likeness[place < LIKELIEST]], pairs[by_row[place < EARLIEST]]]))


def _estimates(signatures: NDArray[np.uint32], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    estimates = np.empty(len(pairs))
    for start in range(0, len(pairs), 1 << 16):  # 64 MB at once
        one, other = np.divmod(pairs[start : start + (1 << 16)], len(signatures))
        estimates[start : start + (1 << 16)] = (signatures[one] == signatures[other]).mean(axis=1)
    return estimates
