"""The live store on Redis ≥ 7 or Valkey."""
