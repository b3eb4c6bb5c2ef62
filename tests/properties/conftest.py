"""How many examples: few in ``make test``, 20,000 for each property in ``make properties``."""

import os

from hypothesis import HealthCheck, settings

#: An example may be slow on a busy machine; how long one takes is not what is tested.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("test", max_examples=200, derandomize=True, database=None, **COMMON)
settings.register_profile("thorough", max_examples=20_000, database=None, **COMMON)
settings.load_profile(os.environ.get("ENOS_PROPERTIES", "test"))
