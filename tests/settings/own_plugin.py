"""The environment in which pytest loads our plugin and no other installed one, which costs time."""

OWN_PLUGIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p memleak"}
