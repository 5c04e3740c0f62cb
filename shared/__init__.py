"""Code that the API and the workers share: settings, the data layer, the store, events."""
