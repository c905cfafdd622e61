"""Evaluation of a run or an export against texts."""
