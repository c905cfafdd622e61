"""Runs a job: `python -m tf_textgen JOB`."""

import sys

from tf_textgen.jobs import main

if __name__ == "__main__":
    sys.exit(main())
