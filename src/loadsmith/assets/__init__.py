"""The Dagster side: assets from snapshots, requests from runs, events from results."""
