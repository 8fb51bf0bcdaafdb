"""The environment that dagster-dlt is measured in, made when there is none."""

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = (
    "dagster-dlt==0.29.27",
    "dagster==1.13.27",
    "dlt[duckdb,parquet,postgres]==1.31.0",
    "duckdb==1.5.6",
    "psycopg2-binary",
    "sqlalchemy",
    # Its next minor breaks dlt 1.31.0.
    "sqlglot==30.20.0",
)


def peer_python(folder: Path) -> Path:
    """Return the interpreter of the environment in `folder`, made by pip where it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} with {REQUIREMENTS[0]}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        # The first samples would write byte code otherwise, and the others would not.
        subprocess.run([str(python), "-m", "compileall", "-q", str(folder / "lib")], check=False)
    return python
