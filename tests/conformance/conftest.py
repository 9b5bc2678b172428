"""The suite's stages, and assertions that say what was compared."""

import pytest

from dgrpo.conformance.tried import SUITES

pytest.register_assert_rewrite(*(f"dgrpo.conformance.{suite}" for suite in SUITES))

from dgrpo.conformance.fixtures import *  # noqa: E402, F403
