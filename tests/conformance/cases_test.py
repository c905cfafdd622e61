from tests.conformance.cases import CASES
from tf_textgen.models import MODELS


def test_every_family_has_a_row():
    assert {case.family for case in CASES.values()} == set(MODELS)
