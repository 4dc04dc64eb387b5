"""What is measured on: a copy of a user's directory, or generated customers, in a directory that is removed after.

Law: a user's directory is read and nothing else; reports and catalogs go into the copy.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from stigg_local.bench import data
from stigg_local.client import Stigg
from stigg_local.errors import InvalidInput
from stigg_local.store.duplicate import duplicate
from stigg_local.store.environment import stored_environment
from stigg_local.store.tx import Tx

CUSTOMERS_MAX = 5_000_000
_PAGE = 10_000

# What is being done, how much of it is done, and how much there is in all.
Progress = Callable[[str, float, float], object]


class Source(NamedTuple):
    """A directory of our own to measure on.

    Attributes:
        path: The directory.
        text: Where its content is from, for a report.
        customers: Every customer's id.
        bytes: What the files take.
    """

    path: Path
    text: str
    customers: list[str]
    bytes: int


@contextmanager
def prepared(
    *, data_dir: str | None, catalog: str | None, customers: int, features: int, progress: Progress
) -> Iterator[Source]:
    """A directory to measure on, removed at the end.

    Args:
        data_dir: A user's directory, of which a copy is made; None for generated customers.
        catalog: A catalog file: applied to the copy, or what customers are generated on.
        customers, features: How many are generated, of each that is not the user's.
        progress: Hears how far it is.

    Raises:
        InvalidInput: There is nothing in the directory, or nothing can be generated.
        CatalogInvalid: The catalog has mistakes.
        StoreError: The directory cannot be read, or there is no room for the copy.
    """
    path = Path(tempfile.mkdtemp(prefix="stigg-local-bench-"))
    try:
        if data_dir is not None:
            text = _copied(data_dir, catalog, path, progress)
        else:
            text = _generated(catalog, customers, features, path, progress)
        found = _customers(path)
        yield Source(path, text, found, sum(file.stat().st_size for file in path.iterdir() if file.is_file()))
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _copied(data_dir: str, catalog: str | None, path: Path, progress: Progress) -> str:
    what = "copying the directory"
    duplicate(data_dir, str(path), lambda done, total: progress(what, done, total))
    # Asked of the copy, because looking into the original's database would make files beside it.
    environment = stored_environment(str(path))
    if environment is None:
        way = "leave --data-dir out to measure generated customers"
        raise InvalidInput(f"`{data_dir}` holds no catalog", hint=way)
    text = f"a copy of {os.path.abspath(data_dir)}"
    if catalog is not None:
        # As an application does that is deployed with it; what is published only counts for new subscriptions.
        Stigg(catalog=catalog, data_dir=path, environment=environment).close()
        text += f" with the catalog {os.path.basename(catalog)} applied to it"
    return text


def _generated(catalog: str | None, customers: int, features: int, path: Path, progress: Progress) -> str:
    if not 1 <= customers <= CUSTOMERS_MAX:
        raise InvalidInput(
            f"`{customers}` customers cannot be generated", hint=f"from 1 to {CUSTOMERS_MAX:,} with --customers"
        )
    what = f"generating {customers:,} customers"
    given: Any = data.catalog(features) if catalog is None else catalog
    with Stigg(catalog=given, data_dir=path) as client:
        progress(what, 0, customers)
        data.write_customers(client, customers, lambda done: progress(what, done, customers))
        client.tick()
        found = client._embedded
        assert found is not None
        count = len(found.catalog().features)
    where = "a generated catalog" if catalog is None else f"the catalog {os.path.basename(catalog)}"
    return f"{customers:,} generated customers on {where} of {count} features"


def _customers(path: Path) -> list[str]:
    with Stigg(data_dir=path) as client:
        embedded = client._embedded
        assert embedded is not None
        found: list[str] = []
        while True:
            after = found[-1] if found else ""
            page = embedded.store.read(partial(Tx.customer_ids, after=after, limit=_PAGE))
            found += page
            if len(page) < _PAGE:
                break
    if not found:
        raise InvalidInput("there are no customers to ask about", hint="measure a directory that has some")
    return found
