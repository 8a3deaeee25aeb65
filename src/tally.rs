//! Entries to remote endpoints: who holds how many, in which states, by which local service.
