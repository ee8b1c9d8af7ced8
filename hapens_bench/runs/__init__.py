"""Runs on disk: their folders, files, locks, the ledger of all of them, and provenance."""
