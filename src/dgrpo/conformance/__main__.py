"""`python -m dgrpo.conformance my_attack.py:Mine`."""

import sys

from dgrpo.errors import DgrpoError
from dgrpo.extras import naming_missing_extras

if __name__ == "__main__":
    try:
        with naming_missing_extras():
            from dgrpo.conformance.command import main

            sys.exit(main(sys.argv[1:]))
    except DgrpoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
