import pytest

import ddl_tf
from ddl_tf import data, mining


@pytest.mark.parametrize("package", [data, mining], ids=lambda package: package.__name__)
def test_every_name_is_there(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
        assert name in dir(package)
    with pytest.raises(AttributeError, match="attribute nothing"):
        package.nothing  # noqa: B018
    assert package.__name__.split(".")[1] in ddl_tf.__all__
