"""Functions that parse the query strings of requests as the API does."""

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.queries import Listing, parse_listing

PATH = "/api/v2/attachments"


def make_request(query: str) -> web.Request:
    """Make a request object whose URL contains exactly this query string."""
    return make_mocked_request("GET", f"{PATH}?{query}")


def read_listing(query: str) -> Listing:
    """Parse the query string of a list request."""
    return parse_listing(make_request(query))
