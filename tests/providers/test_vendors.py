"""Every provider passes the vendor contract, each against the fake of its vendor."""

from pathlib import Path

from broker.providers.base import Provider
from broker.providers.registry import build
from broker.settings.reading import parse
from tests.contract.parts import Part
from tests.contract.vendor_contract import VendorContract
from tests.fakes.vendors.plain import PlainVendor


class TestPlain(VendorContract):
    """The generic provider, which needs a config to exist."""

    server = PlainVendor
    without = frozenset({Part.QUOTA, Part.LINKED, Part.COPIED})

    @classmethod
    def at_rest(cls) -> Provider:
        server = PlainVendor()
        server.url = "http://127.0.0.1:1"
        return build(parse(server.config(Path()).encode()).providers).get("plain")
