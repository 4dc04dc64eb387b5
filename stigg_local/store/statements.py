"""The text of the statements that a transaction runs: constants, every value bound."""

from stigg_local.store.digest import MEASUREMENT, MEASUREMENT_PACK

RECORD = "SELECT seq, body, digest FROM customer_record WHERE environment = ? AND customer_id = ?"
PUT_RECORD = (
    "INSERT INTO customer_record (environment, customer_id, seq, body, digest) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET seq = excluded.seq, body = excluded.body, digest = excluded.digest"
)
CUSTOMER_IDS = (
    "SELECT customer_id FROM customer WHERE environment = ? AND (slot, customer_id) > (?, ?)"
    " ORDER BY slot, customer_id LIMIT ?"
)
COUNTER_KEY = (
    " WHERE environment = ? AND customer_id = ? AND resource_id = ? AND feature_id = ? AND from_ms = ? AND to_ms = ?"
)
COUNTER = "SELECT value, seq, digest FROM usage_counter" + COUNTER_KEY
COUNTERS = (
    "SELECT resource_id, feature_id, from_ms, to_ms, value, seq, digest FROM usage_counter"
    " WHERE environment = ? AND customer_id = ?"
)
PUT_COUNTER = (
    "INSERT INTO usage_counter (environment, customer_id, resource_id, feature_id, from_ms, to_ms,"
    " value, seq,"
    " digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value, seq = excluded.seq, digest = excluded.digest"
)
DELETE_COUNTER = "DELETE FROM usage_counter" + COUNTER_KEY
GRANT = "SELECT body, seq, digest FROM credit_grant WHERE environment = ? AND customer_id = ? AND grant_id = ?"
GRANTS = "SELECT grant_id, body, seq, digest FROM credit_grant WHERE environment = ? AND customer_id = ?"
PUT_GRANT = (
    "INSERT INTO credit_grant (environment, customer_id, grant_id, seq, body, digest) VALUES (?, ?,"
    " ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET seq = excluded.seq, body = excluded.body, digest = excluded.digest"
)
DELETE_NUMBERS = (
    "DELETE FROM usage_counter WHERE environment = ? AND customer_id = ?",
    "DELETE FROM credit_grant WHERE environment = ? AND customer_id = ?",
)
PUT_MEASUREMENT = (
    "INSERT INTO measurement (environment, customer_id, resource_id, feature_id, seq, ord, measurement_id,"
    " behavior, value, created_ms, at_ms, body, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
PUT_PACK = (
    "INSERT INTO measurement_pack (environment, customer_id, resource_id, feature_id, seq, ord, first_ms, last_ms,"
    " count, at_ms, body, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# Single measurements and packs in one order. A tag says what a row is; a pack has NULL in place of the last column.
_SINGLE = (
    f"SELECT {MEASUREMENT} AS tag, seq, ord, measurement_id, behavior, value, created_ms, at_ms, body, digest"
    " FROM measurement"
)
_PACK = (
    f"SELECT {MEASUREMENT_PACK}, seq, ord, first_ms, last_ms, count, at_ms, body, NULL, digest FROM measurement_pack"
)
_OF_FEATURE = " WHERE environment = ?1 AND customer_id = ?2 AND resource_id = ?3 AND feature_id = ?4"
_UP_TO = " AND (seq, ord) <= (?5, ?6)"
_IN_ORDER = " ORDER BY seq, ord"
MEASUREMENTS = _SINGLE + _OF_FEATURE + " UNION ALL " + _PACK + _OF_FEATURE + _IN_ORDER
# A pack of which one measurement may be of that time is among them.
MEASUREMENTS_IN = (
    f"{_SINGLE}{_OF_FEATURE} AND created_ms >= ?5 AND created_ms < ?6"
    f" UNION ALL {_PACK}{_OF_FEATURE} AND last_ms >= ?5 AND first_ms < ?6{_IN_ORDER}"
)
MEASUREMENTS_UP_TO = f"{_SINGLE}{_OF_FEATURE}{_UP_TO} UNION ALL {_PACK}{_OF_FEATURE}{_UP_TO}{_IN_ORDER}"
DELETE_MEASUREMENTS_UP_TO = tuple(
    f"DELETE FROM {table}{_OF_FEATURE}{_UP_TO}" for table in ("measurement", "measurement_pack")
)
NEXT_MEASURED = tuple(
    f"SELECT resource_id, feature_id FROM {table} WHERE environment = ? AND customer_id = ?"
    " AND (resource_id, feature_id) > (?, ?) ORDER BY resource_id, feature_id LIMIT 1"
    for table in ("measurement", "measurement_pack")
)
PUT_LEDGER = "INSERT INTO ledger (environment, customer_id, seq, ord, body, digest) VALUES (?, ?, ?, ?, ?, ?)"
LEDGER = "SELECT seq, ord, body, digest FROM ledger WHERE environment = ? AND customer_id = ? ORDER BY seq, ord"
IDEMPOTENCY = (
    "SELECT customer_id, fingerprint, reply, at_ms, digest FROM idempotency"
    " WHERE environment = ? AND operation = ? AND key = ?"
)
PUT_IDEMPOTENCY = (
    "INSERT INTO idempotency (environment, operation, key, customer_id, fingerprint, reply, at_ms, digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id,"
    " fingerprint = excluded.fingerprint, reply = excluded.reply, at_ms = excluded.at_ms,"
    " digest = excluded.digest"
)
PURGE_IDEMPOTENCY = (
    "DELETE FROM idempotency WHERE environment = ?1 AND (operation, key) IN (SELECT operation, key"
    " FROM idempotency WHERE environment = ?1 AND at_ms < ?2 ORDER BY at_ms LIMIT ?3)"
)
CATALOG_ITEM = (
    "SELECT body, seq, digest FROM catalog_item WHERE environment = ? AND kind = ? AND id = ? AND version = ?"
)
PUT_CATALOG_ITEM = (
    "INSERT INTO catalog_item (environment, kind, id, version, seq, body, digest) VALUES (?, ?, ?,"
    " ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET seq = excluded.seq, body = excluded.body, digest = excluded.digest"
)
DELETE_CATALOG_ITEM = "DELETE FROM catalog_item WHERE environment = ? AND kind = ? AND id = ? AND version = ?"
CATALOG_FILES = "SELECT hash, applied_ms, name, seq, digest FROM catalog_file WHERE environment = ? ORDER BY seq, hash"
PUT_CATALOG_FILE = (
    "INSERT INTO catalog_file (environment, hash, applied_ms, seq, name, digest) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET applied_ms = excluded.applied_ms, seq = excluded.seq, name = excluded.name,"
    " digest = excluded.digest"
)
OWNER = "SELECT customer_id, digest FROM subscription_owner WHERE environment = ? AND subscription_id = ?"
PUT_OWNER = (
    "INSERT INTO subscription_owner (environment, subscription_id, customer_id, digest) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id, digest = excluded.digest"
)
META = "SELECT value, digest FROM meta WHERE key = ?"
PUT_META = (
    "INSERT INTO meta (key, value, digest) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET value = excluded.value, digest = excluded.digest"
)
DELETE_META = "DELETE FROM meta WHERE key = ?"
DUE_OF = "SELECT due_ms, seq, digest FROM due WHERE environment = ? AND customer_id = ?"
PUT_DUE = (
    "INSERT INTO due (environment, customer_id, due_ms, seq, digest) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET due_ms = excluded.due_ms, seq = excluded.seq, digest = excluded.digest"
)
DELETE_DUE = "DELETE FROM due WHERE environment = ? AND customer_id = ?"
DUE_BEFORE = (
    "SELECT due_ms, customer_id FROM due WHERE environment = ? AND due_ms <= ? ORDER BY due_ms, customer_id LIMIT ?"
)
NEXT_DUE = "SELECT due_ms FROM due WHERE environment = ? ORDER BY due_ms LIMIT 1"
PUT_EVENT = (
    "INSERT INTO audit (environment, seq, ord, customer_id, type, at_ms, actor, body, digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_EVENT = "SELECT seq, ord, customer_id, type, at_ms, actor, body, digest FROM audit"
_OF_ALL = " WHERE environment = ?1 AND ?5 IS NULL"
# The index is named wherever one customer is asked for: SQLite knows nothing of how many others there are.
_OF_CUSTOMER = " INDEXED BY audit_by_customer WHERE environment = ?1 AND customer_id = ?5"
_OF_TYPES = " AND (?2 IS NULL OR type IN (SELECT value FROM json_each(?2)))"
_AFTER = " AND (seq, ord) > (?3, ?4)"
_OLDEST_FIRST, _NEWEST_FIRST = " ORDER BY seq, ord LIMIT ?6", " ORDER BY seq DESC, ord DESC LIMIT ?6"
EVENTS = _EVENT + _OF_ALL + _AFTER + _OF_TYPES + _OLDEST_FIRST
EVENTS_OF = _EVENT + _OF_CUSTOMER + _AFTER + _OF_TYPES + _OLDEST_FIRST
NEWEST_EVENTS = _EVENT + _OF_ALL + _AFTER + _OF_TYPES + _NEWEST_FIRST
NEWEST_EVENTS_OF = _EVENT + _OF_CUSTOMER + _AFTER + _OF_TYPES + _NEWEST_FIRST
EVENT_POSITION = "SELECT seq, ord FROM audit WHERE environment = ? ORDER BY seq DESC, ord DESC LIMIT 1"
# Every row of the table as it stands, never looked up by its key: a damaged key hides the rows behind it.
ALL_EVENTS = "SELECT seq, ord, customer_id, type, at_ms, actor, body FROM audit NOT INDEXED WHERE +environment = ?"
OLDEST_EVENTS = (
    "SELECT seq, ord, customer_id, type, at_ms, actor, body FROM audit WHERE environment = ? ORDER BY seq, ord LIMIT ?"
)
EVENT_BODIES = (
    "SELECT seq, ord, type, at_ms, actor, body, digest FROM audit INDEXED BY audit_by_customer"
    " WHERE environment = ? AND customer_id = ?"
    " ORDER BY seq, ord"
)
REPLACE_EVENT = "UPDATE audit SET body = ?, digest = ? WHERE environment = ? AND seq = ? AND ord = ?"
DELETE_EVENT = "DELETE FROM audit WHERE environment = ? AND seq = ? AND ord = ?"
AUDIT_ROOT = "SELECT count, root, seq, digest FROM audit_root WHERE environment = ?"
PUT_AUDIT_ROOT = (
    "INSERT INTO audit_root (environment, count, root, seq, digest) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET count = excluded.count, root = excluded.root, seq = excluded.seq,"
    " digest = excluded.digest"
)
CHECKOUT = "SELECT customer_id, at_ms, seq, body, digest FROM checkout WHERE environment = ? AND checkout_id = ?"
CHECKOUTS_OF = (
    "SELECT checkout_id, at_ms, seq, body, digest FROM checkout INDEXED BY checkout_by_customer"
    " WHERE environment = ? AND customer_id = ?"
    " ORDER BY checkout_id"
)
PUT_CHECKOUT = (
    "INSERT INTO checkout (environment, checkout_id, customer_id, at_ms, seq, body, digest)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id,"
    " at_ms = excluded.at_ms, seq = excluded.seq, body = excluded.body, digest = excluded.digest"
)
DELETE_CHECKOUT = "DELETE FROM checkout WHERE environment = ? AND checkout_id = ?"
# The last conditions are the index's own.
REPLIES_OF = (
    "SELECT operation, key, fingerprint, reply, at_ms, digest FROM idempotency INDEXED BY idempotency_by_customer"
    " WHERE environment = ? AND customer_id = ? AND operation <> 'reportUsage' AND operation <> 'consume'"
    " AND operation <> 'settle' AND operation <> 'release'"
)
HOLD = "SELECT expire_ms, body, seq, digest FROM hold WHERE environment = ? AND customer_id = ? AND hold_id = ?"
HOLDS = "SELECT hold_id, expire_ms, body, seq, digest FROM hold WHERE environment = ? AND customer_id = ?"
PUT_HOLD = (
    "INSERT INTO hold (environment, customer_id, hold_id, expire_ms, seq, body, digest) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET expire_ms = excluded.expire_ms, seq = excluded.seq, body = excluded.body,"
    " digest = excluded.digest"
)
DELETE_HOLD = "DELETE FROM hold WHERE environment = ? AND customer_id = ? AND hold_id = ?"
DELETE_HOLDS = "DELETE FROM hold WHERE environment = ? AND customer_id = ?"
HOLDS_BEFORE = (
    "SELECT DISTINCT customer_id FROM hold INDEXED BY hold_by_end WHERE environment = ? AND expire_ms <= ? LIMIT ?"
)
NEXT_HOLD_END = "SELECT min(expire_ms) FROM hold WHERE environment = ?"
GRANT_OWNERS = (
    "SELECT customer_id FROM credit_grant INDEXED BY credit_grant_by_id WHERE environment = ? AND grant_id = ?"
)
REPLACE_REPLY = "UPDATE idempotency SET reply = ?, digest = ? WHERE environment = ? AND operation = ? AND key = ?"
OLDEST_KEY = "SELECT min(at_ms) FROM idempotency WHERE environment = ?"
OPEN_WINDOW = "SELECT min(from_ms) FROM usage_counter WHERE environment = ? AND to_ms > ? AND to_ms < ?"
