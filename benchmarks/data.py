"""The catalog and the customers that every suite measures: 50 features of all types on 5 plans.

Customers are written by the engine itself: through the public API, or in batches through the authority's write
path. A directory is made once for each size, format and day, and kept below the system's temporary directory.
"""

import os
import shutil
import tempfile
import time
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from stigg_local import Stigg
from stigg_local.bench.data import CURRENCY, PLANS, catalog, customer_id, features, write_customers

__all__ = ["BOOLEANS", "CURRENCY", "ENUMS", "METERED", "NUMERICS", "PLANS", "RATED"]
__all__ += ["catalog", "customer_id", "populated", "write_customers"]

_FEATURES = features()
BOOLEANS, NUMERICS, ENUMS = list(_FEATURES.booleans), list(_FEATURES.numerics), list(_FEATURES.enums)
METERED, RATED = list(_FEATURES.metered), list(_FEATURES.rated)

STALE_S = 24 * 3600

_FORMAT_FILES = (
    "bench/data.py",
    "store/schema.py",
    "store/digest.py",
    "core/customer.py",
    "core/catalog.py",
    "core/credit.py",
)


def populated(size: int) -> Path:
    """A directory with the catalog and that many customers, made where there is none of today."""
    path = Path(tempfile.gettempdir()) / f"stigg-local-benchmarks-{os.getuid()}" / f"{size}-{_fingerprint()}"
    if path.exists():
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in path.parent.glob(f"{size}-*"):
        # Another checkout may be using one of today's.
        if time.time() - other.stat().st_mtime > STALE_S:
            shutil.rmtree(other, ignore_errors=True)
    # A whole directory appears under its name or none does.
    draft = Path(tempfile.mkdtemp(prefix=f"{size}-", dir=path.parent))
    try:
        with Stigg(catalog=catalog(), data_dir=draft) as client:
            write_customers(client, size)
        draft.rename(path)
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _fingerprint() -> str:
    """Changes with what is written, with the file format and with the day, after which usage windows may end."""
    import stigg_local

    package = Path(stigg_local.__file__).parent
    digest = blake2b(digest_size=5)
    for file in (Path(__file__), *(package / name for name in _FORMAT_FILES)):
        digest.update(file.read_bytes())
    return f"{datetime.now(UTC):%Y%m%d}-{digest.hexdigest()}"
