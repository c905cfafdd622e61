"""Clients of a served model over REST and gRPC."""
