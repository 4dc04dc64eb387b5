"""Country codes (ISO 3166-1 alpha-2) and currency codes with their minor units (ISO 4217), as tables.

Sources: ISO 3166-1 and the active codes of ISO 4217 list one as pycountry 26.2.16 has them; minor units from
the standard. Codes without a minor unit (metals, baskets, test codes) are left out.
"""

from stigg_local.core.ids import told
from stigg_local.core.nearest import nearest
from stigg_local.errors import InvalidInput

_COUNTRIES = (
    "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCN"
    "COCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHM"
    "HNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMK"
    "MLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURW"
    "SASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVI"
    "VNVUWFWSYEYTZAZMZW"
)
# Digits after the point -> the codes that have them, three letters each.
_CURRENCIES = {
    0: "BIFCLPDJFGNFISKJPYKMFKRWPYGRWFUGXUYIVNDVUVXAFXOFXPF",
    2: (
        "AEDAFNALLAMDAOAARSAUDAWGAZNBAMBBDBDTBMDBNDBOBBOVBRLBSDBTNBWPBYNBZDCADCDFCHECHFCHWCNYCOPCOUCRCCUP"
        "CVECZKDKKDOPDZDEGPERNETBEURFJDFKPGBPGELGHSGIPGMDGTQGYDHKDHNLHTGHUFIDRILSINRIRRJMDKESKGSKHRKPWKYD"
        "KZTLAKLBPLKRLRDLSLMADMDLMGAMKDMMKMNTMOPMRUMURMVRMWKMXNMXVMYRMZNNADNGNNIONOKNPRNZDPABPENPGKPHPPKR"
        "PLNQARRONRSDRUBSARSBDSCRSDGSEKSGDSHPSLESOSSRDSSPSTNSVCSYPSZLTHBTJSTMTTOPTRYTTDTWDTZSUAHUSDUSNUYU"
        "UZSVEDVESWSTXADXCDXCGYERZARZMWZWG"
    ),
    3: "BHDIQDJODKWDLYDOMRTND",
    4: "CLFUYW",
}

COUNTRIES = frozenset(_COUNTRIES[at : at + 2] for at in range(0, len(_COUNTRIES), 2))
MINOR_UNITS = {codes[at : at + 3]: digits for digits, codes in _CURRENCIES.items() for at in range(0, len(codes), 3)}
CURRENCIES = frozenset(MINOR_UNITS)


def minor_units(currency: str) -> int:
    """Decimal digits of a currency's smallest unit: 2 for USD, 0 for JPY. The code must be a known one."""
    return MINOR_UNITS[currency]


def check_country(value: object, name: str = "billing_country_code") -> str | None:
    """An ISO 3166-1 alpha-2 country, or None.

    Raises:
        InvalidInput: It is none of them.
    """
    if value is None:
        return None
    if not isinstance(value, str) or value not in COUNTRIES:
        near = nearest(told(value), COUNTRIES)
        raise InvalidInput(
            f"{name} is `{told(value)}`, not a country of ISO 3166-1 alpha-2",
            code="InvalidArgumentError",
            hint=f"did you mean `{near}`" if near else "like `DE`",
        )
    return value
