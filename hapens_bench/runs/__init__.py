"""What is true of runs: folders, files, locks, the ledger of all, and where numbers come from."""
