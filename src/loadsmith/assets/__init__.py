"""The Dagster side: snapshots, requests and results as assets, runs and events."""
