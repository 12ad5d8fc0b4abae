"""The front door: the command line and the pipeline that chains the stages."""

from pathlib import Path

HERE = Path(__file__).parent
STARTER_MODEL = HERE / "starter"
BUNDLED_DATA = HERE / "data" / "saltern"
DEFAULT_GATES = HERE / "gates.toml"
