"""Calls of kernels over placed memory: what operators lower themselves to."""
