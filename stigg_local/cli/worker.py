"""The process that the demo kills: it reports one unit after the other and acknowledges each on standard output."""

import os
import sys
from itertools import count

from stigg_local.client import Stigg


def key(prefix: str, index: int) -> str:
    """The idempotency key of one report; the demo sends the same ones again."""
    return f"{prefix}-{index}"


def work(data_dir: str, customer_id: str, feature_id: str, prefix: str) -> None:
    """Report until killed, or until nobody listens any more."""
    with Stigg(data_dir=data_dir) as client:
        for index in count():
            client.report_usage(customer_id, feature_id, 1, idempotency_key=key(prefix, index))
            try:
                os.write(sys.stdout.fileno(), b".")
            except BrokenPipeError:
                return


if __name__ == "__main__":
    work(*sys.argv[1:5])
