"""What a load costs with loadsmith, with dlt alone and with dagster-dlt: `python -m bench`."""
