"""The text of the statements that a transaction runs: constants, every value bound."""

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
MEASUREMENTS = (
    "SELECT seq, ord, measurement_id, behavior, value, created_ms, at_ms, body, digest FROM measurement"
    " WHERE environment = ? AND customer_id = ? AND resource_id = ? AND feature_id = ?"
    " AND created_ms >= ? AND created_ms < ? ORDER BY seq, ord"
)
NEXT_MEASURED = (
    "SELECT resource_id, feature_id FROM measurement WHERE environment = ? AND customer_id = ?"
    " AND (resource_id, feature_id) > (?, ?) ORDER BY resource_id, feature_id LIMIT 1"
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
