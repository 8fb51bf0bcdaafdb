"""The dlt side: definition and request in, snapshot and result out."""
