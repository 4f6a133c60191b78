"""What stands beside every figure that a benchmark writes: the command, the hardware, the versions, the commit."""

import sys
from datetime import UTC, datetime
from typing import Any

from stages.core.artifacts import commit, libraries
from stages.core.pipeline import device


def provenance() -> dict[str, Any]:
    return {
        "command": " ".join(sys.argv[1:]),
        "device": device(),
        "libraries": libraries(),
        "commit": commit(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
