"""Products through both implementations."""

from collections.abc import Iterator

from tests.conformance.comparison import Case, Difference, judge
from tests.conformance.implementations import Implementation
from tests.conformance.products import Product


def run_product(
    product: Product, expected: Implementation, actual: Implementation, step: int = 1, start: int = 0
) -> Iterator[tuple[int, list[Difference]]]:
    """Of every step-th case: for each record, how many calls there were, and where the implementations differ."""
    function = product.function
    for bins, some in product.parts(step, start):
        in_one, in_other = expected.hold(bins), actual.hold(bins)
        judged = (judge(Case(function, args, bins), in_one(function, args), in_other(function, args)) for args in some)
        yield len(some), [difference for difference in judged if difference]
