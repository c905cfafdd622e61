"""One absl-flag-driven program each."""
