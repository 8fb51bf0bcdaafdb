"""The countries of the world: nested JSON from the package `countryinfo`."""
