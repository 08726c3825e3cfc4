"""Words everybody uses: identifiers, time, errors, canonical bytes, settings. Imports no other wing but the SDK."""
