"""Whose turn a record is, and where it stands in somebody's queue. Decided by hashes of names alone.

Nothing is stored and nothing depends on what was answered or is being looked at: the queue of one annotator is the
same after a restart, and what remains of it keeps its order when answered records drop out of the page's filter.
"""

import hashlib
from collections.abc import Sequence

import numpy

HALF = 1 << 63  # of the 64 bits of a place
GOLDEN = numpy.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: multiplicative hashing, Knuth's TAOCP 3, 6.4


def are_mine(keys: Sequence[str], people: Sequence[bytes], me: int, wanted: int) -> list[bool]:
    """Whether people[me] has their turn at each key, as `wanted` of the people have: those with its highest bids.

    Rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998). Each pair of people
    shares as many records as any other, which agreement between two needs; next ones in a row would only share with
    their neighbours. And who joins later takes turns over, but moves none between the others.
    """
    records = numpy.array([_number(key.encode()) for key in keys], dtype=numpy.uint64)
    persons = numpy.array([_number(person) for person in people], dtype=numpy.uint64)
    bids = (records[:, None] ^ persons) * GOLDEN  # modulo 2^64
    higher = (bids > bids[:, [me]]).sum(axis=1)
    mine: list[bool] = (higher < wanted).tolist()
    return mine


def place(key: str, person: bytes, *, is_repeat: bool) -> int:
    """Where in the person's queue. `key` is the original's for a repeat, so that both know of each other's place.

    A repeat stands opposite its original on the circle of places: half a queue away from it, before or behind.
    """
    first = _number(key.encode(), person)
    return first ^ HALF if is_repeat else first


def _number(value: bytes, key: bytes = b"") -> int:
    return int.from_bytes(hashlib.blake2b(value, key=key, digest_size=8).digest(), "big")
