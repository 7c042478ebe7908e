"""Where trials run: the table of engines."""

ENGINES = {
    "local": "harness.sweep.engines.local:LocalEngine",
    "ray": "harness.sweep.engines.ray:RayEngine",
}
