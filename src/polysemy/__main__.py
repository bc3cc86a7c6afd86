"""`python -m polysemy` is the command `polysemy`."""
from polysemy.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
