"""Features: their type against their values, meters and unit transformations.

Laws: pure; a mistake is reported once, where it stands.
"""

from stigg_local.authority.catalog_draft import Draft
from stigg_local.core.catalog import Condition, Feature


def check_feature(draft: Draft, feature: Feature) -> None:
    """Report what is wrong with a feature by itself."""
    typed = draft.sound(feature, "feature_type")
    if typed and feature.feature_type == "Enum":
        if not feature.enum_values and draft.whole(feature, "enum_values"):
            draft.report(feature, "enum_values", "an Enum feature states its values")
    elif typed and feature.enum_values:
        draft.report(feature, "enum_values", f"a {feature.feature_type} feature has no values of its own")
    seen: set[str] = set()
    for value in feature.enum_values:
        if value in seen:
            draft.report(feature, "enum_values", "is stated twice", entry=value)
        seen.add(value)
    if typed and feature.feature_type != "Numeric" and feature.is_metered:
        draft.report(
            feature,
            "meter_type",
            f"a {feature.feature_type} feature is not metered",
            hint="only Numeric features have a meterType",
            code="MeteringNotAvailableForFeatureType",
        )
    metered = ("feature_type", "meter_type")
    if feature.unit_transformation is not None and not feature.is_metered:
        draft.report(
            feature,
            "unit_transformation",
            "needs a metered feature",
            hint='state meterType = "Incremental" or "Fluctuating"',
            needs=metered,
        )
    if feature.meter is None:
        return
    if not feature.is_metered:
        draft.report(
            feature,
            "meter",
            "needs a metered feature",
            hint='state meterType = "Incremental" or "Fluctuating"',
            code="MeterMustBeAssociatedToMeteredFeature",
            needs=metered,
        )
    meter = feature.meter
    if meter.function == "COUNT" and meter.field is not None:
        draft.report(meter, "field", "COUNT counts events and takes no field", needs=("function",))
    if meter.function != "COUNT" and not meter.field:
        draft.report(meter, "field", f"{meter.function} needs the field that it aggregates", needs=("function",))
    for item in meter.filters:
        if not item.conditions and draft.whole(item, "conditions"):
            draft.report(item, "conditions", "a filter states at least one condition")
        for condition in item.conditions:
            _check_condition(draft, condition)


def _check_condition(draft: Draft, condition: Condition) -> None:
    operation = condition.operation
    if operation == "IN":
        if condition.value is not None:
            draft.report(condition, "value", "IN compares with `values`", needs=("operation",))
        elif not condition.values:
            draft.report(condition, "values", "IN needs at least one of `values`", needs=("operation", "value"))
        return
    if condition.values is not None:
        draft.report(condition, "values", f"{operation} compares with one `value`", needs=("operation",))
    elif operation in ("IS_NULL", "IS_NOT_NULL"):
        if condition.value is not None:
            draft.report(condition, "value", f"{operation} takes no value", needs=("operation",))
    elif condition.value is None:
        draft.report(condition, "value", f"{operation} needs a value", needs=("operation", "values"))
