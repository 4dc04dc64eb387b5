"""The text of the statements about raw events, meters and thresholds: constants, every value bound."""

# The name in `meta` of the instant before which usage may have been folded; the environment follows.
USAGE_FROM = "usage_from_ms "

TAKE_KEY = (
    "INSERT INTO usage_event_key (environment, customer_id, hash, created_ms) SELECT ?1, ?2, ?3, ?4"
    " WHERE NOT EXISTS (SELECT 1 FROM usage_event_key WHERE environment = ?1 AND customer_id = ?2 AND hash = ?3)"
)
TAKE_STAMPED_KEY = (
    "INSERT OR IGNORE INTO usage_event_key (environment, customer_id, hash, created_ms) VALUES (?, ?, ?, ?)"
)
DELETE_EVENT_KEY = (
    "DELETE FROM usage_event_key WHERE environment = ? AND customer_id = ? AND hash = ? AND created_ms BETWEEN ? AND ?"
)
PUT_USAGE_EVENT = (
    "INSERT INTO usage_event (environment, customer_id, resource_id, created_ms, seq, ord, event_name,"
    " idempotency_key, at_ms, body, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
USAGE_EVENTS = (
    "SELECT created_ms, seq, ord, event_name, idempotency_key, at_ms, body, digest FROM usage_event"
    " WHERE environment = ? AND customer_id = ? AND resource_id = ? AND created_ms >= ? AND created_ms < ?"
    " ORDER BY created_ms, seq, ord"
)
FIRST_EVENT_RESOURCE = (
    "SELECT resource_id FROM usage_event WHERE environment = ? AND customer_id = ? ORDER BY resource_id LIMIT 1"
)
NEXT_EVENT_RESOURCE = (
    "SELECT resource_id FROM usage_event WHERE environment = ? AND customer_id = ? AND resource_id > ?"
    " ORDER BY resource_id LIMIT 1"
)
DELETE_USAGE_EVENT = (
    "DELETE FROM usage_event WHERE environment = ? AND customer_id = ? AND resource_id = ? AND created_ms = ?"
    " AND seq = ? AND ord = ?"
)
_WINDOW = (
    " WHERE environment = ? AND customer_id = ? AND resource_id = ? AND feature_id = ? AND from_ms = ? AND to_ms = ?"
)
METER = "SELECT number, meter, count, total, members, seq, digest FROM meter_value" + _WINDOW
METERS = (
    "SELECT resource_id, feature_id, from_ms, to_ms, number, meter, count, total, members, seq, digest"
    " FROM meter_value WHERE environment = ? AND customer_id = ? AND from_ms >= 0"
)
PUT_METER = (
    "INSERT INTO meter_value (environment, customer_id, resource_id, feature_id, from_ms, to_ms, number, meter,"
    " count, total, members, seq, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET number = excluded.number, meter = excluded.meter, count = excluded.count,"
    " total = excluded.total, members = excluded.members, seq = excluded.seq, digest = excluded.digest"
)
DELETE_METER = "DELETE FROM meter_value" + _WINDOW
DELETE_METERS = (
    "DELETE FROM meter_value WHERE environment = ? AND customer_id = ?",
    "DELETE FROM meter_member WHERE environment = ? AND customer_id = ?",
)
DEAD_METERS = (
    "SELECT resource_id, feature_id, from_ms, to_ms FROM meter_value"
    " WHERE environment = ? AND customer_id = ? AND from_ms = -2"
)
ANY_MEMBER = "SELECT 1 FROM meter_member WHERE environment = ? AND customer_id = ? AND number = ? LIMIT 1"
ADD_MEMBER = "INSERT OR IGNORE INTO meter_member (environment, customer_id, number, value) VALUES (?, ?, ?, ?)"
DELETE_MEMBERS = (
    "DELETE FROM meter_member WHERE environment = ?1 AND customer_id = ?2 AND number = ?3 AND value IN"
    " (SELECT value FROM meter_member WHERE environment = ?1 AND customer_id = ?2 AND number = ?3 LIMIT ?4)"
)
THRESHOLD = "SELECT percent, seq, digest FROM usage_threshold" + _WINDOW
PUT_THRESHOLD = (
    "INSERT INTO usage_threshold (environment, customer_id, resource_id, feature_id, from_ms, to_ms, percent, seq,"
    " digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET percent = excluded.percent,"
    " seq = excluded.seq, digest = excluded.digest"
)
ANY_THRESHOLD_BEFORE = "SELECT 1 FROM usage_threshold WHERE environment = ? AND customer_id = ? AND to_ms <= ? LIMIT 1"
DELETE_THRESHOLDS = "DELETE FROM usage_threshold WHERE environment = ? AND customer_id = ? AND to_ms <= ?"
