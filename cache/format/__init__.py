"""What a store is, in pure functions: schema, chunk arithmetic, codec, records. No file is opened here."""
