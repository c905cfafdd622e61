import pytest

from tf_textgen import models
from tf_textgen.errors import UserError
from tf_textgen.models.base import TextModel


@pytest.mark.parametrize("name", models.MODELS)
def test_every_family_has_its_classes(name):
    family = models.family(name)
    assert issubclass(family.model_class(), TextModel)
    assert family.model_class().config_class is family.config_class
    assert family.config_class.prefix == name
    carries_state = "call_carried" in vars(family.model_class())
    assert family.config_class.carries_state == carries_state


def test_unknown_model_is_named():
    with pytest.raises(
        UserError, match=r"--model=transformer_ml: expected one of .*did you mean 'transformer_lm'"
    ):
        models.family("transformer_ml")
