"""Options of the whole suite."""


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=None, help="kills of each run in tests/system (default: a few)")
    parser.addoption("--kill_seed", type=int, default=0, help="seed of their moments")
