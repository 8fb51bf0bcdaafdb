"""The Dagster component `DltLoadCollectionComponent` and its scaffolder."""
