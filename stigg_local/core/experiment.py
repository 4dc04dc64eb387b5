"""Experiments: part of a product's customers get another journey.

Law: the group of a customer follows from the ids alone, and once stored it stays, whatever becomes of the
percentages. Source: seed, `experimentInfo`.
"""

from hashlib import sha256

from msgspec.structs import replace

from stigg_local.core.catalog import Experiment, Product, ProductSettings
from stigg_local.core.customer import Customer, ExperimentInfo
from stigg_local.core.sources import Catalog

CONTROL, VARIANT = "CONTROL", "VARIANT"
_PLAIN = ProductSettings()


def group_of(experiment: Experiment, customer_id: str) -> str:
    """CONTROL or VARIANT, evenly spread over customers and the same on every machine."""
    digest = sha256(f"{experiment.id}\0{customer_id}".encode(errors="surrogatepass")).digest()
    return VARIANT if int.from_bytes(digest[:8]) % 100 < experiment.variant_percentage else CONTROL


def assigned(customer: Customer, catalog: Catalog, product_id: str) -> Customer:
    """The customer, put in a group of the product's experiment where there is one and none was stored."""
    experiment = _experiment(catalog, product_id)
    if experiment is None or any(item.id == experiment.id for item in customer.experiments):
        return customer
    return replace(customer, experiments=(*customer.experiments, _info(experiment, customer.id)))


def info_of(customer: Customer, catalog: Catalog, product_id: str) -> ExperimentInfo | None:
    """The group that was stored for the customer in the experiment that runs on the product; None without one."""
    if not customer.experiments:
        return None
    experiment = _experiment(catalog, product_id)
    if experiment is None:
        return None
    return next((item for item in customer.experiments if item.id == experiment.id), None)


def settings_of(customer: Customer | None, catalog: Catalog, product: Product) -> ProductSettings:
    """The journey that holds for this customer: the product's, changed by the variant of its experiment."""
    info = None if customer is None else info_of(customer, catalog, product.id)
    experiment = None if info is None or info.group_type != VARIANT else _experiment(catalog, product.id)
    return product.settings if experiment is None else experiment.variant_settings.over(product.settings)


def settings_at(customer: Customer, catalog: Catalog, product_id: str) -> ProductSettings:
    """As `settings_of`, by the product's id; the plainest journey where the product is gone."""
    product = catalog.products.get(product_id)
    return _PLAIN if product is None else settings_of(customer, catalog, product)


def _experiment(catalog: Catalog, product_id: str) -> Experiment | None:
    for item in catalog.others.get("experiment", ()):
        if isinstance(item, Experiment) and item.product_id == product_id:
            return item
    return None


def _info(experiment: Experiment, customer_id: str) -> ExperimentInfo:
    group = group_of(experiment, customer_id)
    name = experiment.variant_group_name if group == VARIANT else experiment.control_group_name
    return ExperimentInfo(
        id=experiment.id,
        product_id=experiment.product_id,
        name=experiment.name or experiment.id,
        group_name=name or ("Variant group" if group == VARIANT else "Control group"),
        group_type=group,
    )
