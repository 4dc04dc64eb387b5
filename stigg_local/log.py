"""The package's own logger: never configured for the application, and imported only by what has to say something."""

from functools import cache
from typing import Any


@cache
def logger() -> Any:
    """A structlog logger on top of the standard library's `stigg_local` logger, which the application configures."""
    import logging

    import structlog

    return structlog.wrap_logger(
        logging.getLogger("stigg_local"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
