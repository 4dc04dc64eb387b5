"""How the rows of each table are digested, and the way out of damage to one of them."""

from typing import NamedTuple

from stigg_local.store import digest as tags

RESTORE = "stigg-local db restore BACKUP --data-dir {dir} --replace"
BY_ITSELF = (
    "stigg-local check {customer} FEATURE --data-dir {dir} rebuilds it from the logs, as any question about this"
    " customer does"
)
_AT_OPENING = "stigg-local status --data-dir {dir} makes it anew"
_NEW_EPOCH = (
    "when no process uses the directory: rm {dir}/authority.mark; then stigg-local status --data-dir {dir} begins an"
    " epoch and makes it anew"
)
AT_EVENT = "nothing: with the next event of customer {customer} it is folded from the log anew"
_AT_WRITE = "nothing: the next change of a customer makes it anew"
CONFIRM = "stigg-local clock confirm --data-dir {dir} makes it anew"
# Values about the file that a write puts right; the others come with an epoch.
OF_TIME = ("boot", "clock_confirmed_ms")


class Table(NamedTuple):
    """How the rows of a table are digested.

    `environment` and `key` are the first two parts, `columns` the rest in the digest's order, of which the first
    `width` belong to the row's key. `hint` names `{dir}` and `{customer}`.
    """

    name: str
    tag: int
    environment: str
    key: str
    columns: str
    width: int
    hint: str


TABLES = (
    Table("meta", tags.META, "", "key", "value", 0, _NEW_EPOCH),
    Table("sequence", tags.SEQUENCE, "environment", "", "seq high_water_ms", 0, _AT_OPENING),
    Table("catalog_item", tags.CATALOG_ITEM, "environment", "", "kind id version body seq", 3, RESTORE),
    Table("catalog_file", tags.CATALOG_FILE, "environment", "", "hash applied_ms name seq", 1, RESTORE),
    Table("catalog_root", tags.CATALOG_ROOT, "environment", "", "root seq", 0, RESTORE),
    Table("customer", tags.CUSTOMER, "environment", "customer_id", "seq snapshot numbers log", 0, BY_ITSELF),
    Table("customer_slot", tags.SLOT, "environment", "", "slot count root", 1, RESTORE),
    Table("customer_record", tags.RECORD, "environment", "customer_id", "seq body", 0, RESTORE),
    Table(
        "usage_counter",
        tags.COUNTER,
        "environment",
        "customer_id",
        "resource_id feature_id from_ms to_ms value seq",
        4,
        BY_ITSELF,
    ),
    Table("credit_grant", tags.GRANT, "environment", "customer_id", "grant_id body seq", 1, BY_ITSELF),
    Table("hold", tags.HOLD, "environment", "customer_id", "hold_id expire_ms body seq", 1, BY_ITSELF),
    Table(
        "measurement",
        tags.MEASUREMENT,
        "environment",
        "customer_id",
        "resource_id feature_id seq ord measurement_id behavior value created_ms at_ms body",
        4,
        RESTORE,
    ),
    Table(
        "measurement_pack",
        tags.MEASUREMENT_PACK,
        "environment",
        "customer_id",
        "resource_id feature_id seq ord first_ms last_ms count at_ms body",
        4,
        RESTORE,
    ),
    Table(
        "usage_event",
        tags.USAGE_EVENT,
        "environment",
        "customer_id",
        "resource_id created_ms seq ord event_name idempotency_key at_ms body",
        4,
        RESTORE,
    ),
    Table(
        "meter_value",
        tags.METER,
        "environment",
        "customer_id",
        "resource_id feature_id from_ms to_ms number meter count total members seq",
        4,
        AT_EVENT,
    ),
    Table(
        "usage_threshold",
        tags.THRESHOLD,
        "environment",
        "customer_id",
        "resource_id feature_id from_ms to_ms percent seq",
        4,
        "nothing: a threshold may be told once more",
    ),
    Table("ledger", tags.LEDGER, "environment", "customer_id", "seq ord body", 2, RESTORE),
    Table(
        "idempotency",
        tags.IDEMPOTENCY,
        "environment",
        "operation",
        "key customer_id fingerprint reply at_ms",
        1,
        f"use another idempotency key, or {RESTORE}",
    ),
    Table("subscription_owner", tags.OWNER, "environment", "subscription_id", "customer_id", 0, RESTORE),
    Table("due", tags.DUE, "environment", "", "customer_id due_ms seq", 1, "nothing: it is looked at and stored anew"),
    Table("audit", tags.AUDIT, "environment", "", "seq ord customer_id type at_ms actor body", 2, RESTORE),
    Table("audit_root", tags.AUDIT_ROOT, "environment", "", "count root seq", 0, _AT_WRITE),
    Table("checkout", tags.CHECKOUT, "environment", "", "checkout_id customer_id at_ms seq body", 1, RESTORE),
)
_TEXTS = frozenset(
    "environment key kind id hash name customer_id resource_id feature_id grant_id measurement_id behavior"
    " operation subscription_id hold_id event_name idempotency_key total type actor checkout_id".split()
)
_TEXT_BODIES = frozenset({"catalog_item", "customer_record", "measurement_pack"})
SUMMED = frozenset(
    "catalog_item usage_counter credit_grant hold measurement measurement_pack usage_event ledger customer_record"
    " audit".split()
)
KEPT = frozenset({"customer", "customer_slot", "catalog_root", "audit_root"})


def is_text(table: Table, column: str) -> bool:
    """Whether a column holds text, which damage may make no text any more."""
    if column == "body":
        return table.name in _TEXT_BODIES
    return column in _TEXTS or (column == "value" and table.name == "meta")
