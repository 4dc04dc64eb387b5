"""Packs of measurements in the store: read like single rows, found when damaged, cut, emptied and listed."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from stigg_local.core.queued import DimensionedReport, QueuedReport
from stigg_local.errors import StoreCorrupt
from stigg_local.store import Measurement, Store, Tx, pack
from stigg_local.store.digest import MEASUREMENT_PACK, row_digest
from stigg_local.store.examine_rows import Rows
from stigg_local.store.finding import Findings
from stigg_local.store.known import has_measurement
from stigg_local.store.read_only import ReadOnly
from tests.shell.stores import ENVIRONMENT, HandClock, opened

CUSTOMER, FEATURE = "customer-1", "feature-1"
FOREVER = 1 << 62

dimensions = st.dictionaries(
    st.text(max_size=8),
    st.one_of(
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(-(2.0**53), 2.0**53),
        st.text(max_size=12),
    ),
    min_size=1,
    max_size=5,
)


def reports(count: int, first: int = 0, **more: Any) -> list[QueuedReport]:
    return [
        QueuedReport(f"m-{number}", "DELTA", number, 1000 + number)
        if not more
        else DimensionedReport(f"m-{number}", "DELTA", number, 1000 + number, more)
        for number in range(first, first + count)
    ]


def write(store: Store, fn: Callable[[Tx], Any], key: str = "key") -> Any:
    def command(tx: Tx) -> Any:
        if tx.customer_snapshot(CUSTOMER) is None:
            tx.put_customer(CUSTOMER, b"snapshot")
        return fn(tx)

    return store.write(command, operation="test", key=key)


def append(store: Store, items: Sequence[QueuedReport], feature: str = FEATURE) -> None:
    write(store, lambda tx: tx.append_measurements(CUSTOMER, "", feature, items))


def single(store: Store, name: str, created_ms: int = 5000) -> None:
    write(store, lambda tx: tx.append_measurement(CUSTOMER, "", FEATURE, name, "SET", 7, created_ms, b""))


def all_of(store: Store, from_ms: int = 0, to_ms: int = FOREVER) -> list[Measurement]:
    """What is there, after checking the whole log."""

    def ask(tx: Tx) -> list[Measurement]:
        tx.verify_log(CUSTOMER)
        return tx.measurements(CUSTOMER, "", FEATURE, from_ms, to_ms)

    return store.read(ask)


def ids(rows: Sequence[Measurement]) -> list[str]:
    return [row.measurement_id for row in rows]


def sql(store: Store, statement: str, *bindings: Any) -> list[Any]:
    connection = apsw.Connection(store.path)
    try:
        return connection.execute(statement, bindings).fetchall()
    finally:
        connection.close()


def kept(store: Store) -> tuple[list[int], int]:
    """The sizes of the packs, and the number of single rows."""
    sizes = [row[0] for row in sql(store, "SELECT count FROM measurement_pack ORDER BY feature_id, seq, ord")]
    return sizes, sql(store, "SELECT count(*) FROM measurement")[0][0]


def damaged(store: Store) -> list[str]:
    findings = Findings()
    connection = apsw.Connection(store.path)
    Rows(connection, findings, lambda *_: None).run()
    connection.close()
    return [finding.id for finding in findings.listed()]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Iterator[Store]:
    with opened(tmp_path, clock) as store:
        yield store


# The format ---------------------------------------------------------------------------------------------------


def test_a_pack_is_the_one_that_files_were_written_with() -> None:
    """A change here makes every existing file unreadable."""
    told = [
        QueuedReport("m-1", "DELTA", 2**63 - 1, 1_700_000_000_000),
        DimensionedReport("m-2", "SET", -5, 1_700_000_000_001, {"region": "eu", "share": 1.0, "count": 1}),
    ]
    found = list(pack.packs(told))
    body = (
        '[["m-1","DELTA",9223372036854775807,1700000000000],'
        '["m-2","SET",-5,1700000000001,{"region":"eu","share":1.0,"count":1}]]'
    )
    assert [(1_700_000_000_000, 1_700_000_000_001, 2, body)] == found
    row = (MEASUREMENT_PACK, "", FEATURE, 3, 1, *found[0][:3], 9, found[0].body)
    assert "4fa6e1a8067a8898" == row_digest(ENVIRONMENT, CUSTOMER, row).hex()


@given(st.lists(st.tuples(st.text(max_size=9), st.integers(-(2**63) + 1, 2**63 - 1), st.none() | dimensions)))
def test_what_comes_out_of_packs_is_what_went_in(rows: list[tuple[str, int, dict[str, Any] | None]]) -> None:
    told = [
        QueuedReport(name, "SET", value, number)
        if kept is None
        else DimensionedReport(name, "SET", value, number, kept)
        for number, (name, value, kept) in enumerate(rows)
    ]
    stored: list[tuple[Any, ...]] = []
    for found in pack.packs(told):
        stored.append((MEASUREMENT_PACK, 4, 1 + len(stored) * pack.REPORTS_MAX, *found[:3], 9, found.body, None))
        assert found == next(pack.packs(pack.unpacked(found.body)))
    bodies = [b"" if kept is None else msgpack.encode(kept) for _, _, kept in rows]
    expected = [
        Measurement(4, number + 1, name, "SET", value, number, 9, body)
        for number, ((name, value, _), body) in enumerate(zip(rows, bodies, strict=True))
    ]
    assert expected == list(pack.measurements(stored))


def test_packs_are_bounded_by_number_and_by_bytes() -> None:
    assert [500, 500, 1] == [found.size for found in pack.packs(reports(1001))]
    large = list(pack.packs(reports(100, note="x" * 3000)))
    assert 100 == sum(found.size for found in large)
    assert max(len(found.body) for found in large) <= pack.BYTES_MAX
    assert [1, 1] == [found.size for found in pack.packs(reports(2, note="x" * 100_000))]
    assert [] == list(pack.packs([]))


# Reading ------------------------------------------------------------------------------------------------------


def test_several_reports_are_packed_and_one_is_a_row(store: Store) -> None:
    append(store, reports(3))
    append(store, reports(1, 3))
    append(store, reports(501, 4))
    assert ([3, 500], 2) == kept(store)
    assert [f"m-{number}" for number in range(505)] == ids(all_of(store))
    assert [] == damaged(store)


def test_a_row_and_a_pack_of_the_same_report_read_alike(store: Store) -> None:
    items = reports(2, share=0.0, number=0, flag=True)
    append(store, items)
    append(store, items[:1], "feature-2")
    (packed, _), (alone,) = (
        store.read(lambda tx, asked=feature: tx.measurements(CUSTOMER, "", asked, 0, FOREVER))  # type: ignore[misc]
        for feature in (FEATURE, "feature-2")
    )
    assert packed[2:] == alone[2:]
    assert [("share", float), ("number", int), ("flag", bool)] == [
        (name, type(value)) for name, value in msgpack.decode(packed.body).items()
    ]


def test_rows_and_packs_are_read_in_the_order_of_arrival(store: Store) -> None:
    single(store, "first")
    append(store, reports(3))
    single(store, "between")
    append(store, reports(2, 3))
    single(store, "last")
    rows = all_of(store)
    assert ["first", "m-0", "m-1", "m-2", "between", "m-3", "m-4", "last"] == ids(rows)
    assert rows == sorted(rows, key=lambda row: row[:2])
    assert len({row[:2] for row in rows}) == 8


def test_a_range_takes_what_it_holds_of_a_pack(store: Store) -> None:
    """From the instant that begins it to the one that ends it, which is not in it."""
    append(store, reports(10))
    assert ["m-3", "m-4"] == ids(all_of(store, 1003, 1005))
    assert ["m-0"] == ids(all_of(store, 0, 1001))
    assert ["m-9"] == ids(all_of(store, 1009, FOREVER))
    assert [] == ids(all_of(store, 1010, FOREVER)) == ids(all_of(store, 0, 1000))


def test_reports_of_a_pack_need_not_be_in_the_order_of_their_time(store: Store) -> None:
    append(store, [QueuedReport(f"m-{at}", "DELTA", 1, at) for at in (5000, 1000, 3000)])
    assert [(1000, 5000)] == sql(store, "SELECT first_ms, last_ms FROM measurement_pack")
    assert ["m-1000", "m-3000"] == ids(all_of(store, 1000, 5000))


def test_what_was_measured_is_known_from_packs_and_rows(store: Store) -> None:
    append(store, reports(2), "feature-3")
    single(store, "only")
    append(store, reports(2), FEATURE)
    append(store, reports(2), "feature-0")
    assert {("", "feature-0"), ("", FEATURE), ("", "feature-3")} == store.read(
        lambda tx: tx.has_measurements(CUSTOMER)
    )


@pytest.mark.parametrize("name", ["m-1", 'quote"d', "m-[1]", "é\u2028", "back\\slash"])
def test_a_packed_report_is_known_by_its_id(store: Store, name: str) -> None:
    told = DimensionedReport("m-x", "DELTA", 1, 5, {f'["{name}",': f'["{name}",'})
    append(store, [told, QueuedReport(name, "DELTA", 1, 5)])
    seq = all_of(store)[0].seq

    def known(asked: str, transaction: int = seq) -> bool:
        return store.read(lambda tx: has_measurement(tx, CUSTOMER, "", FEATURE, transaction, asked))

    assert known(name)
    assert known("m-x")
    assert not known(name, seq + 1)
    assert not known("m")
    assert not known("DELTA")
    sql(store, "DELETE FROM measurement_pack")
    append(store, [told, QueuedReport("m-y", "DELTA", 1, 5)])
    assert not known(name, seq + 1)


# Damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE measurement_pack SET body = replace(body, ',2,', ',3,')",
        "UPDATE measurement_pack SET body = substr(body, 2)",
        "UPDATE measurement_pack SET body = '[]'",
        "UPDATE measurement_pack SET body = CAST(x'ff' AS TEXT)",
        "UPDATE measurement_pack SET first_ms = first_ms - 1",
        "UPDATE measurement_pack SET last_ms = last_ms + 1",
        "UPDATE measurement_pack SET count = count + 1",
        "UPDATE measurement_pack SET at_ms = at_ms + 1",
        "UPDATE measurement_pack SET ord = ord + 1",
    ],
)
def test_a_changed_pack_is_not_read_and_is_found(store: Store, change: str) -> None:
    append(store, reports(5))
    sql(store, change)
    for ask in (
        lambda tx: tx.measurements(CUSTOMER, "", FEATURE, 0, FOREVER),
        lambda tx: tx.old_measurements(CUSTOMER, "", FEATURE, FOREVER, 2),
        lambda tx: tx.verify_log(CUSTOMER),
    ):
        with pytest.raises(StoreCorrupt):
            store.read(ask)
    assert ["RowDamaged"] == damaged(store)


def test_a_pack_with_another_digest_is_not_read_and_is_found(store: Store) -> None:
    append(store, reports(5))
    sql(store, "UPDATE measurement_pack SET digest = zeroblob(8)")
    with pytest.raises(StoreCorrupt):
        store.read(lambda tx: tx.measurements(CUSTOMER, "", FEATURE, 0, FOREVER))
    assert ["RowDamaged"] == damaged(store)


def test_a_pack_that_is_gone_or_moved_is_found(store: Store) -> None:
    append(store, reports(5))
    sql(store, "UPDATE measurement_pack SET customer_id = 'customer-2'")
    assert ["RowDamaged", "SumDiffers"] == damaged(store)
    sql(store, "DELETE FROM measurement_pack")
    assert ["SumDiffers"] == damaged(store)
    with pytest.raises(StoreCorrupt):
        store.read(lambda tx: tx.verify_log(CUSTOMER))


def test_no_flipped_bit_of_a_pack_is_read(store: Store) -> None:
    append(store, reports(20, region="eu", share=0.5))
    expected = all_of(store)
    (body,) = sql(store, "SELECT CAST(body AS BLOB) FROM measurement_pack")[0]
    chance = random.Random(7)
    for _ in range(300):
        changed = bytearray(body)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        sql(store, "UPDATE measurement_pack SET body = CAST(? AS TEXT)", bytes(changed))
        with pytest.raises(StoreCorrupt):
            all_of(store)
        assert ["RowDamaged"] == damaged(store)
    sql(store, "UPDATE measurement_pack SET body = CAST(? AS TEXT)", body)
    assert expected == all_of(store)


# Cutting ------------------------------------------------------------------------------------------------------


def fold(store: Store, before_ms: int, limit: int) -> int:
    """Fold what is old, as the retention does; returns how many reports that were."""

    def work(tx: Tx) -> int:
        old = tx.old_measurements(CUSTOMER, "", FEATURE, before_ms, limit)
        if len(old) > 1:
            value = sum(row.value for row in old)
            tx.replace_measurements(CUSTOMER, "", FEATURE, old[-1], value)
        return len(old)

    found = write(store, work)
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("limit", [2, 3, 9, 10, 11, 12, 13, 100])
def test_what_is_newer_than_a_cut_stays_as_it_is(store: Store, limit: int) -> None:
    single(store, "first")
    append(store, reports(10))
    single(store, "last")
    before = all_of(store)
    cut = min(limit, 12)
    assert cut == fold(store, FOREVER, limit)
    folded, *rest = all_of(store)
    total = sum(row.value for row in before[:cut])
    assert (*before[cut - 1][:2], "", "SET", total, 0, before[cut - 1].at_ms, b"") == folded
    assert before[cut:] == rest
    assert [] == damaged(store)
    # A report that is left alone is a row like any other.
    assert ([11 - cut] if 2 <= 11 - cut else []) == kept(store)[0]


def test_a_cut_by_time_goes_through_a_pack(store: Store, clock: HandClock) -> None:
    """A clock that went back left reports that are newer than the transaction that stored them."""
    now_ms = store.now_ms()
    append(store, [QueuedReport(f"m-{ahead}", "DELTA", 1, now_ms + ahead) for ahead in range(1, 7)])
    before = all_of(store)
    assert 3 == fold(store, now_ms + 4, 100)
    assert before[3:] == all_of(store)[1:]
    assert [] == damaged(store)
    # The folded row is one of time 0 and the rest is newer.
    assert 1 == fold(store, now_ms + 4, 100)


# Erasing ------------------------------------------------------------------------------------------------------


def test_a_scrub_takes_the_dimensions_out_of_packs(store: Store) -> None:
    append(store, [*reports(3), *reports(2, 3, who="canary-7f21"), *reports(60, 5)])
    append(store, reports(2), "feature-2")
    before = all_of(store)
    assert 1 == write(store, lambda tx: tx.scrub_usage(CUSTOMER))
    assert [row._replace(body=b"") for row in before] == all_of(store)
    assert [] == damaged(store)
    assert 0 == write(store, lambda tx: tx.scrub_usage(CUSTOMER), "again")
    assert not sql(store, "SELECT 1 FROM measurement_pack WHERE instr(body, 'canary')")


@pytest.mark.parametrize("body", ["replace(body, 'canary-', 'canary=')", "replace(body, '[', '{')", "x'ff' || body"])
def test_a_scrub_leaves_nothing_of_a_damaged_pack_but_that_it_is_damaged(store: Store, body: str) -> None:
    append(store, reports(3, who="canary-7f21"))
    append(store, reports(2, 3, who="canary-7f21"))
    sql(store, f"UPDATE measurement_pack SET body = CAST({body} AS TEXT) WHERE count = 3")
    assert 2 == write(store, lambda tx: tx.scrub_usage(CUSTOMER))
    assert ["RowDamaged"] == damaged(store)
    assert [("[]",)] == sql(store, "SELECT body FROM measurement_pack WHERE count = 3")
    assert not sql(store, "SELECT 1 FROM measurement_pack WHERE instr(body, 'canary')")


# Looking ------------------------------------------------------------------------------------------------------


def shown(store: Store, statement: str) -> list[Any]:
    with ReadOnly(store.path, environment=ENVIRONMENT, now_ms=0) as source:
        return list(source.query(statement)[1])


def test_the_readable_view_lists_packed_reports_one_by_one(store: Store) -> None:
    single(store, "only")
    append(store, reports(2, region="eu", share=1.0, flag=True))
    append(store, reports(1, 2, region="eu", share=1.0, flag=True))
    columns = "measurement_id, customer_id, feature_id, resource_id, update_behavior, created_ms, raw_value"
    statement = f"SELECT {columns}, seq, dimensions, typeof(raw_value) FROM measurements ORDER BY seq, created_ms"
    rows = shown(store, statement)
    assert [
        (row.measurement_id, CUSTOMER, FEATURE, None, row.behavior, row.created_ms, row.value, row.seq)
        for row in all_of(store)
    ] == [row[:8] for row in rows]
    assert [None, *['{"region":"eu","share":1.0,"flag":true}'] * 3] == [row[8] for row in rows]
    assert {"integer"} == {row[9] for row in rows}
    assert [(2,)] == shown(store, "SELECT count(*) FROM measurements WHERE created_ms < 1002")


def test_a_pack_that_cannot_be_read_is_one_empty_line(store: Store) -> None:
    append(store, reports(3))
    append(store, reports(2, 3))
    sql(store, "UPDATE measurement_pack SET body = replace(body, '[[', '{[') WHERE count = 3")
    rows = shown(store, "SELECT measurement_id, customer_id, raw_value FROM measurements ORDER BY seq")
    assert [(None, CUSTOMER, None), ("m-3", CUSTOMER, 3), ("m-4", CUSTOMER, 4)] == rows


PLAIN = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
rows = connection.execute(
    "SELECT json_extract(p.value, '$[0]'), json_extract(p.value, '$[2]'), json_extract(p.value, '$[4].region')"
    " FROM measurement_pack AS t, json_each(t.body) AS p ORDER BY p.key"
)
print(json.dumps(rows.fetchall()))
"""


def test_any_sqlite_reads_a_pack(tmp_path: Path) -> None:
    """In another process: two libraries do not know of each other's locks."""
    with opened(tmp_path / "data") as store:
        append(store, [*reports(1), *reports(1, 1, region="eu")])
        path = store.path
    ran = subprocess.run([sys.executable, "-c", PLAIN, path], capture_output=True, text=True, check=True)
    assert [["m-0", 0, None], ["m-1", 1, "eu"]] == json.loads(ran.stdout)
