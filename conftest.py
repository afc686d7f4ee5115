"""For everything collected in this repository: suites, tests and benchmarks."""

pytest_plugins = ["pytester", "endpoints"]
